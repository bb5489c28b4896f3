"""A JSON Schema and a body with holes -> what remains to be checked of the texts that fill them.

The schema is gone through as accept.py does, and with the same rule: it only accepts. A
differential test holds the two to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.manifest.accept import KNOWN, Accepts, Formats, compile_acceptor

_MOST = 1 << 10  # values of a hole that are remembered as good


@dataclass(frozen=True, slots=True)
class Hole:
    """Where a text goes."""

    number: int


@dataclass(slots=True, eq=False)
class Rest:
    """`checks` are (number of the hole, check); of each of `groups` no two may be equal."""

    checks: list[tuple[int, Accepts]] = field(default_factory=list)
    groups: list[tuple[int, ...]] = field(default_factory=list)

    def accepts(self, values: tuple[str, ...]) -> bool:
        """Whether the body with these texts is valid; False if in doubt."""
        for number, check in self.checks:
            if not check(values[number]):
                return False
        return not self.groups or all(
            len({values[number] for number in group}) == len(group) for group in self.groups
        )


class _NoError(Exception):
    """The body is not accepted, whatever fills it; or nothing can be said."""


def partial(schema: Mapping[str, Any], formats: Formats, body: Any) -> Rest | None:
    """None if no text makes the body valid, or that cannot be told text by text."""
    rest = Rest()
    try:
        _walk(schema, formats, body, rest)
    except _NoError:
        return None
    found: dict[int, list[Accepts]] = {}
    for number, check in rest.checks:
        found.setdefault(number, []).append(check)
    rest.checks = [(number, _remembering(checks)) for number, checks in found.items()]
    return rest


def _remembering(checks: list[Accepts]) -> Accepts:
    """All of them; many documents say the same."""
    good: set[Any] = set()

    def accepts(value: Any) -> bool:
        if value in good:
            return True
        if not all(check(value) for check in checks):
            return False
        if len(good) < _MOST:
            good.add(value)
        return True

    return accepts


def _has_hole(value: Any) -> bool:
    if type(value) is dict:
        return any(map(_has_hole, value.values()))
    return any(map(_has_hole, value)) if type(value) is list else type(value) is Hole


def _walk(schema: Mapping[str, Any], formats: Formats, value: Any, rest: Rest) -> None:
    """Raises _NoError; adds to `rest`."""
    if type(value) is Hole:
        rest.checks.append((value.number, compile_acceptor(schema, formats)))
        return
    if not _has_hole(value):
        _need(compile_acceptor(schema, formats)(value))
        return
    _need(schema.keys() <= KNOWN)
    # A container with a hole is neither of a few values nor has it a format.
    _need(not schema.keys() & {"const", "enum"})
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        _need(("object" if type(value) is dict else "array") in names)
    if type(value) is dict:
        _object(schema, formats, value, rest)
    else:
        _array(schema, formats, value, rest)
    for each in schema.get("allOf", ()):
        _walk(each, formats, value, rest)
    if "if" in schema:
        _walk(schema.get("then", {}), formats, value, rest)


def _need(holds: bool) -> None:
    if not holds:
        raise _NoError


def _object(schema: Mapping[str, Any], formats: Formats, value: dict[str, Any], rest: Rest) -> None:
    low, high = schema.get("minProperties", 0), schema.get("maxProperties", float("inf"))
    _need(low <= len(value) <= high)
    _need(value.keys() >= set(schema.get("required", ())))
    if "propertyNames" in schema:
        _need(all(map(compile_acceptor(schema["propertyNames"], formats), value)))
    fields, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, each in value.items():
        below = fields.get(name, others)
        _need(below is not False)
        if below is not True:
            _walk(below, formats, each, rest)


def _array(schema: Mapping[str, Any], formats: Formats, value: list[Any], rest: Rest) -> None:
    _need(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", float("inf")))
    for each in value:
        _walk(schema.get("items", {}), formats, each, rest)
    if schema.get("uniqueItems", False) and len(value) > 1:
        _need(all(type(each) is Hole for each in value))
        rest.groups.append(tuple(each.number for each in value))
