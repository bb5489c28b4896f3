"""JSON files: the same documents, limits and findings as YAML."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifest.jsontext import read_json
from tests.manifest.files import codes, loaded, problems

HOST = {
    "apiVersion": "reconciler/v1alpha1",
    "kind": "Host",
    "metadata": {"name": "edge-1"},
    "spec": {"underlay": "192.0.2.11"},
}


def test_a_manifest_may_be_json() -> None:
    (document,) = loaded(json.dumps(HOST), "a.json").documents
    assert document.body == HOST
    assert document.name == "edge-1"


def test_an_empty_file_holds_nothing() -> None:
    assert not problems(" \n", "a.json")


def test_a_name_in_capitals_is_json_too() -> None:
    assert codes("{", "A.JSON") == ["1:2 YAML1003"]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_both_ways_of_reading_give_what_was_written(
    value: object, indent: int | str | None, escaped: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    (fast,), (slow,) = read_json(text), read_json(text, places=True)
    if not slow.findings:  # a byte order mark within a text, for one
        assert repr(fast.body) == repr(slow.body) == repr(value)


@settings(max_examples=300, deadline=None)
@given(st.text('{}[]:,"a1 \n\\u0-.e', max_size=20))
def test_whatever_the_text_is_both_ways_agree(text: str) -> None:
    fast, slow = read_json(text), read_json(text, places=True)
    assert [(each.findings, repr(each.body)) for each in fast] == [
        (each.findings, repr(each.body)) for each in slow
    ]


def test_places_count_lines_and_characters() -> None:
    text = json.dumps(HOST | {"spec": {"underlay": "é", "weight": 0, "a/b~c": 1}}, indent=2)
    text = text.replace("\\u00e9", "é")
    assert codes(text, "a.json") == ["8:17 SCHEMA1008", "9:15 SCHEMA1007", "10:5 SCHEMA1003"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1,}', "1:9 YAML1003"),
        ("{} {}", "1:4 YAML1003"),
        ("{'a': 1}", "1:2 YAML1003"),
        ('{"a": "\x01"}', "1:8 YAML1002"),
        ("// comment\n{}", "1:1 YAML1003"),
        ("[" * 100_000, "1:33 YAML1009"),
        ('{"a":' * 100_000, "1:161 YAML1009"),
        ("[" * 100_000 + "]" * 100_000, "1:33 YAML1009"),
        ("[" + "1," * 60_000 + "1]", "1:100000 YAML1010"),
        ("[" + "9" * 5000 + "]", "1:2 YAML1011"),
        ("[1e400]", "1:2 YAML1011"),
        ("[-Infinity]", "1:2 YAML1011"),
    ],
)
def test_a_text_that_is_no_json_or_beyond_limits_is_refused(text: str, code: str) -> None:
    assert code in codes(text, "a.json")
    assert not loaded(text, "a.json").documents
