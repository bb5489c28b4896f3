"""`reconciler explain`: every code, every kind, every field; examples that validate."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import run
from reconciler.cli.exits import Exit
from reconciler.cli.schema_view import inner, kind_text
from reconciler.manifest.codes import CODES
from reconciler.manifest.load import load
from reconciler.plan.codes import GUARDS
from reconciler.source.files import SourceFile
from reconciler.source.package import schemas
from tests.cli.command import reconciler

SCHEMAS = schemas()


def fields(schema: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, each in inner(schema).get("properties", {}).items():
        yield (*path, name)
        yield from fields(each, (*path, name))


FIELDS = [(kind, path) for kind, schema in SCHEMAS.items() for path in fields(schema)]


def explained(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["explain", *arguments]) == Exit.OK
    return capsys.readouterr().out


def test_every_code_and_kind_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = explained(capsys=capsys)
    for name in (*CODES, *GUARDS, *SCHEMAS):
        assert f"\n  {name} " in listed


@pytest.mark.parametrize("code", [*CODES, *GUARDS])
def test_a_code_is_explained_with_what_to_do(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    known = {**CODES, **GUARDS}[code]
    text = explained(code, capsys=capsys)
    assert text.startswith(f"{code}: {known.title}\n")
    assert known.remedy.split()[-1] in text.split("What to do:")[1]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_example_of_a_kind_is_a_valid_manifest(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example = explained(kind, capsys=capsys).split("Example:\n")[1]
    loaded = load([SourceFile("a.yaml", "", example.encode())], SCHEMAS)
    assert not loaded.findings
    assert [each.kind for each in loaded.documents] == [kind]


@pytest.mark.parametrize(("kind", "path"), FIELDS)
def test_every_field_has_a_type_and_a_meaning(kind: str, path: tuple[str, ...]) -> None:
    text = kind_text(kind, SCHEMAS[kind], path)
    head, meaning = text.split("\n")[:2]
    assert head.startswith(f"{'.'.join((kind, *path))}: ")
    assert meaning.strip(), text


def test_the_example_of_a_mac_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    """Unquoted, some readers take some MACs for numbers of base 60."""
    text = kind_text("Endpoint", {**SCHEMAS["Endpoint"]}, ("spec", "mac"))
    assert "mac: 02:00:0a:01:00:0b" in text or 'mac: "02:00:0a:01:00:0b"' in text
    schema = json.loads(json.dumps(SCHEMAS["Endpoint"]))
    schema["properties"]["spec"]["properties"]["mac"]["examples"] = ["12:34:56:12:34:56"]
    assert 'mac: "12:34:56:12:34:56"' in kind_text("Endpoint", schema, ("spec", "mac"))


def test_kinds_and_codes_are_found_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained("vpc", capsys=capsys) == explained("VPC", capsys=capsys)
    assert explained("net1012", capsys=capsys) == explained("NET1012", capsys=capsys)


def test_a_field_is_explained_by_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    text = explained("endpoint.spec.ports.protocol", capsys=capsys)
    assert text.startswith("Endpoint.spec.ports.protocol: one of TCP, UDP, SCTP, default TCP\n")


@pytest.mark.parametrize(
    ("topic", "hint"),
    [
        ("Netwrok", "did you mean Network?"),
        ("NET10012", "did you mean NET1012"),
        ("Endpoint.spec.adresses", "did you mean addresses?"),
        ("Endpoint.colour", "there are apiVersion, kind, metadata, spec"),
        ("", "is neither a code nor a kind"),
        ("ZZZ9999", "neither a code nor a kind; run `reconciler explain` without argument"),
    ],
)
def test_what_is_unknown_is_answered_with_what_looks_like_it(
    topic: str, hint: str, tmp_path: Path
) -> None:
    done = reconciler("explain", topic, cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert hint in done.stderr


def test_json_of_a_kind_is_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(explained("Host", "-o", "json", capsys=capsys)) == SCHEMAS["Host"]


def test_json_of_a_code_has_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(explained("GRD1001", "-o", "json", capsys=capsys))
    assert made["title"] == GUARDS["GRD1001"].title
    assert "--force" in made["remedy"]


def test_json_of_everything_lists_codes_and_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(explained("-o", "json", capsys=capsys))
    assert set(made["codes"]) == {*CODES, *GUARDS}
    assert set(made["kinds"]) == set(SCHEMAS)
