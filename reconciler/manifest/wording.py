"""A jsonschema error -> findings in our words: what is wrong; what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from reconciler.manifest.problem import Finding, Severity, pointer

_TYPES = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
Words = tuple[str, str]  # code and message
Error = Any  # a ValidationError; its typed attributes may all be "unset", which ours never are


def findings_of(error: Error, document: int) -> Iterator[Finding]:
    """One finding for each mistake that the error is about."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        yield from _unknown_fields(error, document, path)
        return
    if error.validator == "required":
        name = _missing(error)
        if name not in _meant(error):
            yield _missing_field(error, name, document, path)
        return
    on_key = "propertyNames" in error.absolute_schema_path
    if on_key:
        path = [*path, error.instance]
    say = _WORDS.get(str(error.validator), _anything_else)
    code, message = say(error, field_name(path))
    severity = Severity.WARNING if error.validator == "reserved" else Severity.ERROR
    yield Finding("", document, pointer(*path), code, message, severity, on_key)


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice that `word` was probably meant to be; '' if none is near."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = get_close_matches(word[:80].lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[found[0]] if found else ""


def field_name(path: list[str | int]) -> str:
    """How a message names a field: `spec.ports[0].name`."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return name.removeprefix(".")[-80:] or "the document"


def _unknown_fields(error: Error, document: int, path: list[Any]) -> Iterator[Finding]:
    known = sorted(error.schema["properties"])
    for name in sorted(set(error.instance) - set(known)):
        near = nearest(name, known)
        hint = f"did you mean `{near}`?" if near else f"the fields here are {_listed(known)}"
        message = f"unknown field `{field_name([*path, name])}`; {hint}"
        yield Finding("", document, pointer(*path, name), "SCHEMA1003", message, on_key=True)


def _missing(error: Error) -> str:
    """jsonschema makes one error a name, and states the name in the message only."""
    names: list[str] = error.validator_value
    return next(each for each in names if error.message.startswith(repr(each)))


def _meant(error: Error) -> set[str]:
    """The fields that unknown ones beside them are taken for: one mistake, one finding."""
    if error.schema.get("additionalProperties", True):
        return set()
    known = error.schema.get("properties", {})
    return {nearest(each, known) for each in error.instance if each not in known}


def _missing_field(error: Error, name: str, document: int, path: list[Any]) -> Finding:
    field = error.schema.get("properties", {}).get(name, {})
    example = next(iter(field.get("examples", ())), None)
    such_as = "" if example is None else f", such as `{name}: {_written(example)}`"
    message = f"`{field_name([*path, name])}` is missing; add it{such_as}"
    return Finding("", document, pointer(*path), "SCHEMA1004", message, on_key=bool(path))


def _type(error: Error, name: str) -> Words:
    expected = error.validator_value
    types = [expected] if isinstance(expected, str) else expected
    right = " or ".join(_TYPES[each] for each in types)
    value = error.instance
    if value is None:
        return "SCHEMA1005", f"`{name}` is empty; it should be {right}{_example(error)}"
    if isinstance(value, dict | list):
        what = "a mapping" if isinstance(value, dict) else "a list"
        return "SCHEMA1005", f"`{name}` is {what}; it should be {right}{_example(error)}"
    if "string" in types and isinstance(value, bool | int | float):
        what = "true or false" if isinstance(value, bool) else "a number"
        hint = f'quote it: "{_written(value)}"' if len(types) == 1 else f"it should be {right}"
        return "SCHEMA1005", f"`{name}` is {_written(value)}, {what}; {hint}"
    if isinstance(value, str) and {"integer", "number", "boolean"} & set(types):
        return (
            "SCHEMA1005",
            f"`{name}` is the text {_written(value)}; it should be {right}, unquoted",
        )
    return "SCHEMA1005", f"`{name}` is {_written(value)}; it should be {right}{_example(error)}"


def _enum(error: Error, name: str) -> Words:
    allowed = error.validator_value
    near = nearest(str(error.instance), [str(each) for each in allowed])
    hint = f"did you mean `{near}`?" if near else f"use {_listed(allowed, 'or')}"
    return "SCHEMA1006", f"`{name}` is {_written(error.instance)}; {hint}"


def _const(error: Error, name: str) -> Words:
    right = _written(error.validator_value)
    return "SCHEMA1006", f"`{name}` is {_written(error.instance)}; it can only be {right}"


def _range(error: Error, name: str) -> Words:
    low, high = error.schema.get("minimum"), error.schema.get("maximum")
    right = f"from {low} to {high}" if high is not None else f"at least {low}"
    return "SCHEMA1007", f"`{name}` is {_written(error.instance)}; choose a number {right}"


def _format(error: Error, name: str) -> Words:
    return "SCHEMA1008", f"`{name}`: {error.cause}"


def _size(error: Error, name: str) -> Words:
    limit = error.validator_value
    many = str(error.validator).startswith("max")
    if error.validator in ("minProperties", "maxProperties"):
        choices = _listed(list(error.schema["properties"]), "or")
        if error.schema.get("maxProperties") == 1:
            return "SCHEMA1009", f"`{name}` takes exactly one of {choices}; write one"
        return "SCHEMA1009", f"`{name}` is empty; write at least one of {choices}"
    if many and limit == 0:
        return "SCHEMA1009", f"`{name}` has items, and can have none here; remove it"
    if many:
        count = len(error.instance)
        return "SCHEMA1009", f"`{name}` has {count:,} items; write at most {limit:,}"
    return "SCHEMA1009", f"`{name}` has too few items; write at least {limit}{_example(error)}"


def _repeated(error: Error, name: str) -> Words:
    return "SCHEMA1010", f"`{name}` repeats {_written(error.instance)}; remove one of them"


def _reserved(error: Error, name: str) -> Words:
    return "SCHEMA1011", f"`{name}` {error.validator_value}; do not rely on it"


def _anything_else(error: Error, name: str) -> Words:
    return "SCHEMA1006", f"`{name}`: {error.message[:200]}; see `reconciler explain`"


_WORDS: Mapping[str, Callable[[Error, str], Words]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minimum": _range,
    "maximum": _range,
    "format": _format,
    "minItems": _size,
    "maxItems": _size,
    "minProperties": _size,
    "maxProperties": _size,
    "uniqueItems": _repeated,
    "reserved": _reserved,
}


def _written(value: Any) -> str:
    """A value as JSON, which is YAML too, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 64 else f"{text[:61]}..."


def _example(error: Error) -> str:
    example = next(iter(error.schema.get("examples", ())), None)
    return "" if example is None else f", such as {_written(example)}"


def _listed(values: list[Any], last: str = "and") -> str:
    words = [f"`{value}`" for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
