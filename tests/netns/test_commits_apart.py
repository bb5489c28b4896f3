"""Hosts held on different commits, real agents and packets: what is true in every state between.

Every agent is stopped on a commit, the next is pushed, and agents go on one after another; then the
same back to the commit before. An order and the way back in the same order show each pair of hosts
both ways apart. tests/bpf/test_journeys.py has every combination of tables and learned paths.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.datapath.netlink import netns_exists
from reconciler.lab import processes
from reconciler.lab.echo import Stream
from tests.datapath.place import entered
from tests.netns.conftest import Cloud, endpoint, host, temporary_lab, tenant

FLOWS = 8
PORT = 7000
PATIENCE = 20.0  # seconds; only a failure waits so long
HOPS = 9  # bpf/README.md, "Return to sender"
FORWARDED = ("bounced", "divided", "relayed_divider", "returned", "sent_direct", "sent_bouncer")

ALL = ("alpha", "bravo", "charlie", "relay-a", "relay-b", "split")
After = frozenset[str]  # the hosts that do what the later of the two commits says


def hosts(bounces: Sequence[str], divides: str = "split") -> str:
    """alpha sends, bravo and charlie have endpoints, some of the hosts bounce, one divides."""
    made = []
    for number, (name, zone) in enumerate(zip(ALL, "aababb", strict=True), start=1):
        text = host(name, f"192.168.{'ab'.index(zone) + 1}.{number}", zone, name in bounces)
        made.append(
            text.replace(f"divide: {name in bounces}".lower(), f"divide: {name == divides}".lower())
        )
    return "---".join(made)


def placed(name: str, number: int, on: str) -> str:
    """An endpoint in a namespace of that host, so that it can be on two hosts at once."""
    attach = f"  attach: {{veth: {{netns: red.{name}.{on}}}}}\n"
    return endpoint("red", name, "left", number, on) + attach


def fresh() -> str:
    """A third network, with an endpoint."""
    network = """
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {name: fresh, namespace: red}
spec:
  vpc: red
  cidrs: [10.0.3.0/24]
  bouncers: {count: 2}
