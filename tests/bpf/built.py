"""BPF objects for tests alone, of their own sources or of the project's, altered."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "bpf"
FLAGS = ("-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3")


def built(name: str, folder: Path) -> Path:
    """Compile NAME.bpf.c of this folder into `folder`."""
    target = folder / f"{name}.bpf.o"
    include = f"-I/usr/include/{platform.machine()}-linux-gnu"
    source = HERE / f"{name}.bpf.c"
    subprocess.run(["clang", *FLAGS, include, "-c", source, "-o", target], check=True)
    return target


def altered(folder: Path, name: str, *texts: tuple[str, str]) -> Path:
    """The folder of the project's objects, compiled with texts of one source replaced."""
    copy = folder / "bpf"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("build", "deps"))
    text = (copy / name).read_text()
    for old, new in texts:
        assert text.count(old) == 1, f"{name} has no longer {old!r}, which is to be replaced"
        text = text.replace(old, new)
    (copy / name).write_text(text)
    subprocess.run(["make", "-s", "-C", copy], check=True, capture_output=True)
    return copy / "build"
