"""What a commit costs: one endpoint changed, all hosts compared, a cold start, memory, growth."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.compile.bind import bind
from reconciler.compile.host import compile_all, compile_host
from reconciler.compile.overview import Overview
from reconciler.compile.state import HostName, HostState
from reconciler.compile.update import touched, update
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import Step, follow
from reconciler.plan import render
from reconciler.plan.diff import diff
from reconciler.plan.plan import make_plan
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas
from tests.bench import generate
from tests.bench.cold import fill, made_up
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
    """Seconds of the processor: all of this is one thread's work."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


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
        begin = time.process_time()
        self.states = compile_all(self.step.topology)
        self.full = time.process_time() - begin
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
            name = HostName(delta.new.hosts[number].name)
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
    for name, seconds, goal in (("all hosts' compile", fulls, 1.05), ("one change", changes, 0.15)):
        report.add(f"14 growth of {name}", exponent(seconds), "exponent",
                   at_most=goal, absolute=True)  # fmt: skip


def run_alone(verb: str, *arguments: object) -> float:
    """The number that a program of its own prints, on one core."""
    command = ["taskset", "-c", "0", sys.executable, "-m", "tests.bench.cold", verb]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def test_cold_start(report: Report, tmp_path: Path) -> None:
    git = tmp_path / "git"
    generate.repository(git, Size(COLD))
    loader = run_alone("loader", git)
    cold = run_alone("start", git, HOST)
    run_alone("start", git, HOST, tmp_path / "cache")
    cached = run_alone("start", git, HOST, tmp_path / "cache")
    what = f"6 cold start of {COLD:,} endpoints to one host's tables"
    report.add(f"{what}, no cache", cold, "s", reference=loader, at_most=2,
               note="libyaml's C loader parses the same files")  # fmt: skip
    report.add(f"{what}, with the blob cache, against none", cached, "s", reference=cold,
               at_most=0.1)  # fmt: skip
    report.add(f"{what}, with the blob cache", cached, "s", reference=loader, at_most=0.1,
               note="libyaml's C loader parses the same files")  # fmt: skip


def test_growth(report: Report, tmp_path: Path) -> None:
    """Of what is not a change: a whole compile, diff and apply of everything, memory, plan files.

    On one host of a hundred, which has its share of the endpoints and bounces for others.
    """
    grown: dict[str, dict[int, float]] = {}
    bare = run_alone("memory", "")
    for count in SIZES:
        git = tmp_path / str(count)
        generate.repository(git, Size(count, hosts=100))
        for what, value in measured(git).items():
            grown.setdefault(what, {})[count] = value
        memory = run_alone("memory", git, HOST) - bare
        report.add(
            f"7 resident memory with {count:,} endpoints in the repository", memory / count,
            "bytes an endpoint", at_most=400 if count >= 100_000 else None, absolute=True,
            note=f"beside {bare / 2**20:.0f} MiB of the imports",
        )  # fmt: skip
        grown.setdefault("memory", {})[count] = memory
        shutil.rmtree(git)
    for what, values in grown.items():
        report.add(f"14 growth of {what}", exponent(values), "exponent", at_most=1.05,
                   absolute=True, note=f"{values[SIZES[0]]:.3g} to {values[SIZES[-1]]:.3g}"
                   )  # fmt: skip


def measured(git: Path) -> dict[str, float]:
    """Seconds of the processor, and bytes."""
    source = Repository.open(GitSource(str(git)))
    step = follow(source.survey(source.resolve()), compile_schemas(schemas()))
    assert step.topology is not None
    found: dict[str, float] = {}
    begin = time.process_time()
    state = compile_host(step.topology, HostName(HOST))
    found["compile"] = time.process_time() - begin
    bound = bind(state, made_up(state)).state
    begin = time.process_time()
    plan = make_plan(bound, HostState.empty(bound.host))
    found["diff"] = time.process_time() - begin
    begin = time.process_time()
    fill(bound)
    found["apply"] = time.process_time() - begin
    found["plan file"] = len(json.dumps(render.as_json(plan)))
    return found
