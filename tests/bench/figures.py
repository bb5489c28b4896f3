"""Figures: what a benchmark measured, beside what it is measured against in the same run.

`Report.write` makes build/bench.json and BENCHMARKS.md; nothing here asserts a time.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUICK = bool(os.environ.get("QUICK"))


def machine() -> str:
    """Cores, memory, kernel: what a figure depends on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{os.cpu_count()} cores, {pages / 2**30:.0f} GiB, kernel {platform.release()}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: `value` and `reference` in `unit`; `goal` bounds their `ratio` from above, or from
    below when it starts with '>='; `met` is None where there is no goal."""

    name: str
    value: float
    unit: str
    reference: float | None
    ratio: float | None
    goal: str
    met: bool | None
    note: str
    date: str
    machine: str


@dataclass(slots=True)
class Report:
    """The figures of one run."""

    rows: list[Figure] = field(default_factory=list)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        reference: float | None = None,
        at_most: float | None = None,
        at_least: float | None = None,
        absolute: bool = False,
        note: str = "",
    ) -> Figure:
        """Record a figure; the goal bounds its ratio to `reference`, or itself if `absolute`."""
        ratio = value / reference if reference else None
        judged = value if absolute else ratio
        goal, met = "", None
        if judged is not None and at_most is not None:
            goal, met = f"<= {at_most:g}", judged <= at_most
        elif judged is not None and at_least is not None:
            goal, met = f">= {at_least:g}", judged >= at_least
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        row = Figure(name, value, unit, reference, ratio, goal, met, note, today, machine())
        self.rows.append(row)
        print(line(row))
        return row

    def write(self) -> None:
        """Replace the two files."""
        target = ROOT / "build" / "bench.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps([asdict(row) for row in self.rows], indent=1) + "\n")
        (ROOT / "BENCHMARKS.md").write_text(markdown(self.rows))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _verdict(row: Figure) -> str:
    return {True: "yes", False: "NO", None: ""}[row.met]


def line(row: Figure) -> str:
    """One line for a terminal."""
    ratio = f"{row.ratio:.2f} x" if row.ratio is not None else ""
    beside = f"(reference {_number(row.reference)})" if row.reference is not None else ""
    return (
        f"{row.name}: {_number(row.value)} {row.unit} {beside} {ratio} {row.goal} {_verdict(row)}"
    )


def markdown(rows: list[Figure]) -> str:
    """BENCHMARKS.md: ratios first."""
    head = [
        "# Benchmarks",
        "",
        f"Written by `make bench{' QUICK=1' if QUICK else ''}` on "
        f"{rows[0].date if rows else '-'}, {machine()}.",
        "Every figure stands beside its reference of the same run; a ratio is figure / reference.",
        "",
        "| figure | ratio | goal | met | value | reference | unit | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    body = [
        f"| {r.name} | {_number(r.ratio)} | {r.goal} | {_verdict(r)} | {_number(r.value)} "
        f"| {_number(r.reference)} | {r.unit} | {r.note} |"
        for r in rows
    ]
    return "\n".join([*head, *body]) + "\n"


def paired(
    subject: Callable[[], object], reference: Callable[[], float], runs: int
) -> tuple[float, float]:
    """Median seconds of each, interleaved; `reference` returns its own time."""
    subjects, references = [], []
    for _ in range(runs):
        references.append(reference())
        begin = time.perf_counter()
        subject()
        subjects.append(time.perf_counter() - begin)
    return statistics.median(subjects), statistics.median(references)


def exponent(seconds: dict[int, float]) -> float:
    """The slope of log(seconds) over log(endpoints), by least squares."""
    xs, ys = [math.log(each) for each in seconds], [math.log(each) for each in seconds.values()]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - mean_x) ** 2 for x in xs)
