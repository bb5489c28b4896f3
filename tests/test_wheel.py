"""The wheel alone: validate, compile and diff in a plain environment of every Python found here.

As an unprivileged user, without bcc, pyroute2 and clang, outside of the work tree.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.timeout(300)  # packages are downloaded
NOBODY = 65534
# For an interpreter in somebody's home: to read there, and nothing more.
READING = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def find_python(version: str) -> Path | None:
    """An interpreter of this version: Debian's, one on the path, or one of pyenv's."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path(sys.executable)
    pyenv = Path.home() / ".pyenv" / "versions"
    candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python3")]
    for candidate in filter(None, candidates):
        check = [candidate, "-c", "import pip, venv"]
        if subprocess.run(check, capture_output=True, check=False).returncode == 0:
            return Path(candidate)
    return None


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that holds the wheel, and how to be nobody in it."""

    folder: Path
    privileges: Sequence[str]

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment with nothing else on the path."""
        nobody = f"--reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs".split()
        program = self.folder / "bin" / command[0]
        return subprocess.run(
            ["/usr/bin/setpriv", *nobody, *self.privileges, program, *command[1:]],
            cwd=cwd,
            env={"PATH": str(self.folder / "bin"), "HOME": str(cwd), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that nobody can read, which pytest's own is not."""
    with TemporaryDirectory(prefix="reconciler-wheel-") as name:
        os.chmod(name, 0o755)  # noqa: PTH101  (a name, not yet a path)
        yield Path(name)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "-qq", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", folder, ROOT], check=True)
    (found,) = folder.glob("reconciler-*.whl")
    return found


@pytest.fixture(scope="module")
def constraints(folder: Path) -> Path:
    """The versions of the runtime lock; without hashes, or pip would want one of the wheel."""
    lock = (ROOT / "requirements" / "runtime.txt").read_text().splitlines()
    path = folder / "constraints.txt"
    path.write_text("\n".join(line.split()[0] for line in lock if line[:1].isalpha()))
    return path


@pytest.fixture(scope="module", params=PYTHONS)
def environment(
    request: pytest.FixtureRequest, folder: Path, wheel: Path, constraints: Path
) -> Environment:
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"not on this machine: Python {request.param}")
    target = folder / f"python{request.param}"
    subprocess.run([python, "-m", "venv", "--without-pip", target], check=True)
    pip = [python, "-m", "pip", "--python", target, "--disable-pip-version-check", "-qq"]
    subprocess.run([*pip, "install", "--no-compile", "-c", constraints, wheel], check=True)
    # By all processors, and without what nothing imports.
    compileall = [target / "bin" / "python", "-m", "compileall", "-q", "-j", "0"]
    unused = r"/tests/|/numpy/(f2py|typing)/|/pygments/"
    subprocess.run([*compileall, "-x", unused, target / "lib"], check=True)
    return Environment(target, READING if python.is_relative_to(Path.home()) else ())


@pytest.fixture(scope="module")
def repository(folder: Path) -> Path:
    """sample-repo as nobody's own: one commit, one that moves an endpoint, one with a mistake."""
    path = folder / "repository"
    shutil.copytree(ROOT / "sample-repo", path)
    endpoints = path / "bakery" / "endpoints.yaml"

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        subprocess.run(["git", "-C", path, *identity, *arguments], check=True)

    def replace(old: str, new: str) -> None:
        text = endpoints.read_text()
        assert old in text
        endpoints.write_text(text.replace(old, new))

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "sample")
    replace("host: edge-2, addresses: [10.1.0.12]", "host: edge-3, addresses: [10.1.0.12]")
    git("commit", "-q", "-a", "-m", "move till-2")
    git("switch", "-q", "-c", "mistaken")
    replace("network: counter", "network: kounter")
    git("commit", "-q", "-a", "-m", "misspell")
    git("switch", "-q", "main")
    for each in [path, *path.rglob("*")]:
        os.chown(each, NOBODY, NOBODY)
    return path


def test_the_wheel_carries_schemas_programs_and_generated_abi(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    schemas = {f"reconciler/data/schemas/{path.name}" for path in ROOT.glob("schemas/*.json")}
    programs = {f"reconciler/data/bpf/{path.stem}.o" for path in ROOT.glob("bpf/*.bpf.c")}
    assert schemas
    assert programs
    assert names >= schemas | programs
    assert names >= {
        "reconciler/abi/generated.py",
        "reconciler/agent/config.schema.json",
        "reconciler/data/systemd/reconciler.service",
        "reconciler/py.typed",
    }
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"reconciler"}


def test_the_environment_has_neither_bcc_nor_pyroute2_nor_clang(
    environment: Environment, folder: Path
) -> None:
    check = (
        "import importlib.util, os, shutil\n"
        "assert os.geteuid() != 0\n"
        "assert not importlib.util.find_spec('bcc')\n"
        "assert not importlib.util.find_spec('pyroute2')\n"
        "assert not shutil.which('clang')\n"
    )
    result = environment.run("python", "-c", check, cwd=folder)
    assert result.returncode == 0, result.stderr


def test_validate_finds_nothing_wrong_with_sample_repo(
    environment: Environment, repository: Path
) -> None:
    result = environment.run("reconciler", "validate", cwd=repository)
    assert result.returncode == 0, result.stderr


def test_validate_reports_a_mistake_at_its_place(
    environment: Environment, repository: Path
) -> None:
    result = environment.run("reconciler", "validate", "--rev", "mistaken", cwd=repository)
    assert result.returncode == 1
    assert "bakery/endpoints.yaml:4:" in result.stdout + result.stderr


def test_compile_prints_what_it_prints_in_the_work_tree(
    environment: Environment, repository: Path
) -> None:
    command = ("reconciler", "compile", "--host", "edge-3")
    result = environment.run(*command, cwd=repository)
    assert result.returncode == 0, result.stderr
    work_tree = Environment(Path(sys.prefix), READING).run(*command, cwd=repository)
    assert json.loads(result.stdout)
    assert result.stdout == work_tree.stdout


def test_diff_names_what_a_commit_moves(environment: Environment, repository: Path) -> None:
    command = ("reconciler", "diff", "HEAD~1..HEAD")
    result = environment.run(*command, "--detailed-exitcode", cwd=repository)
    assert result.returncode == 2, result.stderr
    assert "bakery/till-2" in result.stdout
    for form in ("json", "markdown"):
        assert "till-2" in environment.run(*command, "-o", form, cwd=repository).stdout


@pytest.mark.parametrize("verb", ["agent", "show"])
def test_a_verb_that_works_on_a_host_says_what_is_missing(
    environment: Environment, repository: Path, verb: str
) -> None:
    result = environment.run("reconciler", verb, "--host", "edge-1", cwd=repository)
    assert result.returncode == 1
    assert result.stderr.startswith("error: "), result.stderr
    assert "python3-bpfcc" in result.stderr