"""
    member = endpoint("red", "f1", "other", 11, "bravo").replace("network: other", "network: fresh")
    member = member.replace('[10.0.2.11, "2001:db8:2::11"]', "[10.0.3.11]")
    return f"{network}---{member}"


FILES = {
    "hosts.yaml": hosts(("relay-a", "relay-b")),
    "red.yaml": "---".join(
        [
            tenant("red", 1001),
            endpoint("red", "l1", "left", 11, "alpha"),
            endpoint("red", "l2", "left", 12, "bravo"),
            endpoint("red", "o1", "other", 11, "charlie"),
        ]
    ),
    "moving.yaml": placed("asked", 21, "bravo") + "---" + placed("heard", 22, "bravo"),
    "gone.yaml": placed("gone", 23, "bravo"),
    "led.yaml": placed("led", 24, "bravo") + "---" + placed("mute", 25, "bravo"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """Two commits, whose state matters most, and what a state between them promises.

    `promise` gives the endpoint's places that may answer, and whether every packet has to arrive.
    """

    before: Mapping[str, str | None]
    after: Mapping[str, str | None]
    concerned: tuple[str, ...]
    targets: tuple[tuple[str, bool], ...]  # address of an endpoint; whether it answers
    promise: Callable[[After], tuple[set[str], bool]]


def move(after: After) -> tuple[set[str], bool]:
    """Delivered as long as a host has it: bouncers know its old host as well as its new one, and
    the old one knows the new one."""
    there = {
        n for n, has in (("bravo", "bravo" not in after), ("charlie", "charlie" in after)) if has
    }
    return there, bool(there)


def new_network(after: After) -> tuple[set[str], bool]:
    """Delivered once the divider and one bouncer know it, or both bouncers."""
    knowing = len({"relay-a", "relay-b"} & after) + ("split" in after)
    there = {"bravo"} & after
    return there, bool(there) and knowing >= 2


def new_role(_: After) -> tuple[set[str], bool]:
    """Always: whoever had the role keeps what it knew, and is asked as long as others may be."""
    return {"bravo", "charlie"}, True


def deletion(after: After) -> tuple[set[str], bool]:
    """Delivered while it is there: bouncers keep their rows."""
    there = {"bravo"} - after
    return there, bool(there)


CASES = {
    "move": Case(
        {"moving.yaml": FILES["moving.yaml"]},
        {"moving.yaml": placed("asked", 21, "charlie") + "---" + placed("heard", 22, "charlie")},
        ("bravo", "charlie", "relay-a", "relay-b"),
        (("10.0.1.21", True), ("10.0.1.22", False)),
        move,
    ),
    "move that bouncers know first": Case(
        {"led.yaml": FILES["led.yaml"]},
        {"led.yaml": placed("led", 24, "charlie") + "---" + placed("mute", 25, "charlie")},
        ("relay-a", "relay-b", "bravo", "charlie"),
        (("10.0.1.24", True), ("10.0.1.25", False)),
        move,
    ),
    "new network": Case(
        {"fresh.yaml": None},
        {"fresh.yaml": fresh()},
        ("relay-a", "bravo", "split", "relay-b"),
        (("10.0.3.11", False),),
        new_network,
    ),
    "bouncer": Case(
        {"hosts.yaml": FILES["hosts.yaml"]},
        {"hosts.yaml": hosts(("relay-a", "charlie"))},
        ("relay-b", "split", "alpha", "charlie"),
        (("10.0.1.12", False),),
        new_role,
    ),
    "deletion": Case(
        {"gone.yaml": FILES["gone.yaml"]},
        {"gone.yaml": None},
        ("relay-a", "bravo", "relay-b"),
        (("10.0.1.23", False),),
        deletion,
    ),
}
ONLY = {
    "bouncer": Case(
        {"hosts.yaml": hosts(("relay-a",))},
        {"hosts.yaml": hosts(("relay-b",))},
        ("alpha", "relay-a", "relay-b", "split"),
        (("10.0.1.12", False), ("10.0.2.11", False)),
        new_role,
    ),
    "divider": Case(
        {"hosts.yaml": hosts(("relay-a",))},
        {"hosts.yaml": hosts(("relay-a",), "relay-b")},
        ("relay-a", "split", "relay-b"),
        (("10.0.1.12", False), ("10.0.2.11", False)),
        new_role,
    ),
    "bouncer and divider": Case(
        {"hosts.yaml": hosts(("relay-a",))},
        {"hosts.yaml": hosts(("relay-b",), "relay-b")},
        ("alpha", "relay-a", "split", "relay-b"),
        (("10.0.1.12", False), ("10.0.2.11", False)),
        new_role,
    ),
}
PLACES = {
    "10.0.1.12": {"bravo": "red.l2"},
    "10.0.1.21": {each: f"red.asked.{each}" for each in ("bravo", "charlie")},
    "10.0.1.22": {each: f"red.heard.{each}" for each in ("bravo", "charlie")},
    "10.0.1.23": {"bravo": "red.gone.bravo"},
    "10.0.1.24": {each: f"red.led.{each}" for each in ("bravo", "charlie")},
    "10.0.1.25": {each: f"red.mute.{each}" for each in ("bravo", "charlie")},
    "10.0.2.11": {"charlie": "red.o1"},
    "10.0.3.11": {"bravo": "red.f1"},
}


@dataclass
class Probe:
    """Datagrams of FLOWS flows from red.l1; who does not answer teaches no direct path."""

    folder: Path
    sent: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)
    _listeners: dict[tuple[str, str], socket.socket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._from = [self._socket("red.l1", 0) for _ in range(FLOWS)]

    def close(self) -> None:
        """A namespace lives as long as a socket in it."""
        self._stack.close()

    def burst(self, address: str, answering: bool = False, patience: float = 1.0) -> Counter[str]:
        """One datagram of each flow: how many each place got. Waits only if some are missing."""
        places = self._places(address)
        begin = self.sent
        for each in self._from:
            each.sendto(struct.pack("<Q", self.sent), (address, PORT))
            self.sent += 1
        got: Counter[str] = Counter()
        seen: set[int] = set()
        end = time.monotonic() + patience
        late = False
        while len(seen) < FLOWS and not late:
            late = time.monotonic() > end  # one look more, however long this machine slept
            for place, listener in places.items():
                for data, source in _arrived(listener):
                    (number,) = struct.unpack("<Q", data)
                    if number < begin:
                        continue
                    assert number not in seen, "a datagram came twice"
                    seen.add(number)
                    got[place] += 1
                    if answering:
                        listener.sendto(data, source)
            time.sleep(0.002)
        return got

    def _places(self, address: str) -> dict[str, socket.socket]:
        for place, name in PLACES[address].items():
            if (address, place) not in self._listeners and netns_exists(self.folder / name):
                self._listeners[address, place] = self._socket(name, PORT)
        known = ((place, self._listeners.get((address, place))) for place in PLACES[address])
        return {place: found for place, found in known if found}

    def _socket(self, name: str, port: int) -> socket.socket:
        with entered(self.folder / name):
            made = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.bind(("", port))
        made.setblocking(False)
        return made


def _arrived(listener: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    with suppress(BlockingIOError):
        while True:
            yield listener.recvfrom(64)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Six hosts; every test ends with the commit that it began with."""
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("apart"), FILES)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The same, where one host bounces and one divides."""
    with temporary_lab() as lab:
        files = {**FILES, "hosts.yaml": hosts(("relay-a",))}
        yield Cloud.of(lab, tmp_path_factory.mktemp("single"), files)


@pytest.fixture
def probe(cloud: Cloud) -> Iterator[Probe]:
    made = Probe(cloud.lab.places.netns)
    yield made
    made.close()


@contextmanager
def held(cloud: Cloud) -> Iterator[dict[str, int]]:
    """Every agent stopped, by host; whoever is still in it goes on at the end."""
    pids = {}
    for name in ALL:
        pid = processes.alive(cloud.lab.places.host_run(name) / "agent.pid")
        assert pid, name
        pids[name] = pid
    try:
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        yield pids
    finally:
        for pid in pids.values():
            os.kill(pid, signal.SIGCONT)


def push(cloud: Cloud, files: Mapping[str, str | None]) -> str:
    for name, text in files.items():
        path = cloud.workspace.folder / name
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)
    return cloud.workspace.push(f"change {', '.join(files)}").commit


def released(cloud: Cloud, probe: Probe, name: str, pid: int, commit: str) -> None:
    """Let a host go on to the commit; nothing of others is lost meanwhile."""
    os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + PATIENCE
    while not (view := cloud.lab.agents.view(name)).converged(commit):
        assert time.monotonic() < end, view.trouble()
        assert not view.stuck(commit), view.trouble()
        for address in ("10.0.1.12", "10.0.2.11"):
            assert probe.burst(address).total() == FLOWS, (name, address)


def judge(case: Case, probe: Probe, after: After) -> int:
    """Whether a state keeps its promise; how many packets stale paths cost."""
    there, whole = case.promise(after)
    lost = 0
    for address, answering in case.targets:
        first = probe.burst(address, answering, 1.0 if whole else 0.25)
        assert set(first) <= there, (address, sorted(after))
        if whole and first.total() < FLOWS:
            assert answering, (address, sorted(after), first)
            lost += FLOWS - first.total()
            second = probe.burst(address, answering, 1.0)
            assert second.total() == FLOWS, (address, sorted(after), "lost once at the most")
    return lost


def counted(cloud: Cloud) -> Counter[str]:
    """Verdicts of all hosts together."""
    total: Counter[str] = Counter()
    for name in ALL:
        total.update(cloud.reasons(name))
    return total


def apart(cloud: Cloud, probe: Probe, case: Case, order: Sequence[str]) -> Counter[str]:
    """There and back in that order: verdicts of it, with "lost" to stale paths."""
    before, lost = counted(cloud), 0
    for there, files in ((True, case.after), (False, case.before)):
        with held(cloud) as stopped:
            commit = push(cloud, files)
            for number, name in enumerate(order):
                done = frozenset(order[:number])
                after = done if there else frozenset(ALL) - done
                lost += judge(case, probe, after)
                released(cloud, probe, name, stopped[name], commit)
            lost += judge(case, probe, frozenset(ALL if there else ()))
    made = counted(cloud)
    made.subtract(before)
    made["lost"] = lost
    return made


def orders(concerned: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every order of those that are concerned; the others come before."""
    others = tuple(each for each in ALL if each not in concerned)
    for each in itertools.permutations(concerned):
        yield others + each


