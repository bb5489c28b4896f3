"""What runs is what the lock files say: they fit pyproject.toml, and the environment fits them."""

import sys
import tomllib
from importlib import metadata
from pathlib import Path

import bcc
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
LOCKS = ("runtime", "build", "dev")


def locked(name: str) -> dict[str, str]:
    """Version by canonical name, of one lock file."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    pins = [line.split()[0] for line in text.splitlines() if "==" in line and line[0] not in " #"]
    return {canonicalize_name(key): version for key, version in (pin.split("==") for pin in pins)}


def wanted(name: str) -> list[Requirement]:
    """The requirements that a lock file is made from."""
    if name == "runtime":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lines = [*project["dependencies"], *project["optional-dependencies"]["host"]]
    else:
        lines = (ROOT / "requirements" / f"{name}.in").read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_holds_every_wanted_package_in_a_wanted_version(name: str) -> None:
    pins = locked(name)
    for requirement in wanted(name):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked; run `make lock`"
        assert version in requirement.specifier, f"{requirement} is locked as {version}"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_names_no_index_and_hashes_every_package(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    for block in text.split("\n    # via")[:-1]:
        assert "--hash=sha256:" in block


def test_the_locks_agree_with_each_other() -> None:
    seen: dict[str, str] = {}
    for name in LOCKS:
        for package, version in locked(name).items():
            assert seen.setdefault(package, version) == version, package


def test_the_environment_holds_what_is_locked_and_nothing_else() -> None:
    own = {"reconciler", "pip", "setuptools"}  # the last two come with every environment of 3.11
    installed = {
        canonicalize_name(each.metadata["Name"]): each.version
        for each in metadata.distributions(path=[path for path in sys.path if sys.prefix in path])
    }
    wanted = {key: version for name in LOCKS for key, version in locked(name).items()}
    assert {key: value for key, value in installed.items() if key not in own} == wanted


def test_bcc_is_debians_and_resolves_libbpf() -> None:
    link = Path(bcc.__file__).parent
    assert link.is_symlink()
    assert link.resolve() == Path("/usr/lib/python3/dist-packages/bcc")
    assert bcc.libbcc.lib.bpf_map_update_batch


def test_yaml_is_parsed_by_the_parser_in_c() -> None:
    assert "CParser" in YAML(typ="safe").Parser.__name__
