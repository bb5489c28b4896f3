"""What a commit costs: one endpoint changed, all hosts compared, a cold start, memory, growth."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.compile.host import compile_all
from reconciler.compile.overview import Overview
from reconciler.compile.update import touched, update
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import Step, follow
from reconciler.plan.diff import diff
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas
from tests.bench import generate
from tests.bench.figures import QUICK, ROOT, Report, exponent
from tests.bench.generate import Size
from tests.bench.resident import changed_file

SIZES = (1_000, 10_000) if QUICK else (1_000, 10_000, 100_000, 1_000_000)
COLD = 10_000 if QUICK else 100_000
HOST = "h7"
CHANGES = 5
pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


def middle_of(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class Cluster:
    """A repository of a size, followed from commit to commit; `states` are those of all hosts."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.size = size
        self.git = generate.repository(folder, size)
        self.source = Repository.open(GitSource(str(folder)))
        self.validators = compile_schemas(schemas())
        self.snapshot = self.source.survey(self.source.resolve())
        self.step: Step = follow(self.snapshot, self.validators)
        assert self.step.topology is not None, self.step.problems[:3]
        begin = time.perf_counter()
        self.states = compile_all(self.step.topology)
        self.full = time.perf_counter() - begin
        self.base = Overview.of(self.step.topology)

    def commit(self, number: int, label: str) -> None:
        generate.commit(self.git, changed_file(self.size, number, label), f"change e{number}")

    def read(self) -> None:
        """From the moved ref to what changed."""
        before = self.snapshot
        self.snapshot = self.source.survey(self.source.resolve(), before)
        self.step = follow(self.snapshot, self.validators, self.step.memory)
        assert self.step.delta is not None

    def compile(self) -> int:
        """Every host that the change reaches; how many rows and interfaces differ on all hosts."""
        delta = self.step.delta
        assert delta is not None
        old, new = self.base.among(delta.old), self.base.among(delta.new)
        count = 0
        for number in touched(old, new):
            name = next(n for n in self.states if n == delta.new.hosts[number].name)
            state = update(self.states[name], old, new, number)
            count += diff(state, self.states[name]).counts.total
            self.states[name] = state
        return count


def test_one_endpoint_of_many(report: Report, tmp_path: Path) -> None:
    changes, fulls = {}, {}
    for count in SIZES:
        cluster = Cluster(tmp_path / str(count), Size(count))
        reads, compiles = [], []
        for number in range(CHANGES):
            cluster.commit(count // 2 + number, "changed")
            reads.append(timed(cluster.read))
            compiles.append(timed(cluster.compile))
        changes[count] = middle_of(reads) + middle_of(compiles)
        fulls[count] = cluster.full
        report.add(
            f"4 ref moved to states of all hosts, one of {count:,} endpoints changed",
            changes[count] * 1000, "ms", reference=changes[SIZES[0]] * 1000, at_most=2,
            note=f"of it reading {middle_of(reads) * 1000:.1f}",
        )  # fmt: skip
        report.add(
            f"5 diff of all hosts, one of {count:,} endpoints changed",
            middle_of(compiles) * 1000, "ms", reference=cluster.full * 1000,
            at_most=0.01 if count == 1_000_000 else None,
        )  # fmt: skip
        del cluster
    for name, seconds, goal in (("compile", fulls, 1.05), ("one change", changes, 0.15)):
        report.add(f"14 growth of {name}", exponent(seconds), "exponent",
                   at_most=goal, absolute=True)  # fmt: skip


LIBYAML = """
import sys, time, pygit2, yaml
repository = pygit2.Repository(sys.argv[1])
def blobs(tree):
    for entry in tree:
        if entry.type_str == "tree":
            yield from blobs(entry)
        else:
            yield entry.data
data = list(blobs(repository.head.peel(pygit2.Tree)))
begin = time.perf_counter()
for each in data:
    for document in yaml.load_all(each, yaml.CSafeLoader):
        pass
print(time.perf_counter() - begin)
"""
COLD_START = """
import sys, time
begin = time.perf_counter()
from reconciler.compile.host import compile_host
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import follow
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas
source = Repository.open(GitSource(sys.argv[1]))
kept = None
if len(sys.argv) > 3:
    from pathlib import Path
    from reconciler.agent.blobs import BlobCache
    kept = BlobCache(Path(sys.argv[3]))
step = follow(source.survey(source.resolve()), compile_schemas(schemas()), None, kept)
compile_host(step.topology, sys.argv[2])
print(time.perf_counter() - begin)
"""
RESIDENT = """
import gc, sys
from reconciler.compile.host import compile_host
from reconciler.compile.overview import Overview
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import follow
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas
def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * 4096
source = Repository.open(GitSource(sys.argv[1]))
validators = compile_schemas(schemas())
if sys.argv[3] == "all":
    snapshot = source.survey(source.resolve())
    step = follow(snapshot, validators)
    state = compile_host(step.topology, sys.argv[2])
    base = Overview.of(step.topology)
    memory = step.memory
    del step
print(resident())
"""


def run_alone(program: str, *arguments: object) -> float:
    """The number that a program of its own prints, on one core."""
    command = ["taskset", "-c", "0", sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout)


def test_cold_start(report: Report, tmp_path: Path) -> None:
    generate.repository(tmp_path / "git", Size(COLD))
    loader = run_alone(LIBYAML, tmp_path / "git")
    cold = run_alone(COLD_START, tmp_path / "git", HOST)
    report.add(
        f"6 cold start of {COLD:,} endpoints to one host's tables, no cache",
        cold, "s", reference=loader, at_most=2, note="libyaml's C loader parses the same files",
    )  # fmt: skip
    run_alone(COLD_START, tmp_path / "git", HOST, tmp_path / "cache")
    report.add(
        f"6 cold start of {COLD:,} endpoints to one host's tables, with the blob cache",
        run_alone(COLD_START, tmp_path / "git", HOST, tmp_path / "cache"), "s",
        reference=cold, at_most=0.1,
    )  # fmt: skip


def test_resident_memory(report: Report, tmp_path: Path) -> None:
    generate.repository(tmp_path / "git", Size(COLD))
    bare = run_alone(RESIDENT, tmp_path / "git", HOST, "nothing")
    full = run_alone(RESIDENT, tmp_path / "git", HOST, "all")
    report.add(
        f"7 resident memory with {COLD:,} endpoints", (full - bare) / COLD, "bytes an endpoint",
        at_most=400, absolute=True, note=f"beside {bare / 2**20:.0f} MiB of the imports",
    )  # fmt: skip
