"""YAML as text: documents, places, and what hostile files cost."""

import tracemalloc

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.cyaml import CParser
from ruamel.yaml.error import YAMLError

from reconciler.manifest import yamltext
from reconciler.manifest.load import load
from reconciler.manifest.place import place
from reconciler.manifest.reading import MAX_DEPTH, MAX_NODES
from reconciler.manifest.scalars import ScalarRules
from tests.manifest.corpus import STREAMS, TEXTS
from tests.manifest.files import HEAD, HOST, SCHEMAS, codes, files_of, loaded, problems

RULES = ScalarRules()


@pytest.mark.parametrize("text", [*TEXTS, *STREAMS])
def test_documents_are_those_that_ruamel_reads(text: str) -> None:
    readings = yamltext.read_yaml(text, RULES)
    if any(reading.findings for reading in readings):
        return
    if "\t" in text:
        return  # between key and value YAML 1.2 allows a tab, and ruamel.yaml's own parser does not
    bodies = list(YAML(typ="safe", pure=True).load_all(text))
    assert repr([reading.body for reading in readings]) == repr(bodies)
    assert [reading.document for reading in readings] == list(range(len(bodies)))


@pytest.mark.parametrize("text", [*TEXTS, *STREAMS])
def test_a_good_text_of_ruamels_is_refused_with_a_reason_only(text: str) -> None:
    try:
        documents = len(list(YAML(typ="safe", pure=True).parse(text)))
    except YAMLError:
        documents = 0
    readings = yamltext.read_yaml(text, RULES)
    reasons = {finding.code for reading in readings for finding in reading.findings}
    if documents and "YAML1003" in reasons:
        # each document stands alone: what ends one inside of a quote or bracket is no mistake of it
        pytest.fail(f"a syntax error in {text!r}: {reasons}")


@pytest.mark.parametrize("text", [*TEXTS, *STREAMS])
def test_the_parser_in_c_agrees_with_ruamels_own_where_both_read(text: str) -> None:
    def simplified(events: object) -> list[tuple[object, ...]]:
        return [
            (
                type(event).__name__,
                getattr(event, "value", None),
                getattr(event, "anchor", None),
                getattr(event, "tag", None) and str(event.tag),
                getattr(event, "implicit", None),
            )
            for event in events  # type: ignore[attr-defined]
            if "Node" in {base.__name__ for base in type(event).__mro__}
        ]

    def in_c() -> object:
        parser = CParser(text)
        while parser.check_event():
            yield parser.get_event()

    try:
        fast, own = simplified(in_c()), simplified(YAML(typ="safe", pure=True).parse(text))
    except YAMLError:
        return
    assert fast == own


def test_empty_documents_are_counted_and_give_nothing() -> None:
    result = loaded(f"# nothing\n---\n---\n{HOST}---\n# nothing\n")
    assert not result.findings
    assert [document.index for document in result.documents] == [1]


def test_a_broken_document_hides_no_other() -> None:
    text = f"{HOST}---\nkind: Host\n  bad: x\n---\n{HOST}---\na: [b\n---\n{HEAD}spec: {{}}\n"
    assert [document.index for document in loaded(text).documents] == [0, 2]
    assert [code.split()[1] for code in codes(text)] == ["YAML1003", "YAML1003", "SCHEMA1004"]


def test_a_broken_document_is_known_by_what_came_before_the_mistake() -> None:
    (identity,) = loaded(HOST + "  weight: [\n").invalid
    assert identity == ("Host", "", "edge-1")


def test_a_place_is_that_of_the_value_and_of_the_key_for_unknown_fields() -> None:
    text = HEAD + "spec:\n  underlay: 192.0.2.11\n  weight:   0\n  wait: 1\n"
    assert codes(text) == ["6:13 SCHEMA1007", "7:3 SCHEMA1003"]


def test_a_place_counts_characters_and_not_bytes() -> None:
    text = HEAD + 'spec: {underlay: "é漢🙂", weight: 0}\n'
    assert codes(text) == ["4:18 SCHEMA1008", "4:33 SCHEMA1007"]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert codes("\ufeff" + HEAD + "spec: {underlay: 192.0.2.11, weight: 0}\n") == [
        "4:38 SCHEMA1007"
    ]
    assert not problems("\ufeff" + HOST)


def test_lines_may_end_as_on_windows() -> None:
    text = HOST + "  weight: 0\n---\n" + HOST + "  weight: 0\n"
    expected = ["6:11 SCHEMA1007", "13:11 SCHEMA1007"]
    assert codes(text) == codes(text.replace("\n", "\r\n")) == expected


