"""A JSON Schema -> a function that says yes to most of what is valid, fast.

It only accepts: for anything else, wrong or not understood, jsonschema decides and says why. A
differential test holds it to jsonschema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Accepts = Callable[[Any], bool]
Formats = Mapping[str, Callable[[str], None]]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_SAYS_NOTHING = {"$schema", "title", "description", "examples", "default"}
_OBJECT = {"properties", "required", "additionalProperties", "propertyNames"} | {
    f"{least}Properties" for least in ("min", "max")
}
_ARRAY = {"items", "minItems", "maxItems", "uniqueItems"}
_NUMBER = {"minimum", "maximum"}
_OTHER = {"type", "const", "enum", "format", "allOf", "if", "then"}
KNOWN = _SAYS_NOTHING | _OBJECT | _ARRAY | _NUMBER | _OTHER


def compile_acceptor(schema: Mapping[str, Any], formats: Formats) -> Accepts:
    """`formats` raise ValueError, as formats.FORMATS do; those not named accept nothing."""
    if not schema.keys() <= KNOWN:
        return lambda value: False
    checks: list[Accepts] = []
    if "type" in schema:
        checks.append(_type(schema["type"]))
    for keyword in ("const", "enum"):
        if keyword in schema:
            checks.append(_choice(schema[keyword] if keyword == "enum" else [schema[keyword]]))
    if "format" in schema:
        checks.append(_format(formats.get(schema["format"])))
    if schema.keys() & _NUMBER:
        checks.append(_number(schema))
    if schema.keys() & _ARRAY:
        checks.append(_array(schema, formats))
    if schema.keys() & _OBJECT:
        checks.append(_object(schema, formats))
    checks += [compile_acceptor(each, formats) for each in schema.get("allOf", ())]
    if "if" in schema:
        checks.append(_implication(schema, formats))
    return _all(checks)


def _all(checks: list[Accepts]) -> Accepts:
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        first, second = checks
        return lambda value: first(value) and second(value)

    def accepts(value: Any) -> bool:
        return all(check(value) for check in checks)

    return accepts


def _type(names: str | list[str]) -> Accepts:
    each = [names] if isinstance(names, str) else names
    types = frozenset(kind for name in each for kind in _TYPES[name])
    return lambda value: type(value) in types


def _choice(values: list[Any]) -> Accepts:
    """Of texts, booleans and null; numbers equal each other across types."""
    texts = frozenset(value for value in values if isinstance(value, str))
    others = [value for value in values if isinstance(value, bool) or value is None]

    def accepts(value: Any) -> bool:
        if type(value) is str:
            return value in texts
        return any(value is each for each in others)

    return accepts


def _format(check: Callable[[str], None] | None) -> Accepts:
    if check is None:
        return lambda value: False

    def accepts(value: Any) -> bool:
        if type(value) is not str:
            return True
        try:
            check(value)
        except ValueError:
            return False
        return True

    return accepts


def _number(schema: Mapping[str, Any]) -> Accepts:
    low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))

    def accepts(value: Any) -> bool:
        return type(value) not in (int, float) or low <= value <= high

    return accepts


def _array(schema: Mapping[str, Any], formats: Formats) -> Accepts:
    item = compile_acceptor(schema.get("items", {}), formats)
    low, high = schema.get("minItems", 0), schema.get("maxItems", float("inf"))
    unique = schema.get("uniqueItems", False)

    def accepts(value: Any) -> bool:
        if type(value) is not list:
            return True
        if not low <= len(value) <= high or not all(map(item, value)):
            return False
        if not unique or len(value) == 1:
            return True
        return len({json.dumps(each, sort_keys=True) for each in value}) == len(value)

    return accepts


def _object(schema: Mapping[str, Any], formats: Formats) -> Accepts:
    fields = {
        name: compile_acceptor(each, formats) for name, each in schema.get("properties", {}).items()
    }
    others = _schema_or_bool(schema.get("additionalProperties", True), formats)
    names = (
        compile_acceptor(schema["propertyNames"], formats) if "propertyNames" in schema else None
    )
    required = frozenset(schema.get("required", ()))
    low, high = schema.get("minProperties", 0), schema.get("maxProperties", float("inf"))

    def accepts(value: Any) -> bool:
        if type(value) is not dict:
            return True
        if not low <= len(value) <= high or not value.keys() >= required:
            return False
        if names is not None and not all(map(names, value)):
            return False
        return all(fields.get(name, others)(each) for name, each in value.items())

    return accepts


def _schema_or_bool(schema: bool | Mapping[str, Any], formats: Formats) -> Accepts:
    if isinstance(schema, bool):
        return lambda value: schema
    return compile_acceptor(schema, formats)


def _implication(schema: Mapping[str, Any], formats: Formats) -> Accepts:
    """What satisfies `then` satisfies the whole; that `if` does not hold, no acceptor can tell."""
    return compile_acceptor(schema.get("then", {}), formats)
