"""References between manifests: by name in the same namespace, or granted by the other side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from reconciler.manifest.document import Document
from reconciler.manifest.load import Identity
from reconciler.model.report import Report, called, qualified

NAMESPACE_LABEL = "kubernetes.io/metadata.name"  # every namespace has it, without a manifest too
UNKNOWN_NAME = "?"  # of what a wrong manifest refers to: nobody knows, and that is reported already
MOST_GUESSES = 100  # each compares with every name; more misses than that have a common cause


def by_kind(documents: Iterable[Document], report: Report) -> dict[str, tuple[Document, ...]]:
    """The documents of each kind, sorted by qualified name.

    Reports, and leaves out, those whose kind, namespace and name were given before.
    """
    kinds: dict[str, dict[str, Document]] = {}
    for document in sorted(documents, key=lambda each: (each.path, each.index)):
        known = kinds.setdefault(document.kind, {})
        first = known.setdefault(qualified(document), document)
        if first is not document:
            report_again(document, first, report)
    return {kind: tuple(known[name] for name in sorted(known)) for kind, known in kinds.items()}


def report_again(document: Document, first: Document, report: Report) -> None:
    """Kind, namespace and name were given before."""
    message = (
        f"{called(document)} is given twice, first in {first.path}; "
        "remove one, or give it another name"
    )
    report.add(document, ("metadata", "name"), "REF1001", message)


@dataclass(frozen=True, slots=True)
class Unread:
    """Manifests that are in the commit and could not be used, so that nobody misses them too.

    `names` are what those may be called of whose kind and namespace nothing is known.
    """

    manifests: frozenset[Identity] = frozenset()
    names: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.manifests or self.names)

    def may_have(self, kind: str, name: str) -> bool:
        """Whether one of them is, or may be, the one of this kind and qualified name."""
        namespace, _, last = name.rpartition("/")
        called = Identity(kind, namespace, last), Identity(kind, "", "")
        return last in self.names or any(each in self.manifests for each in called)

    def may_have_any(self, kind: str) -> bool:
        """Whether one of them is, or may be, of this kind."""
        return bool(self.names) or any(each.kind == kind for each in self.manifests)


@dataclass(slots=True)
class Targets:
    """The manifests of one kind that others refer to; remembers what it has found."""

    kind: str
    documents: Sequence[Document]
    namespaces: Mapping[str, Mapping[str, str]]  # labels of Namespace manifests, by name
    unread: Unread
    numbers: dict[str, int] = field(init=False)
    known: dict[tuple[str, str], tuple[int, str, str]] = field(default_factory=dict)
    guesses: int = 0

    def __post_init__(self) -> None:
        """Number the documents by their qualified names."""
        self.numbers = {qualified(each): number for number, each in enumerate(self.documents)}

    def find(self, wanted: str, namespace: str) -> tuple[int, str, str]:
        """The number in `documents`; or -1 with code and message of the problem, if it is one.

        `namespace` is whose manifest asks, '' for what belongs to the cluster and needs no grant.
        """
        question = (wanted, namespace)
        if question not in self.known:
            self.known[question] = self._find(wanted, namespace)
        return self.known[question]

    def resolve(
        self, document: Document, steps: Sequence[str | int], reference: Any, report: Report
    ) -> int:
        """`find` for one reference of one document, with its finding."""
        if not document.sure(*steps):
            reference = UNKNOWN_NAME
        wanted = target_name(reference, document.namespace)
        number, code, message = self.find(wanted, document.namespace)
        if code:
            report.add(document, steps, code, message)
        return number

    def _find(self, wanted: str, namespace: str) -> tuple[int, str, str]:
        number = self.numbers.get(wanted, -1)
        if wanted.endswith(UNKNOWN_NAME):
            return -1, "", ""
        if number < 0:
            if self.unread.may_have(self.kind, wanted):
                return -1, "", ""
            return (
                -1,
                "REF1002",
                f"there is no {self.kind} {wanted}; {self._guess(wanted, namespace)}",
            )
        target = self.documents[number]
        if not target.namespace or target.namespace == namespace:
            return number, "", ""
        labels = {**self.namespaces.get(namespace, {}), NAMESPACE_LABEL: namespace}
        grants = target.body["spec"].get("allowedFrom", ())
        if any(selects(grant["namespaceSelector"], labels) for grant in grants):
            return number, "", ""
        if not target.sure("spec") or self.unread.may_have("Namespace", namespace):
            return -1, "", ""
        message = (
            f"{called(target)} does not admit namespace {namespace}; "
            "its owner grants that with spec.allowedFrom"
        )
        return -1, "REF1003", message

    def _guess(self, wanted: str, namespace: str) -> str:
        """Names of another namespace are not shown."""
        self.guesses += 1
        prefix = wanted.rpartition("/")[0]
        found = []
        if prefix == namespace and self.guesses <= MOST_GUESSES:
            near = [each for each in self.numbers if each.rpartition("/")[0] == prefix]
            found = get_close_matches(wanted, near, 1)
        return f"did you mean {found[0]}?" if found else "add it, or name another"


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector as Kubernetes defines it: all conditions hold; empty selects all."""
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(each, labels) for each in selector.get("matchExpressions", ())
    )


def _holds(condition: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """NotIn holds for a label that is absent, as in Kubernetes."""
    key, values = condition["key"], condition.get("values", ())
    match condition["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def target_name(reference: Any, namespace: str) -> str:
    """The qualified name that `name` or `{namespace, name}` stands for in a namespace."""
    if isinstance(reference, str):
        return f"{namespace}/{reference}"
    return f"{reference.get('namespace', namespace)}/{reference['name']}"
