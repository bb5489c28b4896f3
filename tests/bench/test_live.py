"""Real traffic between two hosts: ours, the kernel's vxlan, and the least that XDP could do.

Cores are pinned: the sender's, with the forwarding, and the receiver's; both ends of a round trip
share one, since waking another core costs more than the way. Congestion control is cubic, and
rounds are interleaved. A figure is the best of its rounds, for everybody:
what else the machine does only takes away.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.figures import QUICK, ROOT, Report
from tests.bench.live import Bare, Ours, Pair, Vxlan, standing

ROUNDS = 3 if QUICK else 7
TRIPS, PACKETS, SIZE, BYTES = 4000, 100_000, 32, "96M"
PORT = 5201
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


def within(pair: Pair, side: int, core: int, *words: object) -> list[str]:
    """A command in an endpoint's namespace, on one core, before whoever else waits for it."""
    enter = ["nsenter", f"--net={pair.endpoints[side]}", "taskset", "-c", str(core)]
    enter += ["nice", "-n", "-15"]
    return [*enter, *map(str, words)]


def against(
    pair: Pair, server: list[object], client: list[object], ready: str, core: int = 1
) -> tuple[str, str]:
    """What a server at side 2, on `core`, and a client at side 1 print, once both have ended."""
    command = within(pair, 2, core, *server)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            while ready not in (said := serving.stdout.readline()):
                assert said, f"{command} ended"
            done = subprocess.run(
                within(pair, 1, 0, *client), capture_output=True, text=True, check=True, timeout=60
            )
            return serving.communicate(timeout=30)[0], done.stdout
        finally:
            serving.kill()


def round_trip(pair: Pair, traffic: Path) -> float:
    """Microseconds of a small UDP packet and its answer; see traffic.c."""
    address = pair.addresses[2]
    client = [traffic, "trips", address, PORT, TRIPS]
    _, said = against(pair, [traffic, "echo", address, PORT], client, "ready", core=0)
    return float(said.split()[0])


def packet_rate(pair: Pair, traffic: Path) -> float:
    """Small UDP packets that arrive, by second of the sender's core; see traffic.c."""
    address = pair.addresses[2]
    client = [traffic, "flood", address, PORT, PACKETS, SIZE]
    arrived, seconds = against(pair, [traffic, "sink", address, PORT], client, "ready")
    return int(arrived.split()[0]) / float(seconds)


def throughput(pair: Pair) -> float:
    """Gbit/s of one TCP connection's payload."""
    server = ["iperf3", "-s", "-1", "-p", PORT, "--forceflush"]
    client = ["iperf3", "-c", pair.addresses[2], "-p", PORT, "-n", BYTES, "-C", "cubic", "-J"]
    _, said = against(pair, server, client, "Server listening")
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e9


def rounds(
    measure: Callable[..., float], pairs: list[Pair], *more: Any
) -> Iterator[dict[str, float]]:
    """One figure of each pair a round; the order turns, so that nobody is always the first."""
    for turn in range(ROUNDS):
        order = pairs[turn % len(pairs) :] + pairs[: turn % len(pairs)]
        yield {each.name: measure(each, *more) for each in order}


def best(
    measure: Callable[..., float], pairs: list[Pair], choose: Callable[..., float], *more: Any
) -> dict[str, float]:
    """The best figure of each pair."""
    taken = list(rounds(measure, pairs, *more))
    print([{name: round(value, 2) for name, value in each.items()} for each in taken])
    return {name: choose(each[name] for each in taken) for name in taken[0]}


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_two_hosts(report: Report, traffic: Path, bare: Path) -> None:
    ours = Ours()
    pairs = [ours, Vxlan(), Bare(bare)]
    with standing(*pairs):
        before = ours.reasons(1)
        trips = best(round_trip, pairs, min, traffic)
        after = ours.reasons(1)
        assert after["sent_direct"] - before["sent_direct"] >= ROUNDS * TRIPS
        rates = best(packet_rate, pairs, max, traffic)
        speeds = best(throughput, pairs, max)
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
        report.add(
            f"{name}, against bare XDP", mine, unit, reference=figures["bare"], note=NOTE, **near
        )


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_segmentation_offloads(report: Report) -> None:
    """A veth whose peer runs XDP natively is given no large segments, so ours are wire-sized."""
    pairs = [Ours(), Vxlan(offloaded=True)]
    with standing(*pairs):
        speeds = best(throughput, pairs, max)
    report.add(
        "TCP, wire-sized against vxlan with segmentation offloads",
        speeds["ours"],
        "Gbit/s",
        reference=speeds["vxlan"],
        note=f"best of {ROUNDS} interleaved rounds; tc programs were not tried",
    )
