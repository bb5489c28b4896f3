"""Hosts that die and return under traffic: real agents and packets, cables pulled at the switch."""

from __future__ import annotations

import os
import platform
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.datapath import libbpf
from tests.datapath.place import command, entered
from tests.netns.conftest import Cloud, endpoint, host, temporary_lab, tenant

SOURCE = Path(__file__).with_name("lossy.bpf.c")
GENERIC = 2  # XDP_FLAGS_SKB_MODE
FLOWS = 12
EVERY = 0.02  # seconds between two packets of a flow
PORT = 7000
PATIENCE = 20.0  # seconds; only a failure waits so long
AVOIDED = 1.0  # second: what is promised

FILES = {
    "hosts.yaml": "---".join(
        [
            host("alpha", "192.168.1.1", "a", False),
            host("bravo", "192.168.2.1", "b", False),
            host("charlie", "192.168.1.3", "a", False),
            host("relay-a", "192.168.1.2", "a", True),
            host("relay-b", "192.168.2.2", "b", True),
        ]
    ),
    "red.yaml": "---".join([tenant("red", 1001), endpoint("red", "l1", "left", 11, "alpha")]),
    "there.yaml": endpoint("red", "l2", "left", 12, "bravo"),
    # So many that a host may lose one without asking.
    "more.yaml": "---".join(endpoint("red", f"o{n}", "other", n, "bravo") for n in range(11, 17)),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two relays, each of them bouncer and divider; everything can do without the one."""
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("liveness"), FILES)


@dataclass
class Stream:
    """UDP of many flows one way, so that no direct path is learned: each packet asks a bouncer."""

    cloud: Cloud
    source: str
    target: str
    flows: int = FLOWS
    lost: list[float] = field(default_factory=list)  # when they were sent
    late: float = 0.0  # how much longer than asked this machine slept at worst

    def __enter__(self) -> Stream:
        target = self.cloud.member(self.target)
        with entered(self.cloud.member(self.source).netns):
            self._from = [
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(self.flows)
            ]
        with entered(target.netns):
            self._to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to.bind(("", PORT))
        self._to.setblocking(False)
        self._where = (str(target.address(4)), PORT)
        self._sent: list[float] = []
        return self

    def __exit__(self, *_: object) -> None:
        for each in (*self._from, self._to):
            each.close()

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Send for so long, or until something holds, and note what was lost."""
        arrived: set[int] = set()
        begin = len(self._sent)
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end and not (until and until()):
            for each in self._from:
                each.sendto(struct.pack("<Q", len(self._sent)), self._where)
                self._sent.append(time.monotonic())
            time.sleep(EVERY)
            self.late = max(self.late, time.monotonic() - now - EVERY)
            arrived |= self._arrived()
        time.sleep(0.3)
        arrived |= self._arrived()
        self.lost += [self._sent[n] for n in range(begin, len(self._sent)) if n not in arrived]

    def _arrived(self) -> set[int]:
        found = set()
        while True:
            try:
                found.add(struct.unpack("<Q", self._to.recv(64))[0])
            except BlockingIOError:
                return found

    @property
    def sent(self) -> int:
        """Packets until now."""
        return len(self._sent)

    def outage(self, since: float) -> float:
        """Seconds from `since` until the last packet that was lost was sent."""
        return max((each - since for each in self.lost), default=0.0)


def at_the_switch(cloud: Cloud, *words: object) -> None:
    command("nsenter", f"--net={cloud.lab.places.router}", "--", *words)


@contextmanager
def unplugged(cloud: Cloud, name: str) -> Iterator[float]:
    """The host's cable, pulled at the switch; when."""
    at_the_switch(cloud, "ip", "link", "set", f"h.{name}", "down")
    try:
        yield time.monotonic()
    finally:
        at_the_switch(cloud, "ip", "link", "set", f"h.{name}", "up")


@contextmanager
def unreachable(cloud: Cloud, name: str) -> Iterator[float]:
    """The switch forwards nothing from or to the host, whose link stays up; since when."""
    port = ("bridge", "link", "set", "dev", f"h.{name}", "state")
    at_the_switch(cloud, *port, "disabled")  # of spanning tree
    try:
        yield time.monotonic()
    finally:
        at_the_switch(cloud, *port, "forwarding")


@contextmanager
def frozen(cloud: Cloud, name: str) -> Iterator[float]:
    """Every process in the host's namespace, stopped."""
    space = cloud.member(name).netns.stat().st_ino
    pids = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    inside = [pid for pid in pids if _namespace(pid) == space]
    assert inside
    for pid in inside:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield time.monotonic()
    finally:
        for pid in inside:
            os.kill(pid, signal.SIGCONT)


def _namespace(pid: int) -> int:
    with suppress(OSError):
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    return 0


def reachable(cloud: Cloud, of: str = "alpha") -> tuple[str, str]:
    """Condition HostsReachable of a host: status and message."""
    found = cloud.status(of)["conditions"]
    return next((e["status"], e["message"]) for e in found if e["type"] == "HostsReachable")


def verdicts(cloud: Cloud, of: str = "alpha") -> dict[str, int]:
    """How often a host's agent found another dead, or alive again."""
    return dict(cloud.status(of)["hosts"]["verdicts"])


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def settled(cloud: Cloud) -> None:
    """Every agent has heard everybody."""
    for each in ("alpha", "bravo", "relay-a", "relay-b"):
        eventually(lambda host=each: reachable(cloud, host)[0] == "True")


@pytest.mark.parametrize("gone", [unplugged, unreachable])
@pytest.mark.parametrize("target", ["red.l2", "red.o11"], ids=["bouncer", "bouncer and divider"])
def test_a_relay_that_dies_is_avoided_within_a_second_and_used_again_when_it_returns(
    pair: Cloud, gone: Callable[..., object], target: str
) -> None:
    settled(pair)
    with Stream(pair, "red.l1", target) as stream:
        stream.run(0.5)
        assert not stream.lost
        before = pair.reasons("relay-a")["bounced"]
        with gone(pair, "relay-a") as died:
            stream.run(3)
            assert stream.lost, "some flows went by it"
            print(f"lost for {stream.outage(died):.2f} s; late by {stream.late:.3f} s at worst")
            assert stream.outage(died) <= AVOIDED + stream.late
            status, message = reachable(pair)
            assert status == "False"
            assert message.endswith("do not answer: relay-a")
        stream.lost.clear()
        eventually(lambda: reachable(pair)[0] == "True")
        stream.run(1)
        assert not stream.lost
        assert pair.reasons("relay-a")["bounced"] > before


def test_a_host_whose_processes_are_frozen_goes_on_forwarding(pair: Cloud) -> None:
    settled(pair)
    before = verdicts(pair)
    with Stream(pair, "red.l1", "red.l2") as stream, frozen(pair, "relay-a"):
        stream.run(3)
    assert not stream.lost
    assert verdicts(pair) == before
    assert reachable(pair)[0] == "True"


@contextmanager
def lossy(cloud: Cloud, folder: Path, hosts: list[str]) -> Iterator[None]:
    """Every port of the switch loses a fifth of the probes and answers that come in."""
    built, include = folder / "lossy.bpf.o", f"-I/usr/include/{platform.machine()}-linux-gnu"
    command("clang", "-O2", "-g", "-target", "bpf", include, "-c", SOURCE, "-o", built)
    with ExitStack() as stack:
        opened = stack.enter_context(libbpf.Object.open(built))
        opened.load()
        program = stack.enter_context(opened.program_fd("lossy"))
        with entered(cloud.lab.places.router):
            for name in hosts:
                index = socket.if_nametoindex(f"h.{name}")
                stack.enter_context(libbpf.create_xdp_link(program, index, GENERIC))
        yield


def test_a_fifth_of_the_probes_and_of_the_answers_lost_makes_nobody_dead(
    pair: Cloud, tmp_path: Path
) -> None:
    settled(pair)
    hosts = [each.name for each in pair.came.directory.hosts]
    before = {each: verdicts(pair, each) for each in hosts}
    asked = sum(pair.status(each)["hosts"]["probes"] for each in hosts)
    heard = sum(pair.reasons(each)["probe_heard"] for each in hosts)
    with lossy(pair, tmp_path, hosts), Stream(pair, "red.l1", "red.l2") as stream:
        stream.run(10)
    assert not stream.lost
    asked = sum(pair.status(each)["hosts"]["probes"] for each in hosts) - asked
    heard = sum(pair.reasons(each)["probe_heard"] for each in hosts) - heard
    print(f"{asked} probes, {heard} answers")
    assert heard < 0.8 * asked, "as many were lost as was meant"
    assert {each: verdicts(pair, each) for each in hosts} == before
    assert reachable(pair)[0] == "True"


def test_a_direct_path_to_a_dead_host_is_left_when_its_endpoint_comes_up_elsewhere(
    pair: Cloud,
) -> None:
    """The last test: the endpoint stays where it went."""
    settled(pair)
    assert pair.ping("red.l2", "red.l1", count=2) == 2  # so that alpha learns the path to bravo
    before = pair.reasons("alpha")["sent_direct"]
    with Stream(pair, "red.l1", "red.l2") as stream:
        stream.run(0.5)
        assert not stream.lost
        assert pair.reasons("alpha")["sent_direct"] - before >= FLOWS
        with unplugged(pair, "bravo"):
            pair.push({"there.yaml": endpoint("red", "l2", "left", 12, "charlie")})
            eventually(lambda: reachable(pair)[1].endswith("do not answer: bravo"))
            stream.run(1)
            assert not stream.lost, "although the path would be used for half a minute more"
