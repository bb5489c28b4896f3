"""A kind's JSON Schema as text for people: every field with type, default, range and meaning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from reconciler.manifest.scalars import ScalarRules

Schema = Mapping[str, Any]
TYPES = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
    "null": "null",
}
PLURALS = {"text": "texts", "number": "numbers", "mapping": "mappings", "list": "lists"}
WIDTH = 96


def kind_text(kind: str, schema: Schema, path: tuple[str, ...] = ()) -> str:
    """A whole kind, or the field at `path` and what is below it; KeyError if there is none."""
    here: Schema = schema
    required = True
    for name in path:
        required = name in inner(here).get("required", ())
        here = inner(here)["properties"][name]
    version = schema["properties"]["apiVersion"]["const"]
    title = ".".join((kind, *path))
    head = f"{title}: {describe(here, required)}" if path else f"{title}, {version}"
    blocks = [[head, *wrapped(here.get("description", ""), 2)]]
    fields = list(_fields(here, ".".join(path)))
    if fields:
        blocks.append(["Fields:", *fields])
    if here.get("examples"):
        blocks.append(["Example:", *(f"  {line}" for line in example(here, path[-1:]))])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def describe(schema: Schema, required: bool) -> str:
    """`list of texts (address), 1 to 16, required`."""
    parts = [type_of(schema)]
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema.get("type") == "array":
        low, high = schema.get("minItems"), schema.get("maxItems")
    if low is not None or high is not None:
        parts.append(_range(low, high))
    if "default" in schema:
        parts.append(f"default {inline(schema['default'])}")
    if "reserved" in schema:
        parts.append("reserved")
    return ", ".join([*parts, *(["required"] if required else [])])


def type_of(schema: Schema) -> str:
    """The type in words, with format and allowed values."""
    if "const" in schema:
        return f"always {inline(schema['const'])}"
    if "enum" in schema:
        return "one of " + ", ".join(map(inline, schema["enum"]))
    kinds = schema.get("type", "any value")
    words = [TYPES.get(each, each) for each in ([kinds] if isinstance(kinds, str) else kinds)]
    word = " or ".join(words)
    if kinds == "array":
        inside = type_of(schema.get("items", {}))
        first, space, rest = inside.partition(" ")
        return f"list of {PLURALS.get(first, first)}{space}{rest}"
    return f"{word} ({schema['format']})" if "format" in schema else word


def inner(schema: Schema) -> Schema:
    """Where the members are: the schema itself, or that of a list's items."""
    items = schema.get("items")
    return items if isinstance(items, Mapping) and "properties" in items else schema


def example(schema: Schema, name: tuple[str, ...]) -> list[str]:
    """The first example as lines of YAML, under its field's name if it has one."""
    value: Any = schema["examples"][0]
    for each in name:
        value = {each: value}
    value = _quoted(value, ScalarRules())
    out = StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(value, out)
    return out.getvalue().rstrip("\n").split("\n")


def wrapped(text: str, indent: int) -> list[str]:
    """A paragraph as lines."""
    space = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=space, subsequent_indent=space)


def inline(value: Any) -> str:
    """A value as it stands in flow style."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {inline(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return str(value)


def _quoted(value: Any, rules: ScalarRules) -> Any:
    """Texts that would read as something else get quotes."""
    if isinstance(value, Mapping):
        return {name: _quoted(each, rules) for name, each in value.items()}
    if isinstance(value, list):
        return [_quoted(each, rules) for each in value]
    if isinstance(value, str):
        read = rules.read(value)
        return value if read.value == value and not read.code else DoubleQuotedScalarString(value)
    return value


def _fields(schema: Schema, path: str) -> Iterator[str]:
    members = inner(schema)
    for name, each in members.get("properties", {}).items():
        dotted = f"{path}.{name}" if path else name
        yield f"  {dotted}: {describe(each, name in members.get('required', ()))}"
        yield from wrapped(each.get("description", ""), 6)
        yield from _fields(each, dotted if inner(each) is each else f"{dotted}[]")


def _range(low: int | None, high: int | None) -> str:
    if high is None:
        return f"{low} or more"
    return f"at most {high}" if low is None else f"{low} to {high}"
