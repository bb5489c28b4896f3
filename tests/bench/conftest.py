"""One report for all benchmarks of a run, and the C reference compiled once."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.figures import ROOT, Report


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """The figures; written when the run ends, also when a benchmark failed."""
    figures = Report()
    yield figures
    figures.write()


@pytest.fixture(scope="session")
def reference() -> Path:
    """The compiled tests/bench/reference.c."""
    target = ROOT / "build" / "reference"
    target.parent.mkdir(exist_ok=True)
    source = Path(__file__).with_name("reference.c")
    subprocess.run(["clang", "-O2", "-Wall", "-o", target, source, "-lbpf"], check=True)
    return target


@pytest.fixture(scope="session")
def bare() -> Path:
    """The compiled bare.bpf.c."""
    target = ROOT / "build" / "bare.bpf.o"
    target.parent.mkdir(exist_ok=True)
    include = f"-I/usr/include/{platform.machine()}-linux-gnu"
    command = ["clang", "-O2", "-g", "-Wall", "-target", "bpf", "-mcpu=v3", include, "-c"]
    source = Path(__file__).with_name("bare.bpf.c")
    subprocess.run([*command, source, "-o", target], check=True)
    return target
