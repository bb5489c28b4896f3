"""A body with mistakes -> a valid one, in which other values stand where it is wrong.

So what is right in a manifest is judged in the same pass as what is wrong in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from reconciler.manifest.problem import MAX_FINDINGS, Finding, Severity, pointer
from reconciler.manifest.schema import Kind
from reconciler.manifest.wording import nearest

_ROUNDS = 3  # what cannot be mended inside is replaced as a whole in the next
_UNKNOWN, _MISSING, _REPEATED = "SCHEMA1003", "SCHEMA1004", "SCHEMA1010"


def mend(kind: Kind, body: Any, findings: Iterable[Finding]) -> tuple[Any, frozenset[str]] | None:
    """The valid body, and the pointers (RFC 6901) of what its author did not write or get right.

    A field that is wrong goes; what cannot be absent becomes an example of the schema's. None if
    nothing sensible is left. `findings` are all that is wrong with `body`, which stays as it is.
    """
    errors = [each for each in findings if each.severity is Severity.ERROR]
    if len(errors) > MAX_FINDINGS:
        return None
    unknown = {each.pointer for each in errors if each.code == _UNKNOWN}
    wrong = {each.pointer for each in errors if each.code not in (_UNKNOWN, _MISSING)}
    for _ in range(_ROUNDS):
        if "" in wrong:
            break
        mender = _Mender(wrong, unknown)
        mended = mender.mended(body, kind.schema, "")
        left = {each.pointer for each in kind.check(0, mended) if mender.concerns(each)}
        if not left:
            return mended, frozenset(mender.unsure)
        wrong |= left
    return None


@dataclass(slots=True)
class _Mender:
    wrong: Set[str]
    unknown: Set[str]
    unsure: set[str] = field(default_factory=set)

    def mended(self, value: Any, schema: Mapping[str, Any], at: str) -> Any:
        """A copy of the value at `at`, which is not wrong as a whole."""
        if isinstance(value, list):
            return self._list(value, schema.get("items", {}), at)
        return self._mapping(value, schema, at) if isinstance(value, dict) else value

    def concerns(self, finding: Finding) -> bool:
        """Examples that stand in one list may be equal."""
        expected = finding.code == _REPEATED and finding.pointer in self.unsure
        return finding.severity is Severity.ERROR and not expected

    def _list(self, value: list[Any], items: Mapping[str, Any], at: str) -> list[Any]:
        """Positions stay, since findings state them."""
        made = []
        for number, item in enumerate(value):
            place = at + pointer(number)
            wrong = place in self.wrong
            made.append(self._example(items, place) if wrong else self.mended(item, items, place))
        return made

    def _mapping(self, value: dict[str, Any], schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        fields = schema.get("properties", {})
        made = {}
        for name, each in value.items():
            place = at + pointer(name)
            if place in self.unknown:
                meant = nearest(name, fields)
                if meant and meant not in value:
                    self.unsure.add(at + pointer(meant))
            elif place in self.wrong:
                self.unsure.add(place)
            else:
                made[name] = self.mended(each, fields.get(name, {}), place)
        for name in schema.get("required", ()):
            if name not in made:
                made[name] = self._example(fields.get(name, {}), at + pointer(name))
        return made

    def _example(self, schema: Mapping[str, Any], at: str) -> Any:
        self.unsure.add(at)
        return next(iter(schema.get("examples", ())), None)
