"""Rows: what each Endpoint manifest says, field by field, from documents and filled shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.manifest.document import Document
from reconciler.manifest.partial import Hole
from reconciler.manifest.shapes import Filled, Shape
from reconciler.model.names import SALT
from reconciler.model.references import UNKNOWN_NAME

LabelSet = tuple[str, str, tuple[tuple[str, str], ...]]  # namespace, salt, sorted labels
UNKNOWN_ADDRESS = "::"  # which no manifest can state; its octets are zero


class Row(NamedTuple):
    """What an endpoint's manifest says."""

    namespace: str
    name: str
    network: Any
    host: str
    mac: str
    labels: LabelSet
    attach: Mapping[str, Any] | None
    addresses: Sequence[str]
    path: str
    document: int


class RowReader:
    """Reads one endpoint after the other; what it learns of a shape serves all documents of it."""

    def __init__(self) -> None:
        self._known: dict[Shape, Callable[[Filled], Row]] = {}

    def row(self, document: Document | Filled) -> Row:
        """What the manifest says."""
        if not isinstance(document, Filled):
            return _row(document)
        reader = self._known.get(document.shape)
        if reader is None:
            reader = self._known[document.shape] = _reader(document.shape)
        return reader(document)


def _row(document: Document) -> Row:
    spec = _spec(document)
    return Row(
        document.namespace,
        document.name,
        spec["network"],
        spec["host"],
        spec.get("mac", ""),
        _label_set(document.namespace, document.body["metadata"]),
        spec.get("attach"),
        spec.get("addresses", ()),
        document.path,
        document.index,
    )


def _reader(shape: Shape) -> Callable[[Filled], Row]:
    """The same for documents of one shape: where in it everything is, is looked up once."""
    spec, metadata = shape.body["spec"], shape.body["metadata"]
    pairs = sorted(metadata.get("labels", {}).items())
    salt = metadata.get("annotations", {}).get(SALT, "")
    fixed = [shape.namespace, shape.name, spec["network"], spec["host"], spec.get("mac", ""), salt]
    attach, addresses = spec.get("attach"), spec.get("addresses", ())

    def read(filled: Filled) -> Row:
        values = filled.values

        def at(part: Any) -> Any:
            return values[part.number] if type(part) is Hole else filled.of(part)

        namespace, name, network, host, mac, salted = map(at, fixed)
        labels = (namespace, salted, tuple([(key, at(each)) for key, each in pairs]))
        inside = None if attach is None else filled.of(attach)
        held = [at(each) for each in addresses]
        return Row(namespace, name, network, host, mac, labels, inside, held, "", filled.index)

    return read


def _spec(document: Document) -> Mapping[str, Any]:
    """The spec, in which what nobody can be sure of refers to nothing and claims nothing."""
    spec = document.body["spec"]
    if not document.unsure:
        return spec  # type: ignore[no-any-return]
    unknown: dict[str, Any] = {
        "network": UNKNOWN_NAME,
        "host": UNKNOWN_NAME,
        "attach": {"interface": ""},
    }
    stated = (
        spec.get("addresses", ()) if document.stated("spec", "addresses") else [UNKNOWN_ADDRESS]
    )
    addresses = [
        each if document.sure("spec", "addresses", position) else UNKNOWN_ADDRESS
        for position, each in enumerate(stated)
    ]
    unsure = {field: value for field, value in unknown.items() if not document.sure("spec", field)}
    return {**spec, "addresses": addresses, **unsure}


def _label_set(namespace: str, metadata: Mapping[str, Any]) -> LabelSet:
    salt = metadata.get("annotations", {}).get(SALT, "")
    return namespace, salt, tuple(sorted(metadata.get("labels", {}).items()))
