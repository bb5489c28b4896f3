"""The fast reader accepts only what the real parsers read, and reads it as they do."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.manifest.reading import Reading
from reconciler.manifest.scalars import FORBIDDEN, ScalarRules
from reconciler.manifest.simple import UnclearError, read_simple
from reconciler.manifest.yamltext import read_yaml
from tests.manifest.corpus import MANIFESTS, SNIPPETS, STRUCTURES, TEXTS

RULES = ScalarRules()


def slowly(text: str) -> list[Reading]:
    """By the real parsers: places are what the fast reader cannot give."""
    return read_yaml(text, RULES, places=range(9))


def agrees(text: str) -> bool:
    """Whether the fast reader took it; fails where it reads anything else than they do."""
    try:
        body = read_simple(text, RULES)
    except UnclearError:
        return False
    (reading,) = slowly(text)
    assert not reading.findings, text
    assert not reading.broken, text
    assert repr(reading.body) == repr(body), text
    own = YAML(typ="safe", pure=True).load(text)
    assert repr(own) == repr(body), text
    return True


@pytest.mark.parametrize("text", TEXTS)
def test_it_reads_what_the_real_parsers_read(text: str) -> None:
    agrees(text)


@pytest.mark.parametrize("text", MANIFESTS[:1])
def test_it_takes_an_ordinary_manifest(text: str) -> None:
    assert agrees(text)


def test_it_takes_an_ipv6_address_in_brackets() -> None:
    assert agrees("a: [10.1.0.11, 2001:db8:1::11]\n")


LINES = st.sampled_from([*SNIPPETS, *(line for text in STRUCTURES for line in text.splitlines())])


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["", " ", "  ", "    ", "- ", "  - "]), LINES), max_size=7)
)
def test_it_agrees_on_lines_put_together_at_random(lines: list[tuple[str, str]]) -> None:
    text = "".join(f"{indent}{line[:200]}\n" for indent, line in lines)
    if "\n---" not in f"\n{text}":  # one document
        agrees(text)


@settings(max_examples=500, deadline=None)
@given(st.text("ab1-:,[]{}#'\" \n\t.?&*!|>%@=~", max_size=30))
def test_it_agrees_on_characters_put_together_at_random(text: str) -> None:
    if "\n---" not in f"\n{text}" and not FORBIDDEN.search(text):
        agrees(text)


SCALARS = (
    st.booleans()
    | st.none()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
KEYS = st.text("abyno01-./ ", min_size=1, max_size=6)
BODIES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, BODIES, max_size=4), st.sampled_from([True, False, None]))
def test_it_agrees_on_what_a_yaml_writer_writes(body: dict[str, object], flow: bool | None) -> None:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = flow
    stream = io.StringIO()
    writer.dump(body, stream)
    text = stream.getvalue()
    if not FORBIDDEN.search(text):
        agrees(text)


def test_the_number_of_levels_is_bounded() -> None:
    with pytest.raises(UnclearError):
        read_simple("a: " + "[" * 10_000, RULES)
    with pytest.raises(UnclearError):
        read_simple("\n".join(" " * level + "a:" for level in range(500)), RULES)
