"""The real command in a process of its own, and repositories for it to read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(sys.executable).parent / "reconciler"


def reconciler(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it; the caller looks at the exit code."""
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


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