def test_places_are_the_same_whichever_parser_reads() -> None:
    plain = HEAD + "spec:\n  underlay: 192.0.2.11\n  weight: 0\n  cordon: 1\n"
    commented = plain.replace("weight: 0", "weight: 0 # it's heavy")
    flow = commented.replace("cordon: 1", "cordon: [2001:db8::1, a]")
    places = [[each.split()[0] for each in codes(text)] for text in (plain, commented, flow)]
    assert places == [["6:11", "7:11"]] * 3


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (HOST.encode("utf-16"), "0:0 YAML1001"),
        (HOST.encode("utf-16-le"), "0:0 YAML1001"),
        (HOST.encode() + "  interface: é\n".encode("latin-1"), "6:14 YAML1001"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "0:0 YAML1002"),
        (HOST.encode() + b"  interface: \x1b[2Jx\n", "6:14 YAML1002"),
        (HOST + '  interface: "\\x00"\n', "6:14 YAML1002"),
        (HOST + "  interface: a\u202eb\n", "6:15 YAML1002"),
        (HOST + "  interface: a\u2028b\n", "6:15 YAML1002"),
        ("%YAML 1.1\n---\n" + HOST, "1:1 YAML1007"),
        ("%TAG ! tag:x,2000:\n---\n" + HOST, "1:1 YAML1007"),
        (HOST + "  interface: !!python/object:os.system x\n", "6:14 YAML1007"),
        (HOST + "  interface: !x y\n", "6:14 YAML1007"),
        (HOST + "  weight: *x\n", "6:11 YAML1008"),
        (HOST + "  ? [a]\n  : b\n", "6:5 YAML1006"),
        (HOST + "  1: a\n", "6:3 YAML1006"),
        (HOST + "  null: a\n", "6:3 YAML1006"),
        (HOST + "  underlay: 192.0.2.12\n", "6:3 YAML1004"),
        (HOST + '  "underlay": 192.0.2.12\n', "6:3 YAML1004"),
    ],
)
def test_a_text_that_could_be_misread_is_refused(data: str | bytes, code: str) -> None:
    assert codes(data) == [code]
    assert not loaded(data).documents


def test_the_first_of_two_equal_keys_is_checked() -> None:
    assert codes(HEAD + "spec: {underlay: x, underlay: 192.0.2.11}\n") == [
        "4:18 SCHEMA1008",
        "4:21 YAML1004",
    ]


def test_an_alias_within_limits_is_read() -> None:
    text = HEAD.replace("{name: edge-1}", "{name: edge-1, labels: {a: &a x, b: *a}}")
    (document,) = loaded(text + "spec: {underlay: 192.0.2.11}\n").documents
    assert document.body["metadata"]["labels"] == {"a": "x", "b": "x"}


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)
    ]
    return "\n".join(lines) + "\n"


HOSTILE = {
    "exploding aliases": bomb(40),
    "aliases of themselves": "a: &a [*a, *a]\n",
    "deep lists": "[" * 2_000_000,
    "deep mappings": "{a: " * 500_000,
    "deep closed lists": "[" * 100_000 + "]" * 100_000,
    "deep blocks": "".join(" " * level + "a:\n" for level in range(700)),
    "deep dashes": "- " * 100_000 + "a\n",
    "many documents": "---\n" * 1_000_000,
    "many small documents": "--- a\n" * 4_000,
    "a long line": "a: " + "x" * 4_000_000,
    "a long key": "x" * 200_000 + ": a\n",
    "many keys": "".join(f"k{number}: v\n" for number in range(25_000)),
    "many fields": HOST + "".join(f"  k{number}: v\n" for number in range(20_000)),
    "the same key": "k: v\n" * 50_000,
    "many values": HOST + "  weight: [" + "1," * 100_000 + "1]\n",
    "many anchors": "".join(f"k{number}: &a{number} v\n" for number in range(15_000)),
    "many question marks": "? " * 100_000,
    "many quotes": "'" * 1_000_001,
    "many colons": ":" * 200_000,
    "many tabs": "\t" * 200_000 + "a",
    "many lines": "\n" * 4_000_000,
    "a comment": "#" * 4_000_000,
    "a long number": "a: " + "9" * 200_000,
    "a long text in blocks": "a: |\n" + " x\n" * 80_000,
    "digits in a flow": "a: [" + "1:" * 50_000 + "]\n",
    "many words": "a: " + "b " * 100_000 + "\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gives_a_few_problems_in_bounded_memory(name: str) -> None:
    files = files_of({"a.yaml": HOSTILE[name]})
    tracemalloc.start()
    try:
        result = load(files, SCHEMAS)
        found = [str(problem) for problem in place(result.findings, files)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) <= 201
    assert all(len(line) < 1000 for line in found)
    assert peak < 400 << 20
    if name not in ("many lines", "a comment", "many documents"):
        assert found
    assert not result.documents


def test_the_limits_themselves_are_allowed() -> None:
    nested = "a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "\n"
    assert [code.split()[1] for code in codes(nested)] == ["SCHEMA1001"]
    assert [code.split()[1] for code in codes("b:\n- " + nested)] == ["YAML1009"]
    values = "[" + "1," * (MAX_NODES - 3) + "1]\n"
    assert [code.split()[1] for code in codes(values)] == ["SCHEMA1001"]
    assert [code.split()[1] for code in codes(values.replace("[", "[1,1,1,"))] == ["YAML1010"]


def test_more_problems_than_anybody_reads_are_summed_up() -> None:
    found = problems(HOST + "".join(f"  k{number}: v\n" for number in range(1000)))
    assert len(found) == 201
    assert found[0].startswith("a.yaml: SCHEMA1099 error: only 200 problems of this file are shown")
