"""Several hosts, each with its own maps and programs: frames are carried from one to the next."""

from __future__ import annotations

from dataclasses import dataclass

from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from reconciler.abi.generated import Reason
from tests.bpf.harness import Bench, Outcome, World, Xdp

LONGEST = 9  # hops; bpf/README.md says why no journey takes more
FORWARDED = {
    Reason.SENT_DIRECT,
    Reason.SENT_BOUNCER,
    Reason.BOUNCED,
    Reason.DIVIDED,
    Reason.RELAYED_DIVIDER,
    Reason.RETURNED,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A host that handled the frame, and what it counted."""

    host: str
    reason: Reason


class Cluster:
    """Hosts by their underlay addresses."""

    def __init__(self, *hosts: str) -> None:
        self.worlds = {host: World(Bench(host)) for host in hosts}

    def begin(self) -> None:
        """Empty every host's maps, then let all know all."""
        for world in self.worlds.values():
            world.clear()
            world.uplink()
            for host in self.worlds:
                world.host(host)

    def close(self) -> None:
        """Let go of all programs."""
        for world in self.worlds.values():
            world.clear()
            world.bench.close()

    def carry(self, start: str, frame: Packet) -> list[Step]:
        """Send a frame from an endpoint of `start`, and follow it to its end."""
        got = self.worlds[start].bench.run("access", bytes(frame))
        steps = [Step(start, got.reason)]
        while got.reason in FORWARDED:
            assert len(steps) <= LONGEST, steps
            here = receiver(got)
            got = self.worlds[here].bench.run("transit", got.frame)
            steps.append(Step(here, got.reason))
        assert got.action in (Xdp.DROP, Xdp.REDIRECT), steps
        return steps


def receiver(got: Outcome) -> str:
    """The host that a frame of the tunnel is addressed to."""
    frame = Ether(got.frame)
    assert GENEVE in frame
    return str(frame[IP].dst)
