"""Nanoseconds per packet of both programs, by role, against programs that do next to nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import MAPS, Reason, Stage
from reconciler.compile.check import fill_check
from reconciler.datapath import libbpf, tables
from tests.bench.figures import QUICK, Report
from tests.bpf.frames import BLUE, DB, ME, MY_MAC, PEER_MAC, WEB, B, C, D, tunnel
from tests.bpf.harness import INTERFACE, OBJECTS, ROUTER, SELF, Bench, World

INCLUDE = f"/usr/include/{platform.machine()}-linux-gnu"
SOURCE = Path(__file__).with_name("restore.bpf.c")
REPEAT, RUNS = (10_000, 15) if QUICK else (20_000, 40)
FLOWS = (1, 4096)
HEADER = 160  # bytes of a frame that are restored
ENDPOINTS, NETWORKS = 10_000, 1_000  # in the maps, besides those of the flows
SPREAD = 1.3  # goal: of 4,096 flows against one


NEVER = 1 << 40  # nanoseconds


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one packet: nanoseconds less those of giving the frame; the same with what a program that
    passes everything takes, as a multiple of one that sends frames back; nanoseconds of that."""

    net: int
    times: float
    swap: int


class Restorer:
    """Runs a program on frames that are whole again each time."""

    def __init__(self, folder: Path, flows: int) -> None:
        built = folder / "restore.bpf.o"
        command = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I{INCLUDE}", "-c"]
        subprocess.run([*command, str(SOURCE), "-o", str(built)], check=True)
        with libbpf.Object.open(built) as opened:
            opened.set_initial_value(".rodata", flows.to_bytes(4, "little"))
            opened.load()
            self.program, self.nothing, self.passing, self.swap = (
                opened.program_fd(each) for each in ("restore", "nothing", "pass", "swap")
            )
            self.originals = opened.map_fd("originals")
            self.target = opened.map_fd("target")
        self.flows = flows

    def close(self) -> None:
        """Let go of programs and maps."""
        for each in (self.program, self.nothing, self.passing, self.swap, self.originals):
            each.close()
        self.target.close()

    def measure(self, program: libbpf.Fd, frames: list[bytes]) -> Cost:
        """The least means of RUNS times REPEAT frames: what else the machine does only adds.

        Taken in turn, so that the machine's ups and downs are everybody's.
        """
        for index in range(self.flows):
            frame = frames[index % len(frames)]
            value = len(frame).to_bytes(8, "little") + frame[:HEADER]
            libbpf.update(self.originals, index.to_bytes(4, "little"), value)
        taken = dict.fromkeys(("floor", "program", "pass", "swap"), NEVER)
        for _ in range(RUNS):
            for name, target in (("floor", self.nothing), ("program", program)):
                libbpf.update(self.target, bytes(4), target.fileno().to_bytes(4, "little"))
                taken[name] = min(taken[name], self._run(self.program, frames[0]))
            taken["pass"] = min(taken["pass"], self._run(self.passing, frames[0]))
            taken["swap"] = min(taken["swap"], self._run(self.swap, frames[0]))
        net = taken["program"] - taken["floor"]
        return Cost(net, (net + taken["pass"]) / taken["swap"], taken["swap"])

    @staticmethod
    def _run(program: libbpf.Fd, frame: bytes) -> int:
        return libbpf.test_run(program, frame, repeat=REPEAT)[2]


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


def measured(world: World, role: Role, restorer: Restorer) -> Cost:
    """The cost of a role, every frame of which was counted under its reason."""
    frames = prepare(world, role, restorer.flows)
    before = world.bench.reasons()[role.reason]
    cost = restorer.measure(world.bench.programs[role.program], frames)
    assert world.bench.reasons()[role.reason] - before == REPEAT * RUNS
    return cost


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_nanoseconds_per_packet(report: Report, pinned: None, tmp_path: Path) -> None:
    bench = Bench()
    world = filled(bench)
    net: dict[str, int] = {}
    for flows in FLOWS:
        restorer = Restorer(tmp_path, flows)
        for name, role in ROLES.items():
            cost = measured(world, role, restorer)
            title = f"packet {name}, flows: {flows:,}"
            note = f"{cost.net} ns net; reference: a program that sends the frame back, alone"
            value = round(cost.times * cost.swap)
            if role.build is not_ours:
                goal = PASS_THROUGH
                report.add(title, cost.net, "ns net", at_most=goal, absolute=True)
            else:
                report.add(title, value, "ns", reference=cost.swap, at_most=role.at_most, note=note)
            if flows == 1:
                net[name] = value
            elif role.at_most:
                title = f"packet {name}, {flows:,} flows against one"
                report.add(title, value, "ns", reference=net[name], at_most=SPREAD)
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
def test_what_each_feature_costs(report: Report, pinned: None, tmp_path: Path) -> None:
    whole = Bench()
    restorer = Restorer(tmp_path, 1)
    for number, (feature, without) in enumerate(FEATURES.items()):
        part = Bench(objects=compiled_without(without, tmp_path / str(number)))
        for name in SHOWN:
            costs = [measured(filled(each), ROLES[name], restorer).net for each in (whole, part)]
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
    subprocess.run(["make", "-s", "-C", folder, f"CFLAGS={flags} -I{INCLUDE}"], check=True)
    return folder / "build"
