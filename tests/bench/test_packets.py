"""Nanoseconds per packet of both programs, by role, against programs that do next to nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from pyroute2 import IPRoute
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import MAPS, Reason, Stage
from reconciler.compile.check import fill_check
from reconciler.datapath import elements, libbpf, tables
from tests.bench.figures import QUICK, Report
from tests.bench.live import DRIVER
from tests.bpf.frames import BLUE, DB, ME, MY_MAC, PEER_MAC, WEB, B, C, D, tunnel
from tests.bpf.harness import INTERFACE, OBJECTS, ROUTER, SELF, Bench, World
from tests.datapath.place import Place, entered

INCLUDE = f"/usr/include/{platform.machine()}-linux-gnu"
SOURCE = Path(__file__).with_name("restore.bpf.c")
REPEAT = 32_768  # every flow eight times a run
RUNS, PASSES = (30, 1) if QUICK else (70, 3)
FLOWS = (1, 4096)
HEADER, PLACES = 160, 8  # of a frame: bytes that are restored, words in which flows differ
ENDPOINTS, NETWORKS = 10_000, 1_000  # in the maps, besides those of the flows
SPREAD = 1.3  # goal: of 4,096 flows against one


@dataclass(frozen=True, slots=True)
class Taken:
    """Nanoseconds of a run, by frame: of a program, of giving it the frame, and of programs that
    pass everything and that send every frame back."""

    program: int
    floor: int
    passing: int
    swap: int

    def least(self, other: Taken) -> Taken:
        """Of both, each at its best: what else the machine does only adds."""
        return Taken(*map(min, astuple(self), astuple(other)))

    @property
    def net(self) -> int:
        """Nanoseconds of the program alone."""
        return self.program - self.floor

    @property
    def whole(self) -> int:
        """Nanoseconds with what the kernel takes for any frame."""
        return self.net + self.passing


class Restorer:
    """Runs a program on frames that are whole again each time.

    Its programs are attached to interfaces that nothing comes through, because the kernel waits at
    each test run for all readers (some 20 ms, in which caches cool) to change its list of programs
    that are called directly, except for one that is in it.
    """

    def __init__(self, folder: Path, flows: int, netns: Path) -> None:
        built = folder / "restore.bpf.o"
        command = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I{INCLUDE}", "-c"]
        subprocess.run([*command, str(SOURCE), "-o", str(built)], check=True)
        with libbpf.Object.open(built) as opened:
            opened.set_initial_value(".rodata", flows.to_bytes(4, "little"))
            opened.load()
            self.program, self.nothing, self.passing, self.swap = (
                opened.program_fd(each) for each in ("restore", "nothing", "pass", "swap")
            )
            self.maps = {name: opened.map_fd(name) for name in ("original", "differences")}
            self.target = opened.map_fd("target")
        self.flows = flows
        with entered(netns), IPRoute() as route:
            self.links = []
            for each in (self.program, self.passing, self.swap):
                name = f"d{len(route.get_links())}"
                route.link("add", ifname=name, kind="veth", peer={"ifname": f"{name}-peer"})
                index = route.link_lookup(ifname=name)[0]
                self.links.append(libbpf.create_xdp_link(each, index, DRIVER))

    def close(self) -> None:
        """Let go of programs and maps."""
        for each in (self.program, self.nothing, self.passing, self.swap, self.target):
            each.close()
        for each in (*self.maps.values(), *self.links):
            each.close()

    def give(self, frames: list[bytes]) -> None:
        """Frames for the flows, of one length, which differ at a few places of two bytes."""
        starts = np.array([np.frombuffer(each[:HEADER], "<u2") for each in frames])
        places = np.flatnonzero((starts != starts[0]).any(axis=0))
        assert len(places) <= PLACES
        assert {len(each) for each in frames} == {len(frames[0])}
        chosen = np.zeros(PLACES, np.uint16)
        chosen[: len(places)] = places
        first = frames[0][:HEADER] + len(frames[0]).to_bytes(4, "little") + (chosen * 2).tobytes()
        elements.update(self.maps["original"], bytes(4), first + bytes(4))
        for index, values in enumerate(starts[:, chosen]):
            elements.update(self.maps["differences"], index.to_bytes(4, "little"), values.tobytes())

    def measure(self, program: libbpf.Fd, frames: list[bytes]) -> Taken:
        """The least of RUNS, in turn, so that the machine's ups and downs are everybody's."""
        self.give(frames)
        return reduce(Taken.least, (self._turn(program, frames[0]) for _ in range(RUNS)))

    def _turn(self, program: libbpf.Fd, frame: bytes) -> Taken:
        through = []
        for target in (program, self.nothing):
            elements.update(self.target, bytes(4), target.fileno().to_bytes(4, "little"))
            through.append(self._run(self.program, frame))
        return Taken(*through, self._run(self.passing, frame), self._run(self.swap, frame))

    @staticmethod
    def _run(program: libbpf.Fd, frame: bytes) -> int:
        return libbpf.test_run(program, frame, repeat=REPEAT)[2]


@pytest.fixture
def netns() -> Iterator[Path]:
    """For interfaces that nothing comes through."""
    place = Place()
    try:
        yield place.netns("idle")
    finally:
        place.clear()


@pytest.fixture
def pinned() -> Iterator[None]:
    """On one processor: what is remembered of flows is each processor's own."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def filled(bench: Bench) -> World:
    """A host whose maps hold what is not asked about: ENDPOINTS in NETWORKS of the same VPC."""
    for name, count in (("endpoints", ENDPOINTS), ("networks", NETWORKS)):
        spec = MAPS[name]
        keys, values = np.zeros(count, spec.key.dtype), np.zeros(count, spec.value.dtype)
        numbers = np.arange(count, dtype=np.uint32)
        address = keys["address"].view(np.uint8).reshape(count, 16)
        address[:, 10:12] = 255
        if name == "endpoints":
            keys["vni"] = BLUE
            address[:, 12:] = (
                (numbers + (10 << 24 | 200 << 16)).astype(">u4").view(np.uint8).reshape(-1, 4)
            )
            values["network"] = numbers % NETWORKS + 100
            values = fill_check(keys, values)
        else:
            keys["prefix_length"], keys["vni"] = 32 + 96 + 24, BLUE
            address[:, 12:] = (
                ((numbers << 8) + (11 << 24)).astype(">u4").view(np.uint8).reshape(-1, 4)
            )
            values["number"] = numbers + 100
        tables.write_rows(bench.maps[name], MAPS[name], keys, values)
    return World(bench)


