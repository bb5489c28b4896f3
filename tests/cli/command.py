"""The command, in a process of its own or in this one, and repositories for it to read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from reconciler.cli import run

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(sys.executable).parent / "reconciler"


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def messages(self) -> list[str]:
        """Lines of standard error, but for the progress that a slow machine shows."""
        return [line for line in self.stderr.splitlines() if not line.endswith(" ...")]


def process(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """The real command in a process of its own."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def reconciler(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """The same in this process, which has imported everything already."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        with redirect_stdout(out), redirect_stderr(err):
            code = run(arguments)
    return Done(code, out.getvalue(), err.getvalue())


class Repo:
    """A git repository with a work tree, written with git itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    @classmethod
    def sample(cls, path: Path) -> Repo:
        """sample-repo with one commit."""
        shutil.copytree(ROOT / "sample-repo", path)
        made = cls(path)
        made.commit("sample")
        return made

    def git(self, *arguments: str) -> str:
        """One git command."""
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        command = ["git", "-C", str(self.path), *identity, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        """One file of the work tree."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a text that must be there."""
        before = (self.path / name).read_text()
        assert old in before
        self.write(name, before.replace(old, new))

    def commit(self, message: str = "change") -> str:
        """Everything in the work tree; its id."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")
