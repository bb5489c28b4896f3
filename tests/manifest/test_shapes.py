"""What is filled into a known shape is what the slow readers and jsonschema give, or nothing."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.manifest.load import load_bytes
from reconciler.manifest.scalars import ScalarRules, is_text
from reconciler.manifest.schema import compile_schemas
from tests.bench import generate
from tests.manifest.corpus import TEXTS
from tests.manifest.files import SCHEMAS
from tests.manifest.test_accept import EXAMPLES, SPECS, VALUES
from tests.model.histories import History

VALIDATORS = compile_schemas(SCHEMAS)
SIZE = generate.Size(1000)
BLOCK = """\
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata:
  name: web-1
  namespace: shop
  labels:
    app: web
    tier: "front"
spec:
  network: web
  host: edge-1
  addresses:
    - 10.1.0.11
    - '2001:db8:1::11'
  mac: 02:00:0a:01:00:0b
  attach: {veth: {netns: shop.web-1}}
  ports:
    - name: http
      port: 8080
"""


def written(body: object) -> str:
    """As people write it, in block style."""
    from io import StringIO

    yaml, out = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style = False
    yaml.dump(body, out)
    return out.getvalue()


TEMPLATES = [
    BLOCK,
    generate.endpoint(7, SIZE),
    generate.host(3, 4),
    generate.vpc(2),
    generate.network(1, SIZE),
    *History(1).files["a.yaml"],
    *(written(body) for _, body in EXAMPLES + SPECS),
]
WORDS = [
    *["no", "on", "Yes", "NULL", "true", "y", "1e3", "010", "0x1f", "1_000", "12:30:45", "1:20"],
    *["2026-11-30", ".5", "1.5", "10.1.0.256", "10.1.0.011", "127.0.0.1", "224.0.0.1", "::1"],
    *["fe80::1", "2001:db8::7", "2001:DB8::7", "::ffff:1.2.3.4", "a/b", "A", "a_b", "-a", "a-"],
    *["x" * 63, "x" * 64, "Zq0qZ", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "0.0.0.0", "a:b"],
    *["", "null", "~", "'no'", '"10"', "a b", "a #b", "[a]", "{a: b}", "*a", "&a b", "!t a", "|"],
    *(each for each in VALUES if isinstance(each, str) and "\n" not in each),
]


def agrees(text: str) -> bool:
    """Whether the shapes took it; fails where they read anything else than the slow readers."""
    filled = VALIDATORS.shapes.fill(text, 3)
    if filled is None:
        return False
    found = load_bytes(text.encode(), False, VALIDATORS)
    assert not found.findings, text
    (document,) = found.documents
    own = filled.document()
    assert (own.kind, own.namespace, own.name) == (
        document.kind,
        document.namespace,
        document.name,
    )
    assert repr(own.body) == repr(document.body), text
    assert VALIDATORS.kinds[own.kind].validator.is_valid(own.body), text
    return True


@pytest.mark.parametrize("text", TEMPLATES[:6])
def test_ordinary_manifests_are_filled_in(text: str) -> None:
    assert agrees(text)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_filled_in_is_what_the_slow_readers_give(text: str) -> None:
    agrees(text)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TEMPLATES), st.integers(0, 2**32), st.integers(0, 3))
def test_any_text_in_place_of_a_value_means_what_it_means_to_the_slow_readers(
    template: str, seed: int, changes: int
) -> None:
    agrees(template)  # so that the shape is known before
    draw, text = random.Random(seed), template
    for _ in range(changes):
        places = [*re.finditer(r"(?<=[:,\[-] )[^ ,\]}\n]+|(?<=\[)[^ ,\]}\n]+", text)]
        if places:
            place = draw.choice(places)
            text = text[: place.start()] + draw.choice(WORDS) + text[place.end() :]
    agrees(text)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TEMPLATES), st.integers(0, 2**32), st.text("a:-, []{}'\"\n#0.", max_size=3))
def test_any_characters_anywhere_mean_what_they_mean_to_the_slow_readers(
    template: str, seed: int, characters: str
) -> None:
    agrees(template)
    place = random.Random(seed).randrange(len(template) + 1)
    agrees(template[:place] + characters + template[place:])


def test_two_equal_addresses_are_not_filled_in() -> None:
    assert agrees("[10.0.0.5, 10.0.0.6]".join(generate.endpoint(7, SIZE).split("[10.0.0.9]")))
    assert not agrees("[10.0.0.5, 10.0.0.5]".join(generate.endpoint(7, SIZE).split("[10.0.0.9]")))


RULES = ScalarRules()
LETTERS = st.text("yYnNoOeEsStTrRuUfFaAlLiI", min_size=1, max_size=5)
DOTTED = st.lists(st.text("0123456789", min_size=1, max_size=3), min_size=4, max_size=4)


@settings(max_examples=400, deadline=None)
@given(LETTERS | st.from_regex(r"[A-Za-z][A-Za-z0-9._/:-]{0,8}[a-z0-9]", fullmatch=True) | DOTTED)
def test_what_is_taken_for_a_text_at_a_glance_is_one_for_every_version(
    drawn: str | list[str],
) -> None:
    text = drawn if isinstance(drawn, str) else ".".join(drawn)
    if is_text(text):
        found = RULES._decide(text)
        assert (found.value, found.code) == (text, "")
