"""Live frames (BPF_F_TEST_XDP_LIVE_FRAMES) through both programs and two veths, on one core.

Frames enter `access` as if an endpoint had sent them, cross the veth between two hosts into
`transit`, and end in the far endpoint's interface. Beside it the same interfaces, made once more,
with programs that only redirect.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyroute2 import IPRoute
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from reconciler.datapath import elements, libbpf
from reconciler.datapath.libbpf import Fd
from reconciler.datapath.pins import Pinned
from tests.bench.figures import QUICK, Report
from tests.bench.live import (
    DRIVER,
    UPLINK,
    Bare,
    Ours,
    Pair,
    bare_program,
    standing,
)
from tests.datapath.place import entered

FRAMES, ROUNDS = 200_000, 5 if QUICK else 15
DELIVERED = 0.95  # of the frames, at least, for a round to count: what is lost costs less


class Redirects(Bare):
    """Frames go on as they are, from uplink to endpoint."""

    def build(self) -> None:
        self.wire()
        for side in (1, 2):
            self.attach(f"h{side}", UPLINK, "forward", self.index(f"h{side}", "ep0"))
            self.attach(f"h{side}", "ep0", "forward", self.index(f"h{side}", UPLINK))


class Lane:
    """Where frames enter at side 1, and where they end at side 2."""

    def __init__(self, pair: Pair, program: Fd, interface: str, bare: Path) -> None:
        self.pair, self.program = pair, program
        self.host = pair.endpoints[1].with_name(pair.place.name("h1"))
        self.index = pair.index("h1", interface)
        self.frame = self._frame()
        self._end, self._count = bare_program(bare, "end", 0, macs=self.frame[:12])
        with entered(pair.endpoints[2]):
            self._link = libbpf.create_xdp_link(self._end, pair.index("e2", "eth0"), DRIVER)

    def _frame(self) -> bytes:
        with entered(self.pair.endpoints[1]), IPRoute() as route:
            found = route.link("get", index=route.link_lookup(ifname="eth0")[0])[0]
        ip = IP(src=self.pair.addresses[1], dst=self.pair.addresses[2])
        ether = Ether(src=found.get("address"), dst="02:00:5e:00:00:01")
        return bytes(ether / ip / UDP(sport=50000, dport=5000) / bytes(32))

    def ended(self) -> int:
        """Frames that came to the end, so far."""
        raw = elements.lookup(self._count, bytes(4), 8 * libbpf.possible_cpus())
        assert raw is not None
        return sum(int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8))

    def run(self) -> float:
        """Frames by second of the core, which walks all of the way in this thread's name."""
        before = self.ended()
        with entered(self.host):
            begin = time.thread_time()
            libbpf.test_run(self.program, self.frame, ifindex=self.index, repeat=FRAMES, live=True)
            taken = time.thread_time() - begin
        time.sleep(0.02)
        arrived = self.ended() - before
        assert arrived >= DELIVERED * FRAMES, f"{arrived:,} of {FRAMES:,} frames arrived"
        return arrived / taken

    def close(self) -> None:
        """Let go of what is attached."""
        for each in (self._link, self._end, self._count, self.program):
            each.close()


@contextmanager
def one_core() -> Iterator[None]:
    """On the first core, before whoever else waits for it."""
    cores, nice = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_setaffinity(0, {min(cores)})
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        os.sched_setaffinity(0, cores)


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_live_frames(report: Report, bare: Path) -> None:
    ours, redirects = Ours(), Redirects(bare)
    with standing(ours, redirects):
        access = ours.places[1].pins.get(Pinned.PROGRAM, "access")
        assert access is not None
        with entered(ours.hosts[1].netns):
            found = ours.hosts[1].datapath.read().interfaces
        forward, _ = bare_program(bare, "forward", redirects.index("h1", UPLINK))
        lanes = [
            Lane(ours, access, found[0].name, bare),
            Lane(redirects, forward, "ep0", bare),
        ]
        try:
            before = ours.reasons(1)["sent_direct"]
            with one_core():
                taken = [[lane.run() for lane in lanes] for _ in range(ROUNDS)]
            assert ours.reasons(1)["sent_direct"] - before == len(taken) * FRAMES
        finally:
            for lane in lanes:
                lane.close()
    mine, reference = (max(each) for each in zip(*taken, strict=True))
    print([[round(each) for each in pair] for pair in taken])
    report.add(
        "live frames of one core, access and transit",
        mine,
        "/s",
        reference=reference,
        at_least=0.6,
        note=f"best of {ROUNDS} interleaved rounds of {FRAMES:,}; reference: two bare redirects",
    )
