"""Packets that do not fit further on: the sender's host hears of it, and tells its endpoint."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage, Wire
from tests.bpf.frames import (
    BLUE,
    GATEWAY,
    GATEWAY6,
    ME,
    ME6,
    PEER,
    PEER6,
    PEER_MAC,
    WEB,
    B,
    C,
    D,
    assert_right,
    ip,
    opened,
    option,
    tunnel,
)
from tests.bpf.harness import INTERFACE, ROUTER, SELF, Outcome, World, Xdp

PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])
MY_MAC = "02:e9:0a:00:01:15"
NARROW = 1400
BACK = OptionFlag.TOO_BIG


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("transit", bytes(frame))


def large(me: str, peer: str, size: int = NARROW - Wire.OVERHEAD + 1, *more: Packet) -> Packet:
    """A frame of an endpoint whose IP packet has that many bytes."""
    packet = ip(me, peer)
    for each in more:
        packet /= each
    packet /= UDP(sport=1000, dport=53)
    return (
        Ether(src=MY_MAC, dst=ROUTER) / packet / Raw((bytes(range(256)) * 64)[: size - len(packet)])
    )


@pytest.fixture
def relay(world: World) -> World:
    """A bouncer whose way to host D is narrower than the way to it."""
    world.uplink(1, ifindex=INTERFACE + 1, mtu=NARROW).host(D, uplink=1)
    for peer in (PEER, PEER6):
        world.remote(BLUE, peer, D, WEB)
    return world


@PAIRS
@pytest.mark.parametrize("size", [NARROW - Wire.OVERHEAD + 1, 8900])
def test_a_relay_sends_it_back_to_the_senders_host_with_what_would_fit(
    relay: World, me: str, peer: str, size: int
) -> None:
    relay.uplink(mtu=9000)
    frame = tunnel(large(me, peer, size), Stage.NETWORK, source=B, sender=C)
    got = run(relay, frame)
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.RETURNED_TOO_BIG)
    seen = opened(got.frame)
    assert (seen.outer.src, seen.outer.dst) == (SELF, C), "not by the way it came"
    assert (seen.stage, seen.flags) == (Stage.NETWORK, OptionFlag.CRITICAL | BACK)
    assert seen.identity == NARROW - Wire.OVERHEAD
    assert bytes(seen.inner) == bytes(opened(bytes(frame)).inner)


def test_what_fits_is_relayed(relay: World) -> None:
    frame = tunnel(large(ME, PEER, NARROW - Wire.OVERHEAD), Stage.NETWORK, sender=C)
    assert run(relay, frame).reason == Reason.BOUNCED


def test_nothing_is_sent_to_a_sender_that_is_no_host(relay: World) -> None:
    frame = tunnel(large(ME, PEER), Stage.NETWORK, sender="192.0.2.7")
    got = run(relay, frame)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_TOO_BIG)


# At the sender's host


@pytest.fixture
def sender(world: World) -> World:
    """The endpoint's host."""
    world.router(BLUE, WEB, GATEWAY, GATEWAY6)
    for own in (ME, ME6):
        world.local(BLUE, own, MY_MAC, network=WEB)
    return world


def sent_back(inner: Packet, fits: int = NARROW - Wire.OVERHEAD, source: str = B) -> Packet:
    """What a relay made of a packet of ours."""
    return tunnel(inner, source=source, options=[option(Stage.NETWORK, BACK, fits, sender=SELF)])


@PAIRS
@pytest.mark.parametrize("size", [1339, 5000, 8900])
def test_the_endpoint_hears_from_its_own_router(
    sender: World, me: str, peer: str, size: int
) -> None:
    inner = large(me, peer, size)
    got = run(sender, sent_back(inner))
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.ANSWERED_TOO_BIG)
    answer = Ether(got.frame)
    assert_right(answer)
    assert (answer.dst, answer.src) == (MY_MAC, ROUTER)
    heard = answer.payload
    assert (heard.src, heard.dst) == ((GATEWAY6 if ":" in me else GATEWAY), me)
    mtu = heard[ICMPv6PacketTooBig].mtu if ":" in me else heard[ICMP].nexthopmtu
    assert mtu == NARROW - Wire.OVERHEAD
    quote = bytes(heard)[48 if ":" in me else 28 :]
    assert quote == bytes(inner.payload)[: (1280 - 48) if ":" in me else (576 - 28)]


@pytest.mark.parametrize(
    "inner",
    [
        Ether() / IP(src=ME, dst=PEER) / ICMP(type=3) / Raw(bytes(1400)),
        Ether() / IP(src=ME, dst=PEER, frag=9) / Raw(bytes(1400)),
        Ether() / ip(ME6, PEER6) / ICMPv6PacketTooBig() / Raw(bytes(1400)),
        Ether() / ip(ME6, PEER6) / IPv6ExtHdrDestOpt() / ICMPv6PacketTooBig() / Raw(bytes(1400)),
        Ether() / ip(ME6, PEER6) / IPv6ExtHdrFragment(offset=9, nh=17) / Raw(bytes(1400)),
        large("10.0.0.99", PEER),
    ],
    ids=["error", "fragment", "IPv6 error", "hidden error", "IPv6 fragment", "nobody's"],
)
def test_about_these_nobody_is_told(sender: World, inner: Packet) -> None:
    got = run(sender, sent_back(inner))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_TOO_BIG)


def test_a_packet_with_extension_headers_is_told_of(sender: World) -> None:
    got = run(sender, sent_back(large(ME6, PEER6, 1400, IPv6ExtHdrDestOpt())))
    assert got.reason == Reason.ANSWERED_TOO_BIG


def test_a_stranger_cannot_shrink_anybodys_packets(sender: World) -> None:
    got = run(sender, sent_back(large(ME, PEER), source="192.0.2.7"))
    assert got.reason == Reason.DROP_UNKNOWN_HOST


def test_a_packet_that_came_back_and_does_not_fit_the_other_way_is_told_of(sender: World) -> None:
    sender.uplink(1, ifindex=INTERFACE + 1, mtu=NARROW).host(C, uplink=1)
    sender.bouncers(BLUE, WEB, C)
    frame = tunnel(large(ME, PEER), source=D, flags=OptionFlag.RETURNED)
    assert run(sender, frame).reason == Reason.ANSWERED_TOO_BIG


def test_it_goes_no_further_than_the_senders_host(relay: World) -> None:
    """A relay that is told of another's packet has nobody to tell, and sends nothing on."""
    assert run(relay, sent_back(large(ME, PEER))).reason == Reason.DROP_TOO_BIG


def test_a_bouncer_says_so_of_a_foreign_hosts_narrower_way(world: World) -> None:
    world.uplink(1, ifindex=INTERFACE + 1, mtu=NARROW).host("172.16.0.21", uplink=1, foreign=True)
    world.foreign(BLUE, PEER, "172.16.0.21", PEER_MAC, network=WEB)
    got = run(world, tunnel(large(ME, PEER), Stage.NETWORK, source=B, sender=C))
    assert got.reason == Reason.RETURNED_TOO_BIG
    seen = opened(got.frame)
    assert (seen.outer.dst, seen.identity) == (C, NARROW - Wire.OVERHEAD)
