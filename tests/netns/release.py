"""Another release of this project: a copy of its sources with other layouts, compiled."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from reconciler.agent import client
from reconciler.lab import processes
from reconciler.lab.lab import Lab

ROOT = Path(__file__).parent.parent.parent
COPIED = ("reconciler", "bpf", "schemas")


class Release:
    """A folder with a release in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def copied(cls, folder: Path) -> "Release":
        """The same sources and programs, to be changed."""
        ignored = shutil.ignore_patterns("deps", "__pycache__", "data")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)
        return cls(folder)

    def change(self, name: str, pattern: str, text: str) -> None:
        """Replace what a regular expression finds once in a file."""
        path = self.folder / name
        changed, found = re.subn(pattern, text, path.read_text(), flags=re.S)
        assert found == 1, f"{name}: {pattern} is there {found} times"
        path.write_text(changed)

    def widen(self, structure: str, columns: str) -> None:
        """Add columns of 8 bytes in all to a structure of abi.h."""
        self.change("bpf/abi.h", rf"(\nstruct {structure} {{\n.*?)(\n}})", rf"\1\n\t{columns}\2")
        sized = rf"sizeof\(struct {structure}\) == (\d+)"
        path = self.folder / "bpf/abi.h"
        path.write_text(
            re.sub(sized, lambda found: found[0].replace(found[1], str(int(found[1]) + 8)),
                   path.read_text())
        )  # fmt: skip

    def compile(self) -> None:
        """Programs and generated layouts of the changed sources."""
        self._run("make", "-s", "-B", "-C", "bpf")
        objects = sorted(str(each) for each in (self.folder / "bpf/build").glob("*.bpf.o"))
        self._run(sys.executable, "-P", "bpf/genabi.py", *objects)

    def environment(self) -> Mapping[str, str]:
        """For Python to run this release's modules."""
        return {**os.environ, "PYTHONPATH": str(self.folder)}

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, lab: Lab, host: str, **settings: object) -> None:
        """Replace a host's agent by this release's, with more in its configuration."""
        run = lab.places.host_run(host)
        config, pid_file = run / "agent.yaml", run / "agent.pid"
        lab.agents.stop([host])
        told = {**json.loads(config.read_text()), **settings}
        config.write_text(json.dumps(told, indent=1))
        (run / client.SOCKET).unlink(missing_ok=True)
        python = ["env", f"PYTHONPATH={self.folder}", sys.executable, "-P"]
        command = [*python, "-m", "reconciler", "agent", "--config", str(config)]
        processes.start(command, lab.places.host_netns(host), pid_file, run / "agent.log")

    def run(self, lab: Lab, host: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A verb of this release on a host."""
        config = ("--config", str(lab.places.host_run(host) / "agent.yaml"))
        return subprocess.run(
            ["nsenter", f"--net={lab.places.host_netns(host)}", "--",
             sys.executable, "-P", "-m", "reconciler", *words, *config],
            env=self.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