def peer(flow: int) -> str:
    return f"10.9.{flow >> 8}.{flow & 255}"


def packet(source: str, destination: str, flow: int) -> Packet:
    head = Ether(src=MY_MAC, dst=ROUTER) / IP(src=source, dst=destination)
    return head / UDP(sport=1024 + flow, dport=53) / Raw(bytes(120))


def established(world: World, flow: int) -> bytes:
    world.learn(BLUE, peer(flow), C)
    return bytes(packet(ME, peer(flow), flow))


def to_bouncer(world: World, flow: int) -> bytes:
    return bytes(packet(ME, peer(flow), flow))


def switched(world: World, flow: int) -> bytes:
    world.local(BLUE, peer(flow), PEER_MAC, ifindex=INTERFACE + 1, counter=5)
    return bytes(packet(ME, peer(flow), flow))


def arriving(world: World, flow: int) -> bytes:
    return bytes(tunnel(packet(peer(flow), ME, flow), source=C))


def bounced(world: World, flow: int) -> bytes:
    world.remote(BLUE, peer(flow), C, WEB)
    return bytes(tunnel(packet(ME, peer(flow), flow), Stage.BOUNCER, sender=B))


def divided(world: World, flow: int) -> bytes:
    return bytes(tunnel(packet(ME, peer(flow), flow), Stage.DIVIDER, sender=B))


def not_ours(world: World, flow: int) -> bytes:
    return bytes(Ether() / IP(dst=SELF) / UDP(sport=flow, dport=53) / Raw(bytes(120)))


@dataclass(frozen=True, slots=True)
class Role:
    """One way of a packet; `at_most` is the goal, a multiple of sending it back."""

    program: str
    build: Callable[[World, int], bytes]
    reason: Reason
    at_most: float | None = None


ROLES = {
    "from an endpoint, direct path": Role("access", established, Reason.SENT_DIRECT, 4.5),
    "from an endpoint, to a bouncer": Role("access", to_bouncer, Reason.SENT_BOUNCER),
    "from an endpoint, switched here": Role("access", switched, Reason.DELIVERED, 4.5),
    "from the underlay, delivered": Role("transit", arriving, Reason.DELIVERED, 4.5),
    "bouncer": Role("transit", bounced, Reason.BOUNCED, 3.5),
    "divider": Role("transit", divided, Reason.DIVIDED, 5.0),
    "not ours, passed": Role("transit", not_ours, Reason.PASSED),
}
PASS_THROUGH = 5  # nanoseconds, goal


