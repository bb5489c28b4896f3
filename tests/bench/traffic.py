"""Traffic from one endpoint of a pair to the other, and the best of interleaved rounds.

Cores are pinned: the sender's, with the forwarding, and the receiver's; both ends of a round trip
share one, since waking another core costs more than the way. Congestion control is cubic. A figure
is the best of its rounds, for everybody: what else the machine does only takes away.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench.figures import QUICK
from tests.bench.live import Pair

ROUNDS = 5 if QUICK else 15
TRIPS, PACKETS, SIZE = 2000, 50_000, 32
PORT = 5201


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


def throughput(pair: Pair, size: str = "96M") -> float:
    """Gbit/s of one TCP connection's payload, of which `size` is sent."""
    server = ["iperf3", "-s", "-1", "-p", PORT, "--forceflush"]
    client = ["iperf3", "-c", pair.addresses[2], "-p", PORT, "-n", size, "-C", "cubic", "-J"]
    _, said = against(pair, server, client, "Server listening")
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e9


def rounds(
    measure: Callable[..., float], pairs: Sequence[Pair], *more: Any
) -> Iterator[dict[str, float]]:
    """One figure of each pair a round; the order turns, so that nobody is always the first."""
    for turn in range(ROUNDS):
        order = [*pairs[turn % len(pairs) :], *pairs[: turn % len(pairs)]]
        yield {each.name: measure(each, *more) for each in order}


def best(
    measure: Callable[..., float], pairs: Sequence[Pair], choose: Callable[..., float], *more: Any
) -> dict[str, float]:
    """The best figure of each pair."""
    taken = list(rounds(measure, pairs, *more))
    print([{name: round(value, 2) for name, value in each.items()} for each in taken])
    return {name: choose(each[name] for each in taken) for name in taken[0]}
