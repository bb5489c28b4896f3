"""The wheel alone: validate, compile and diff in a plain environment of every Python found here.

As an unprivileged user, without bcc, pyroute2 and clang, outside of the work tree.
"""

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
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def find_python(version: str) -> Path | None:
    """An interpreter of this version: Debian's, one on the path, or one of pyenv's."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path("/usr/bin/python3")
    pyenv = Path.home() / ".pyenv" / "versions"
    candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python3")]
    for candidate in filter(None, candidates):
        check = [candidate, "-c", "import ensurepip, venv"]
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
    subprocess.run([python, "-m", "venv", target], check=True)
    pip = [target / "bin" / "python", "-m", "pip", "-qq", "install", "-c", constraints]
    subprocess.run([*pip, wheel], check=True)
    # An interpreter in somebody's home: nobody may read there, and nothing more.
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return Environment(target, reading if python.is_relative_to(Path.home()) else [])


@pytest.fixture(scope="module")
def repository(folder: Path) -> Path:
    """sample-repo as nobody's own repository of two commits: the second moves an endpoint."""
    path = folder / "repository"
    shutil.copytree(ROOT / "sample-repo", path)
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", path, *identity, *arguments], check=True)

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "sample")
    for each in [path, *path.rglob("*")]:
        os.chown(each, NOBODY, NOBODY)
    return path


def test_the_wheel_carries_schemas_programs_and_generated_abi(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    schemas = {f"reconciler/data/schemas/{path.name}" for path in ROOT.glob("schemas/*.json")}
    programs = {f"reconciler/data/bpf/{path.stem}.o" for path in ROOT.glob("bpf/*.bpf.c")}
    assert schemas
    assert programs
    assert names >= schemas | programs | {"reconciler/abi/generated.py", "reconciler/py.typed"}
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
