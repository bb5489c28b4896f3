"""Unquoted values: ruamel.yaml's YAML 1.2 rules decide; what others read differently is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode

from reconciler.manifest.scalars import FORBIDDEN, ScalarRules, is_text

RULES = ScalarRules()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("edge-1", "edge-1"),
        ("10.1.0.0/24", "10.1.0.0/24"),
        ("2001:db8::1", "2001:db8::1"),
        ("02:00:0a:01:00:0b", "02:00:0a:01:00:0b"),
        ("4097", 4097),
        ("-1", -1),
        ("+1", 1),
        ("0", 0),
        ("0x1f", 31),
        ("1.5", 1.5),
        ("1.5e+3", 1500.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0.0.0.0", "0.0.0.0"),
        ("nan", "nan"),
        ("-", "-"),
    ],
)
def test_what_all_versions_read_alike_is_accepted(text: str, value: object) -> None:
    scalar = RULES.read(text)
    assert not scalar.code
    assert repr(scalar.value) == repr(value)


@pytest.mark.parametrize(
    "text",
    "yes Yes no NO on off y N 010 0777 08 0o17 0b11 1_000 12:30 12:34:56:12:34:56 190:20:30.15 "
    "1:2:3:4:5:6:7:8 2001-01-01 2001-12-14t21:59:43.10-05:00 1e3 1.5e3 .5e3 685.230_15e+03 -0x1f "
    "= -.5".split(),
)
def test_what_versions_read_differently_is_ambiguous(text: str) -> None:
    assert RULES.read(text).code == "YAML1005"
    assert f"`{text}` is ambiguous" in RULES.read(text).message


@pytest.mark.parametrize("text", [".inf", "-.INF", ".NaN", "1" * 25, "9" * 5000, "1.0e+400"])
def test_numbers_that_other_tools_cannot_hold_are_refused(text: str) -> None:
    assert RULES.read(text).code == "YAML1011"


def test_a_merge_key_is_refused() -> None:
    assert RULES.read("<<").code == "YAML1012"


TEXTS = st.text("0123456789abeox+-_.:~=<yYnNtTfFlL ", min_size=1, max_size=12)


@settings(max_examples=700, deadline=None)
@given(TEXTS)
def test_whatever_is_accepted_is_what_ruamel_reads_by_both_versions(text: str) -> None:
    scalar = RULES.read(text)
    if scalar.code or text != text.strip() or text[-1] == ":" or text[0] in "-:<" or ": " in text:
        return
    for version in ((1, 2), (1, 1)):
        rules = YAML(typ="safe", pure=True)
        rules.version = version
        assert repr(rules.load(f"[{text}]")) == repr([scalar.value])


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=8)
    | TEXTS
    | st.from_regex(r"[-+]?[0-9_.:]*[eE]?[-+]?[0-9_.:]*", fullmatch=True)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    scalar = RULES.read(text)
    assert bool(scalar.code) == bool(scalar.message)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_the_shortcut_for_texts_agrees_with_the_rules(text: str) -> None:
    if is_text(text):
        own = YAML(typ="safe", pure=True)
        for version in ((1, 2), (1, 1)):
            own.version = version
            tag = own.resolver.resolve(ScalarNode, text, (True, False))
            assert str(tag) == "tag:yaml.org,2002:str"


@pytest.mark.parametrize(
    "text", ["\0", "\x07", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\ud800", "\ufeff", "\uffff"]
)
def test_characters_that_hide_or_break_a_text_are_forbidden(text: str) -> None:
    assert FORBIDDEN.search(text)


@pytest.mark.parametrize("text", ["\t", "\n", "\r", " ", "é", "漢", "🙂", "\u00a0", "~"])
def test_all_other_characters_are_allowed(text: str) -> None:
    assert not FORBIDDEN.search(text)
