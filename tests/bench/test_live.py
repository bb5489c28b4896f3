"""Real traffic between two hosts: ours, the kernel's vxlan, and the least that XDP could do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.figures import ROOT, Report
from tests.bench.live import Bare, Ours, Vxlan, standing
from tests.bench.traffic import ROUNDS, TRIPS, best, packet_rate, round_trip, throughput

BARE_MARGIN = 1.15
NOTE = f"best of {ROUNDS} interleaved rounds; offloads off"


@pytest.fixture(scope="module")
def traffic() -> Path:
    """The compiled traffic.c."""
    target = ROOT / "build" / "traffic"
    target.parent.mkdir(exist_ok=True)
    source = Path(__file__).with_name("traffic.c")
    subprocess.run(["clang", "-O2", "-Wall", "-Werror", "-o", target, source], check=True)
    return target


def test_pairs_stand(bare: Path) -> None:
    """Benchmarks are no part of the tests, but what they begin with is: both ends of each pair."""
    pairs = [Ours(), Ours({1: "tc", 2: "tc"}), Vxlan(), Bare(bare)]
    with standing(*pairs):
        for each in pairs:
            each.ping()


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_two_hosts(report: Report, traffic: Path, bare: Path) -> None:
    ours, tc = Ours(), Ours({1: "tc", 2: "tc"})
    tc.name = "tc"
    pairs = [ours, Vxlan(), Bare(bare), tc]
    with standing(*pairs):
        before = ours.reasons(1)
        trips = best(round_trip, pairs, min, traffic)
        after = ours.reasons(1)
        assert after["sent_direct"] - before["sent_direct"] >= ROUNDS * TRIPS
        rates = best(packet_rate, pairs, max, traffic)
        speeds = best(throughput, pairs[:3], max)  # tc has segments: see test_segments.py
    for name, unit, figures, goal in (
        ("round trip", "µs", trips, {"at_most": 0.85}),
        ("packets per second of one core", "/s", rates, {"at_least": 1.5}),
        ("wire-sized TCP", "Gbit/s", speeds, {"at_least": 1.1}),
    ):
        near = {"at_most": BARE_MARGIN} if figures is trips else {"at_least": 1 / BARE_MARGIN}
        mine = figures["ours"]
        report.add(
            f"{name}, against vxlan", mine, unit, reference=figures["vxlan"], note=NOTE, **goal
        )
        if "tc" in figures:
            title = f"{name}, tc at both ends, against vxlan"
            report.add(title, figures["tc"], unit, reference=figures["vxlan"], note=NOTE, **goal)
        report.add(
            f"{name}, against bare XDP", mine, unit, reference=figures["bare"], note=NOTE, **near
        )
