"""Nanoseconds per packet of both programs, by role, less the cost of giving them frames."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import Reason, Stage
from reconciler.datapath import libbpf
from tests.bench.figures import Report
from tests.bpf.frames import BLUE, DB, ME, MY_MAC, PEER_MAC, WEB, B, C, D, tunnel
from tests.bpf.harness import INTERFACE, ROUTER, SELF, Bench, World

SOURCE = Path(__file__).with_name("restore.bpf.c")
REPEAT, RUNS = 50_000, 30
FLOWS = (1, 4096)
HEADER = 160  # bytes of a frame that are restored


class Restorer:
    """Runs a program on frames that are whole again each time."""

    def __init__(self, folder: Path, flows: int) -> None:
        built = folder / "restore.bpf.o"
        include = f"-I/usr/include/{platform.machine()}-linux-gnu"
        command = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", include, "-c"]
        subprocess.run([*command, str(SOURCE), "-o", str(built)], check=True)
        with libbpf.Object.open(built) as opened:
            opened.set_initial_value(".rodata", flows.to_bytes(4, "little"))
            opened.load()
            self.program = opened.program_fd("restore")
            self.nothing = opened.program_fd("nothing")
            self.originals = opened.map_fd("originals")
            self.target = opened.map_fd("target")
        self.flows = flows

    def nanoseconds(self, program: libbpf.Fd, frames: list[bytes]) -> int:
        """The least mean of RUNS times REPEAT frames: what else the machine does only adds."""
        for index in range(self.flows):
            frame = frames[index % len(frames)]
            value = len(frame).to_bytes(8, "little") + frame[:HEADER]
            libbpf.update(self.originals, index.to_bytes(4, "little"), value)
        number = program.fileno().to_bytes(4, "little")
        libbpf.update(self.target, bytes(4), number)
        taken = [libbpf.test_run(self.program, frames[0], repeat=REPEAT)[2] for _ in range(RUNS)]
        return min(taken)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    bench = Bench()
    made = World(bench)
    yield made
    made.clear()
    bench.close()


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


ROLES: dict[str, tuple[str, Callable[[World, int], bytes], Reason]] = {
    "from an endpoint, direct path": ("access", established, Reason.SENT_DIRECT),
    "from an endpoint, to a bouncer": ("access", to_bouncer, Reason.SENT_BOUNCER),
    "from an endpoint, switched here": ("access", switched, Reason.DELIVERED),
    "from the underlay, delivered": ("transit", arriving, Reason.DELIVERED),
    "bouncer": ("transit", bounced, Reason.BOUNCED),
    "divider": ("transit", divided, Reason.DIVIDED),
    "not ours, passed": ("transit", not_ours, Reason.PASSED),
}


@pytest.mark.bench
@pytest.mark.timeout(600)
@pytest.mark.parametrize("flows", FLOWS)
def test_nanoseconds_per_packet(report: Report, world: World, tmp_path: Path, flows: int) -> None:
    restorer = Restorer(tmp_path, flows)
    for role, (program, build, reason) in ROLES.items():
        world.clear()
        world.uplink().host(SELF).host(B).host(C).host(D).interface(BLUE, WEB)
        world.local(BLUE, ME, MY_MAC, network=WEB)
        world.bouncers(BLUE, WEB, B, D).bouncers(BLUE, DB, C, D)
        if role == "divider":
            world.network(BLUE, "10.9.0.0/16", DB)
        frames = [build(world, flow) for flow in range(flows)]
        before = world.bench.reasons()[reason]
        floor = restorer.nanoseconds(restorer.nothing, frames)
        taken = restorer.nanoseconds(world.bench.programs[program], frames)
        assert world.bench.reasons()[reason] - before == REPEAT * RUNS
        note = f"giving it a frame, {floor} ns, taken off"
        report.add(f"packet {role}, flows: {flows:,}", taken - floor, "ns", note=note)
