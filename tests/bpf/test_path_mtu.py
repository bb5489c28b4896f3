"""What routers of the underlay say about outer packets (RFC 1191): heard, and still the stack's."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import Reason, Stage, Wire
from tests.bpf.frames import (
    BLUE,
    GATEWAY,
    ME,
    MY_MAC,
    PEER,
    WEB,
    B,
    C,
    ip,
    tunnel,
)
from tests.bpf.harness import ROUTER, SELF, UPLINK, World, Xdp, clock

ROUTERS = "172.16.0.250"
LEAST = 1280 + Wire.OVERHEAD


@pytest.fixture
def sender(world: World) -> Iterator[World]:
    world.interface(BLUE, WEB).bouncers(BLUE, WEB, B).router(BLUE, WEB, GATEWAY)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    yield world
    for slot in (2, 3):  # what was heard is no row that the world knows of
        world.write("path_mtus", {"index": slot}, {})


def says(mtu: int, about: Packet | None = None, to: str = SELF, **fields: int) -> Packet:
    """A router's word about a packet from here to B."""
    quoted = about or IP(src=SELF, dst=B, flags="DF", len=1500) / UDP(sport=50000, dport=6081)
    kind = {"type": 3, "code": 4, "nexthopmtu": mtu, **fields}
    return Ether(dst=UPLINK) / IP(src=ROUTERS, dst=to) / ICMP(**kind) / Raw(bytes(quoted)[:28])


def told(world: World, frame: Packet) -> None:
    got = world.bench.run("transit", bytes(frame))
    assert (got.action, got.reason) == (Xdp.PASS, Reason.PASSED)
    assert got.frame == bytes(frame)


def fits(world: World, size: int, peer: str = PEER) -> bool:
    packet = ip(ME, peer, flags="DF") / UDP() / Raw(bytes(size - 28))
    got = world.bench.run("access", bytes(Ether(src=MY_MAC, dst=ROUTER) / packet))
    if got.reason == Reason.ANSWERED_TOO_BIG:
        return False
    assert got.reason in (Reason.SENT_BOUNCER, Reason.SENT_DIRECT)
    return True


def test_what_a_router_takes_holds_for_the_way_to_that_host(sender: World) -> None:
    assert fits(sender, 1438)
    told(sender, says(1400))
    assert fits(sender, 1400 - Wire.OVERHEAD)
    assert not fits(sender, 1400 - Wire.OVERHEAD + 1)
    sender.learn(BLUE, "10.0.0.9", C)
    assert fits(sender, 1438, "10.0.0.9"), "another host, another way"


def test_a_relay_minds_it_too(sender: World) -> None:
    told(sender, says(1400))
    sender.remote(BLUE, PEER, B, WEB)
    inner = Ether() / ip("10.0.0.9", PEER) / UDP() / Raw(bytes(1340 - 28))
    got = sender.bench.run("transit", bytes(tunnel(inner, Stage.NETWORK, source=C, sender=C)))
    assert got.reason == Reason.RETURNED_TOO_BIG


def test_it_is_forgotten_after_ten_minutes(sender: World) -> None:
    told(sender, says(1400))
    for age, still in ((555, False), (565, True)):
        seen = (clock() - age) & 0xFFFF
        sender.write("path_mtus", {"index": 2}, {"mtu": 1400, "seen": seen})
        assert fits(sender, 1438) is still


def test_ipv6_is_not_talked_out_of_its_least(sender: World) -> None:
    told(sender, says(576))
    assert fits(sender, LEAST - Wire.OVERHEAD)
    assert not fits(sender, LEAST - Wire.OVERHEAD + 1)


OTHERS = {
    "about another's packet": says(1400, IP(src=C, dst=B, len=1500) / UDP()),
    "about a packet to a stranger": says(1400, IP(src=SELF, dst="192.0.2.7", len=1500) / UDP()),
    "about TCP": says(1400, IP(src=SELF, dst=B, len=1500, proto=6) / Raw(bytes(8))),
    "to another address": says(1400, to="172.16.0.99"),
    "from before RFC 1191": says(0),
    "another code": says(1400, code=1),
    "another type": says(1400, type=11),
    "larger than the uplink": says(9000),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_words_change_nothing(sender: World, name: str) -> None:
    told(sender, OTHERS[name])
    assert fits(sender, 1438)


@pytest.mark.parametrize("length", range(14, 14 + 56, 3))
def test_a_word_cut_short_changes_nothing(sender: World, length: int) -> None:
    frame = Ether(bytes(says(1400))[:length])
    told(sender, frame)
    assert fits(sender, 1438) or length >= 14 + 20 + 8 + 20
