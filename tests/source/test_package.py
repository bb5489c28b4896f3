"""What ships with the code is found, in the checkout as here and in the wheel."""

import json
from pathlib import Path

import pytest

from reconciler.source import package


def test_schemas_come_by_kind_and_complete() -> None:
    schemas = package.schemas()
    assert {"Host", "VPC", "Network", "Endpoint", "Namespace"} <= set(schemas)
    assert all(schema["title"] == kind for kind, schema in schemas.items())
    assert "$ref" not in json.dumps(schemas)


def test_what_stands_beside_a_reference_wins() -> None:
    vpc = package.schemas()["VPC"]["properties"]["spec"]["properties"]
    assert vpc["dividers"]["description"].startswith("The hosts that know")
    assert vpc["dividers"]["properties"]["count"]["default"] == 2


def test_compiled_objects_are_named_after_their_program() -> None:
    assert package.object_path("transit").name == "transit.bpf.o"
    assert package.object_path("access").parent == package.object_path("transit").parent


def test_the_data_of_a_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "PACKAGE", tmp_path / "reconciler")
    assert package.object_path("access") == tmp_path / "bpf" / "build" / "access.bpf.o"
    (tmp_path / "reconciler" / "data" / "bpf").mkdir(parents=True)
    assert package.object_path("access").is_relative_to(tmp_path / "reconciler" / "data")