def prepare(world: World, role: Role, flows: int) -> list[bytes]:
    """Rows of a role, and a frame of each flow."""
    world.clear()
    world.uplink().host(SELF).host(B).host(C).host(D).interface(BLUE, WEB)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    world.bouncers(BLUE, WEB, B, D).bouncers(BLUE, DB, C, D)
    if role.build is divided:
        world.network(BLUE, "10.9.0.0/16", DB)
    return [role.build(world, flow) for flow in range(flows)]


def measured(world: World, role: Role, restorer: Restorer) -> Taken:
    """The cost of a role, every frame of which was counted under its reason."""
    frames = prepare(world, role, restorer.flows)
    before = world.bench.reasons()[role.reason]
    taken = restorer.measure(world.bench.programs[role.program], frames)
    assert world.bench.reasons()[role.reason] - before == REPEAT * RUNS
    return taken


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_nanoseconds_per_packet(report: Report, pinned: None, netns: Path, tmp_path: Path) -> None:
    bench = Bench()
    world = filled(bench)
    alone: dict[str, int] = {}
    for flows in FLOWS:
        restorer = Restorer(tmp_path, flows, netns)
        passes = [
            {name: measured(world, role, restorer) for name, role in ROLES.items()}
            for _ in range(PASSES)
        ]
        for name, role in ROLES.items():
            taken = reduce(Taken.least, (each[name] for each in passes))
            title = f"packet {name}, flows: {flows:,}"
            if role.build is not_ours:
                report.add(title, taken.net, "ns net", at_most=PASS_THROUGH, absolute=True)
                continue
            note = f"{taken.net} ns net; reference: a program that sends the frame back, alone"
            goal = role.at_most
            report.add(title, taken.whole, "ns", reference=taken.swap, at_most=goal, note=note)
            if flows == 1:
                alone[name] = taken.whole
            elif goal:
                title = f"packet {name}, {flows:,} flows against one"
                report.add(title, taken.whole, "ns", reference=alone[name], at_most=SPREAD)
        restorer.close()
    world.clear()
    bench.close()


@dataclass(frozen=True, slots=True)
class Without:
    """A feature, and the change of the source that leaves it out."""

    file: str
    old: str
    new: str


FEATURES = {
    "memory of flows": Without("flow.h", "work->place = place;", "return NULL;"),
    "check of rows": Without("row.h", "if ((__u32)((sum + rest) >> 32) ==", "if (1 ||"),
    "counters of the sender": Without("access.bpf.c", "if (traffic) {", "if (0) {"),
    "path MTU of the underlay": Without("encap.h", "path_mtu(slot, uplink.mtu)", "uplink.mtu"),
    "too big for a neighbour": Without("access.bpf.c", "if (limit &&", "if (0 &&"),
}
SHOWN = ("from an endpoint, direct path", "from an endpoint, switched here", "bouncer")


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_what_each_feature_costs(report: Report, pinned: None, netns: Path, tmp_path: Path) -> None:
    whole = Bench()
    restorer = Restorer(tmp_path, 1, netns)
    for number, (feature, without) in enumerate(FEATURES.items()):
        part = Bench(objects=compiled_without(without, tmp_path / str(number)))
        for name in SHOWN:
            taken = [
                [measured(filled(each), ROLES[name], restorer) for each in (whole, part)]
                for _ in range(PASSES)
            ]
            costs = [reduce(Taken.least, each).net for each in zip(*taken, strict=True)]
            title = f"packet {name}, with against without: {feature}"
            report.add(title, costs[0], "ns net", reference=max(costs[1], 1))
        part.close()
    restorer.close()
    whole.close()


def compiled_without(without: Without, folder: Path) -> Path:
    """The programs less a feature."""
    shutil.copytree(OBJECTS.parent, folder, ignore=shutil.ignore_patterns("build", "deps"))
    text = (folder / without.file).read_text()
    assert text.count(without.old) == 1, f"{without.file} no longer has {without.old!r} once"
    (folder / without.file).write_text(text.replace(without.old, without.new))
    flags = "-O2 -g -Wno-everything -target bpf -mcpu=v3"
    built = ("build/access.bpf.o", "build/transit.bpf.o")
    subprocess.run(["make", "-s", "-C", folder, *built, f"CFLAGS={flags} -I{INCLUDE}"], check=True)
    return folder / "build"
