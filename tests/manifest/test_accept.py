"""The fast acceptor never accepts what jsonschema does not."""

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifest.accept import compile_acceptor
from reconciler.manifest.formats import FORMATS
from reconciler.manifest.schema import compile_schemas, make_validator
from tests.manifest.files import SCHEMAS
from tests.manifest.test_formats import BAD, GOOD

KINDS = compile_schemas(SCHEMAS).kinds
EXAMPLES = [(kind, example) for kind, schema in SCHEMAS.items() for example in schema["examples"]]
SPECS = [
    (kind, {**schema["examples"][0], "spec": spec})
    for kind, schema in SCHEMAS.items()
    for spec in schema["properties"]["spec"]["examples"]
]
VALUES: list[Any] = [
    *[None, True, False, 0, 1, -1, 2, 8, 9, 1.0, 1.5, 65535, 65536, 1 << 24, "", "a", "A", "\n"],
    *[
        [],
        {},
        [1],
        ["a", "a"],
        {"a": "b"},
        {"name": "a"},
        {"count": 1},
        {"veth": {}},
        {"host": True},
    ],
    *["Host", "VPC", "v1", "native", "TCP", "spread", "any", {"namespaceSelector": {}}],
    *[{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}],
    *[{"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}],
    *(text for texts in GOOD.values() for text in texts),
    *(text for texts in BAD.values() for text in texts[:4]),
]
NAMES = sorted(
    {"a", "host", "veth", "interface", "netns", "egress", "bandwidth", "weight", "namespace"}
    | {
        name
        for schema in SCHEMAS.values()
        for name in schema["properties"]["spec"].get("properties", ())
    }
)


def agrees(kind: str, body: Any) -> None:
    if KINDS[kind].accepts(body):
        assert list(KINDS[kind].validator.iter_errors(body)) == [], body


@pytest.mark.parametrize(("kind", "body"), EXAMPLES + SPECS)
def test_ordinary_manifests_are_accepted(kind: str, body: Any) -> None:
    assert KINDS[kind].accepts(body)
    agrees(kind, body)


def change(body: Any, chance: random.Random) -> None:
    """One change somewhere: a value, a key, a member more or less."""
    while isinstance(body, dict | list) and body:
        step = chance.choice(list(body) if isinstance(body, dict) else range(len(body)))
        below = body[step]
        if isinstance(below, dict | list) and below and chance.random() < 0.75:
            body = below
            continue
        what = chance.random()
        if what < 0.6:
            body[step] = copy.deepcopy(chance.choice(VALUES))
        elif what < 0.7:
            del body[step]
        elif isinstance(body, dict):
            body[chance.choice(NAMES)] = copy.deepcopy(chance.choice(VALUES))
        else:
            body.append(copy.deepcopy(chance.choice([below, *VALUES])))
        return


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(EXAMPLES + SPECS), st.integers(0, 2**32), st.integers(1, 4))
def test_what_is_accepted_after_changes_is_valid(
    example: tuple[str, Any], seed: int, changes: int
) -> None:
    kind, body = example[0], copy.deepcopy(example[1])
    chance = random.Random(seed)
    for _ in range(changes):
        change(body, chance)
    agrees(kind, body)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_what_is_no_manifest_at_all_is_not_accepted(kind: str) -> None:
    assert not any(KINDS[kind].accepts(body) for body in VALUES)


def test_what_warns_is_not_accepted() -> None:
    body = copy.deepcopy(SCHEMAS["Endpoint"]["examples"][0])
    body["spec"]["bandwidth"] = {"egress": "1M"}
    assert not KINDS["Endpoint"].accepts(body)


SMALL = [
    {"type": "integer"},
    {"type": "number", "minimum": 1, "maximum": 2},
    {"type": ["string", "null"], "format": "dns-label"},
    {"const": 1},
    {"const": True},
    {"enum": [1, "a", None, False]},
    {"minItems": 1, "maxItems": 2, "uniqueItems": True},
    {"items": {"type": "string"}},
    {"minProperties": 1, "maxProperties": 1},
    {"additionalProperties": {"type": "string"}, "propertyNames": {"format": "dns-label"}},
    {"required": ["a"], "properties": {"a": {"type": "string"}}, "additionalProperties": False},
    {"allOf": [{"minimum": 1}, {"type": "integer"}]},
    {"if": {"type": "string"}, "then": {"format": "dns-label"}},
    {"if": {"type": "string"}, "then": {"minimum": 1}, "else": {"type": "null"}},
    {"not": {"type": "string"}},
    {"format": "unknown"},
    {"multipleOf": 2},
    {"reserved": "is not enforced yet"},
    {},
]


@pytest.mark.parametrize("schema", SMALL, ids=str)
def test_it_agrees_on_every_keyword(schema: dict[str, Any]) -> None:
    accepts, validator = compile_acceptor(schema, FORMATS), make_validator(schema)
    for value in [*VALUES, [1, 1.0], [1, True], ["a", "b"], {"a": 1}, {"b": "a"}]:
        assert validator.is_valid(value) or not accepts(value), value
