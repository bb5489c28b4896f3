"""What a commit costs a real agent that runs, until its row is live; what the agent remembers.

A host has its share of the endpoints, a hundred, whatever the size of the cluster, and is bouncer
and divider of others; it knows every host.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from tests.bench.figures import QUICK, Report, exponent
from tests.bench.generate import Size
from tests.bench.resident import Change, Resident, resident

SIZES = (1_000, 10_000) if QUICK else (1_000, 10_000, 100_000, 1_000_000)
CHANGES, ADDED = 9, 3
ENDPOINTS_A_HOST = 100
pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


def size_of(endpoints: int) -> Size:
    return Size(endpoints, hosts=max(20, endpoints // ENDPOINTS_A_HOST))


def changes(agent: Resident) -> tuple[list[Change], list[Change]]:
    """Endpoints of the host that get another label, then some that come."""
    agent.wait(agent.head())
    own = agent.own()
    changed, added = [], []
    for number in own[: CHANGES + 1]:
        time.sleep(0.3)  # the pause after a round is no part of the next
        changed.append(agent.change(number, "changed"))
    for slot in range(252, 252 + ADDED):
        time.sleep(0.5)
        added.append(agent.add(own[0], slot))
    return changed[1:], added


def test_commit_to_its_live_row(report: Report, tmp_path: Path) -> None:
    with resident(tmp_path / "none", Size(0, hosts=20)) as agent:
        agent.wait(agent.head())
        bare = agent.memory()
    lives: dict[int, dict[str, float]] = {}
    spent: dict[str, dict[int, float]] = {"changed": {}, "added": {}}
    for count in SIZES:
        with resident(tmp_path / str(count), size_of(count)) as agent:
            found = changes(agent)
            memory = agent.memory()
        lives[count] = {}
        for what, each in zip(("changed", "added"), found, strict=True):
            lives[count][what] = statistics.median(one.live for one in each)
            spent[what][count] = statistics.median(one.cpu for one in each)
            report.add(
                f"4 ref moved to live row, one endpoint {what} of {count:,}",
                lives[count][what] * 1000, "ms",
                reference=lives[SIZES[0]][what] * 1000, at_most=2,
                note=f"{spent[what][count] * 1000:.1f} ms of processor time",
            )  # fmt: skip
            report.add(
                f"4 the same in processor time, one endpoint {what} of {count:,}",
                spent[what][count] * 1000, "ms",
                reference=spent[what][SIZES[0]] * 1000, at_most=2,
            )  # fmt: skip
        report.add(
            f"7 resident memory of an agent with {count:,} endpoints in the repository",
            (memory - bare) / count, "bytes an endpoint",
            at_most=400 if count >= 100_000 else None, absolute=True,
            note=f"beside {bare / 2**20:.0f} MiB without endpoints",
        )  # fmt: skip
    report.add(
        "14 growth of ref moved to live row, processor time", exponent(spent["changed"]),
        "exponent", at_most=0.15, absolute=True,
    )  # fmt: skip
