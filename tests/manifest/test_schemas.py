"""The schemas themselves: sound, described throughout, with examples that are valid."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.manifest.formats import FORMATS
from reconciler.manifest.schema import compile_schemas, make_validator
from tests.manifest.files import SCHEMAS

FOLDER = Path(__file__).parent.parent.parent / "schemas"
KINDS = compile_schemas(SCHEMAS).kinds


def properties(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property and list item, by path."""
    if not isinstance(schema, dict):
        return
    below = {f"{path}.{name}": each for name, each in schema.get("properties", {}).items()}
    if "items" in schema:
        below[f"{path}[]"] = schema["items"]
    for name, each in below.items():
        yield name, each
        yield from properties(each, name)


PROPERTIES = [
    pytest.param(each, id=name)
    for kind, schema in SCHEMAS.items()
    for name, each in properties(schema, kind)
]


def test_every_kind_has_a_file_named_after_it() -> None:
    files = {path.stem for path in FOLDER.glob("*.json")} - {"common"}
    assert files == {kind.lower() for kind in SCHEMAS}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_schema_is_a_valid_schema(kind: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[kind])
    assert "$ref" not in json.dumps(SCHEMAS[kind])
    assert SCHEMAS[kind]["description"]


@pytest.mark.parametrize("schema", PROPERTIES)
def test_every_property_is_described_with_valid_examples(schema: dict[str, Any]) -> None:
    assert schema["description"].endswith(".")
    assert schema["examples"]
    validator = make_validator(schema)
    for example in schema["examples"]:
        assert [
            error for error in validator.iter_errors(example) if error.validator != "reserved"
        ] == []
    if "default" in schema:
        assert validator.is_valid(schema["default"])


@pytest.mark.parametrize("schema", PROPERTIES)
def test_no_mapping_takes_unknown_fields(schema: dict[str, Any]) -> None:
    if "properties" in schema:
        assert schema["additionalProperties"] is False


def formats(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(formats, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    own = {schema["format"]} if isinstance(schema.get("format"), str) else set()
    return own.union(*map(formats, schema.values()))


def test_every_format_is_checked_and_used() -> None:
    assert formats(list(SCHEMAS.values())) == set(FORMATS)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_examples_of_a_kind_are_valid_manifests(kind: str) -> None:
    assert SCHEMAS[kind]["examples"]
    for example in SCHEMAS[kind]["examples"]:
        assert KINDS[kind].check(0, example) == []


def test_the_words_of_missing_fields_name_the_right_one() -> None:
    # jsonschema says which only in its message
    found = KINDS["VPC"].check(0, {"apiVersion": "reconciler/v1alpha1", "kind": "VPC"})
    assert [finding.message.partition(" ")[0] for finding in found] == ["`metadata`", "`spec`"]


def test_a_float_is_no_whole_number() -> None:
    body = {**SCHEMAS["VPC"]["examples"][0], "spec": {"vni": 1.0, "cidrs": ["10.0.0.0/8"]}}
    assert [finding.pointer for finding in KINDS["VPC"].check(0, body)] == ["/spec/vni"]


@pytest.mark.parametrize("items", [[1, "a", None] * 3000, [["a"], {"b": 1}] * 3000])
def test_repeated_items_are_found_in_linear_time(items: list[Any]) -> None:
    validator = make_validator({"type": "array", "uniqueItems": True})
    assert len(list(validator.iter_errors(items))) == len(items) - len(
        {json.dumps(each) for each in items}
    )