def observe(cloud: Cloud, probe: Probe, case: Case, order: Sequence[str]) -> Counter[str]:
    """The same beside pings both ways between endpoints of both commits."""
    member, sent = cloud.member, probe.sent
    pairs = [("red.l1", "red.l2", 4), ("red.o1", "red.l1", 6), ("red.l2", "red.o1", 4)]
    with ExitStack() as stack:
        pings = [
            stack.enter_context(Stream(member(one).netns, member(other).address(version), 0.02))
            for one, other, version in pairs
        ]
        made = apart(cloud, probe, case, order)
    samples = [sample for ping in pings for sample in ping.samples]
    assert len(samples) > 100
    assert not [each for each in samples if each.answered is None], "nobody of these changed"
    packets = probe.sent - sent + 2 * len(samples)
    hops = sum(made[each] for each in FORWARDED)
    print(f"{packets} packets, {hops} hops, {made['returned']} returned,", end=" ")
    print(f"{made['drop_returned_twice']} twice, {made['lost']} lost to stale paths")
    assert hops <= HOPS * packets
    assert made["returned"] <= packets
    assert made["drop_ttl"] == 0
    return made


@pytest.mark.parametrize("name", CASES)
def test_hosts_on_different_commits_keep_what_is_promised(
    cloud: Cloud, probe: Probe, name: str
) -> None:
    case = CASES[name]
    others = tuple(each for each in ALL if each not in case.concerned)
    made = observe(cloud, probe, case, case.concerned + others)
    if name in ("new network", "move that bouncers know first"):
        assert made["returned"] > 0, "some host was asked for what it could not serve"


@pytest.mark.parametrize("name", ONLY)
def test_a_role_of_one_host_alone_changes_host_and_nothing_is_lost(
    single: Cloud, name: str
) -> None:
    """There, and back while what is kept of the way there still is."""
    case = ONLY[name]
    others = tuple(each for each in ALL if each not in case.concerned)
    probe = Probe(single.lab.places.netns)
    try:
        made = observe(single, probe, case, case.concerned + others)
    finally:
        probe.close()
    assert made["lost"] == 0
    assert made["drop_returned_twice"] == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CASES)
def test_the_same_in_every_order(cloud: Cloud, probe: Probe, name: str) -> None:
    for order in orders(CASES[name].concerned):
        print(*order, end=": ")
        observe(cloud, probe, CASES[name], order)
