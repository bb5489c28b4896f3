"""What probing costs the agent of a host with 200 neighbours, the frames and answers included."""

from __future__ import annotations

import platform
import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest

from reconciler.agent.clock import SystemClock
from reconciler.agent.probing import Probing
from reconciler.compile.neighbours import Neighbours
from reconciler.datapath import libbpf
from reconciler.datapath.pins import Pinned
from reconciler.datapath.prober import KernelProber
from tests.bench.figures import QUICK, Report
from tests.bpf.harness import Bench, World
from tests.datapath.place import Place, command, entered

SOURCE = Path(__file__).with_name("alive.bpf.c")
OWN, COUNT = "172.16.0.1", 200
NATIVE = 4  # XDP_FLAGS_DRV_MODE
SECONDS = 5 if QUICK else 20


@pytest.fixture(params=[0, 20, 36], ids=lambda lost: f"lost-{lost}")
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, int]]:
    """A host with its programs, and a cable to all the others, who lose some per cent."""
    place, built = Place(), tmp_path / "alive.bpf.o"
    include = f"-I/usr/include/{platform.machine()}-linux-gnu"
    command("clang", "-O2", "-g", "-target", "bpf", include, "-c", SOURCE, "-o", built)
    bench = Bench(OWN)
    try:
        with entered(place.netns("host")), libbpf.Object.open(built) as opened:
            command("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
            command("ip", "addr", "add", f"{OWN}/16", "dev", "eth0")
            for each in ("eth0", "far0"):
                command("ip", "link", "set", each, "up")
            batch = "".join(
                f"neigh replace 172.16.1.{n} lladdr 02:00:00:00:01:{n:02x} dev eth0\n"
                for n in range(COUNT)
            )
            subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
            place.pins.prepare()
            place.pins.put(Pinned.MAP, "health", bench.maps["health"])
            world = World(bench).host(OWN)
            for n in range(COUNT):
                key = {"address": int(IPv4Address(f"172.16.1.{n}"))}
                world.write("hosts", key, {"slot": n + 1})
            opened.set_initial_value(".rodata", request.param.to_bytes(4, "little"))
            opened.load()
            with (
                opened.program_fd("alive") as alive,
                libbpf.create_xdp_link(alive, socket.if_nametoindex("far0"), NATIVE),
                libbpf.create_xdp_link(
                    bench.programs["transit"], socket.if_nametoindex("eth0"), NATIVE
                ),
            ):
                yield place, request.param
    finally:
        bench.close()
        place.clear()


def neighbours() -> Neighbours:
    slots = np.arange(1, COUNT + 1, dtype=np.uint16)
    addresses = int(IPv4Address("172.16.1.0")) + np.arange(COUNT, dtype=np.uint32)
    names = tuple(f"host-{n}" for n in range(COUNT))
    return Neighbours(IPv4Address(OWN), slots, addresses, names, np.ones(COUNT, np.bool_))


class Timed(Probing):
    """Notes what its thread takes of a processor."""

    spent = 0.0

    def turn(self) -> float:
        wait = super().turn()
        Timed.spent = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
        return wait


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_share_of_a_core_at_200_neighbours(report: Report, wire: tuple[Place, int]) -> None:
    place, lost = wire
    probing = Timed(lambda own: KernelProber(place.pins, own), SystemClock())
    probing.follow(neighbours())
    probing.start()
    time.sleep(2)
    before, begin = Timed.spent, time.monotonic()
    probes = probing.probes
    time.sleep(SECONDS)
    share = (Timed.spent - before) / (time.monotonic() - begin)
    rate = (probing.probes - probes) / (time.monotonic() - begin)
    probing.stop()
    assert dict(probing.reach.verdicts) == {"alive": 0, "dead": 0}
    assert probing.reach.hosts["alive"] == COUNT
    note = f"{rate:,.0f} probes a second; {lost} % lost; the softirqs of both ends included"
    report.add(
        f"probing {COUNT} neighbours, {lost} % lost",
        share * 100, "% of a core", at_most=1.0, absolute=True, note=note,
    )  # fmt: skip
