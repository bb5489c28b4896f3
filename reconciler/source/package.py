"""What ships with the code: JSON Schemas and compiled programs, from the wheel or the checkout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
COMMON = "common.json"


def schemas() -> Mapping[str, Mapping[str, Any]]:
    """The JSON Schema of each kind, self-contained: references into common.json are resolved."""
    folder = _folder("schemas")
    files = {path.name: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))}
    definitions = files.pop(COMMON)["$defs"]
    inlined = (_inline(schema, definitions) for schema in files.values())
    return {schema["properties"]["kind"]["const"]: schema for schema in inlined}


def object_path(program: str) -> Path:
    """The compiled object of `program`, such as "transit"; may not exist in a checkout."""
    return _folder("bpf") / f"{program}.bpf.o"


def _folder(name: str) -> Path:
    """`reconciler/data/NAME` of a wheel, or its counterpart in the checkout."""
    shipped = PACKAGE / "data" / name
    if shipped.is_dir():
        return shipped
    return PACKAGE.parent / {"schemas": "schemas", "bpf": "bpf/build"}[name]


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """`schema` with every `$ref` replaced by its definition; what stands beside it wins."""
    if isinstance(schema, list):
        return [_inline(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = definitions[reference.removeprefix(f"{COMMON}#/$defs/")]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _inline({**target, **beside}, definitions)
    return {key: _inline(value, definitions) for key, value in schema.items()}
