"""What the outer header says for the inner one, at every place that writes it (RFC 6040, 4.1)."""

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

from reconciler.abi.generated import OptionFlag, Reason, Stage, Wire
from tests.bpf.frames import (
    BLUE,
    ME,
    ME6,
    MY_MAC,
    PEER,
    PEER6,
    PEER_MAC,
    WEB,
    B,
    C,
    D,
    assert_right,
    ping,
    tunnel,
)
from tests.bpf.harness import World, Xdp
from tests.bpf.test_transit_deliver import TABLE

FOREIGN = "172.16.0.21"
CLASSES = [dscp << 2 | ecn for dscp in (0, 10, 46, 63) for ecn in range(4)]
PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])


@pytest.fixture
def sender(world: World) -> World:
    world.interface(BLUE, WEB).bouncers(BLUE, WEB, B).host(FOREIGN, foreign=True)
    for own in (ME, ME6):
        world.local(BLUE, own, MY_MAC, network=WEB)
    return world


def classes(frame: bytes) -> tuple[int, int]:
    """The traffic class outside and inside; every checksum must be right."""
    ether = Ether(frame)
    assert_right(ether)
    inner = Ether(bytes(ether[GENEVE].payload))
    return int(ether[IP].tos), int(inner[IPv6].tc if IPv6 in inner else inner[IP].tos)


@PAIRS
@pytest.mark.parametrize("traffic_class", CLASSES)
def test_a_new_outer_header_has_the_inner_ones_class(
    sender: World, me: str, peer: str, traffic_class: int
) -> None:
    got = sender.bench.run("access", bytes(ping(me, peer, tos=traffic_class)))
    assert got.reason == Reason.SENT_BOUNCER
    assert classes(got.frame) == (traffic_class, traffic_class)
    sender.foreign(BLUE, peer, FOREIGN, PEER_MAC, network=WEB)
    got = sender.bench.run("access", bytes(ping(me, peer, tos=traffic_class)))
    assert got.reason == Reason.SENT_DIRECT
    assert classes(got.frame) == (traffic_class, traffic_class)


@pytest.mark.parametrize(("inner", "outer"), TABLE)
def test_a_relay_changes_neither(world: World, inner: int, outer: int) -> None:
    world.remote(BLUE, PEER, C, WEB)
    frame = tunnel(
        ping(ME, PEER, tos=0xB8 | inner), Stage.BOUNCER, sender=B, outer={"tos": 0x20 | outer}
    )
    got = world.bench.run("transit", bytes(frame))
    assert got.reason == Reason.BOUNCED
    assert classes(got.frame) == (0x20 | outer, 0xB8 | inner)


@PAIRS
@pytest.mark.parametrize(("inner", "outer"), TABLE)
def test_a_packet_sent_anew_keeps_the_marks_of_its_first_way(
    sender: World, me: str, peer: str, inner: int, outer: int
) -> None:
    frame = tunnel(
        ping(me, peer, tos=0xB8 | inner),
        source=D,
        flags=OptionFlag.RETURNED,
        outer={"tos": 0x20 | outer},
    )
    check(sender, frame, inner, outer, Reason.SENT_BOUNCER)


@PAIRS
@pytest.mark.parametrize(("inner", "outer"), TABLE)
def test_a_foreign_host_gets_the_marks_of_the_way_to_its_bouncer(
    sender: World, me: str, peer: str, inner: int, outer: int
) -> None:
    sender.foreign(BLUE, peer, FOREIGN, PEER_MAC, network=WEB)
    frame = tunnel(ping(me, peer, tos=0xB8 | inner), source=C, outer={"tos": 0x20 | outer})
    check(sender, frame, inner, outer, Reason.BOUNCED)


@PAIRS
@pytest.mark.parametrize(("inner", "outer"), TABLE)
def test_marks_on_the_way_from_a_foreign_host_are_carried_on(
    sender: World, me: str, peer: str, inner: int, outer: int
) -> None:
    sender.foreign(BLUE, peer, FOREIGN, PEER_MAC, network=WEB)
    sender.bouncers(BLUE, WEB, B).dividers(BLUE, D)
    to = "10.0.0.9" if ":" not in me else "2001:db8::9"
    sender.remote(BLUE, to, C, WEB)
    frame = tunnel(
        ping(peer, to, hardware=PEER_MAC, tos=0xB8 | inner),
        source=FOREIGN,
        options=[],
        outer={"tos": 0x20 | outer},
    )
    frame[GENEVE].critical = 0
    check(sender, frame, inner, outer, Reason.SENT_DIRECT)


def check(world: World, frame: Packet, inner: int, outer: int, reason: Reason) -> None:
    """Taken off and put on again: what delivery would give is inside, and outside too."""
    got = world.bench.run("transit", bytes(frame))
    wanted = TABLE[inner, outer]
    if wanted is None:
        assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_ECN)
        return
    assert got.reason == reason
    assert classes(got.frame) == (0xB8 | wanted, 0xB8 | wanted)


@pytest.mark.parametrize("hops", [0, 1, 64, 255])
@PAIRS
def test_the_overlay_is_one_hop_whatever_is_left(
    sender: World, me: str, peer: str, hops: int
) -> None:
    """Nobody on the way routes the inner packet, so nobody takes from its hop limit."""
    field = "hlim" if ":" in me else "ttl"
    frame = ping(me, peer, **{field: hops})
    got = sender.bench.run("access", bytes(frame))
    assert got.reason == Reason.SENT_BOUNCER
    assert Ether(got.frame)[IP].ttl == Wire.TTL
    assert got.frame.endswith(bytes(frame))
    arrived = sender.bench.run("transit", bytes(tunnel(ping(peer, me, **{field: hops}))))
    assert arrived.reason == Reason.DELIVERED
    assert arrived.frame[14:] == bytes(ping(peer, me, **{field: hops}))[14:]


@pytest.mark.parametrize(
    "tags", [Dot1Q(vlan=5), Dot1AD(vlan=5), Dot1AD(vlan=5) / Dot1Q(vlan=6)], ids=["Q", "AD", "QinQ"]
)
def test_a_tagged_packet_of_the_tunnel_is_the_stacks(sender: World, tags: Packet) -> None:
    whole = tunnel(ping(PEER, ME))
    frame = bytes(Ether(src=whole.src, dst=whole.dst) / tags / whole[IP])
    got = sender.bench.run("transit", frame)
    assert (got.action, got.reason, got.frame) == (Xdp.PASS, Reason.PASSED, frame)
