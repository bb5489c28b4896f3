"""Packets that do not fit: the endpoint hears what would have (RFC 1191, RFC 8201)."""

import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import Reason, Wire
from tests.bpf.frames import (
    BLUE,
    GATEWAY,
    GATEWAY6,
    ME,
    ME6,
    PEER,
    PEER6,
    PEER_MAC,
    RED,
    WEB,
    B,
    C,
    assert_right,
    ip,
)
from tests.bpf.harness import INTERFACE, ROUTER, Outcome, World, Xdp

PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])
MY_MAC = "02:e9:0a:00:01:15"  # not zero where checksums are written
MTU = 1500 - Wire.OVERHEAD
BURST = 50
PAYLOAD = Raw(bytes(range(256)) * 8)


@pytest.fixture
def sender(world: World) -> World:
    """An endpoint, and a host that has everybody else."""
    world.interface(BLUE, WEB).bouncers(BLUE, WEB, B).router(BLUE, WEB, GATEWAY, GATEWAY6)
    for own in (ME, ME6):
        world.local(BLUE, own, MY_MAC, network=WEB)
    return world


def run(world: World, packet: Packet) -> Outcome:
    return world.bench.run("access", bytes(Ether(src=MY_MAC, dst=ROUTER) / packet))


def large(me: str, peer: str, size: int = MTU + 1, **fields: object) -> Packet:
    """A UDP packet of that many bytes, DF set if it is IPv4."""
    if ":" not in me:
        fields = {"flags": "DF", **fields}
    packet = ip(me, peer, **fields) / UDP(sport=1000, dport=53)
    return packet / Raw((bytes(range(256)) * 64)[: size - len(packet)])


def said(got: Outcome) -> Packet:
    """What the endpoint hears; it must be for it, from the router, and right."""
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.ANSWERED_TOO_BIG)
    answer = Ether(got.frame)
    assert_right(answer)
    assert (answer.dst, answer.src) == (MY_MAC, ROUTER)
    return answer.payload


def test_an_ipv4_endpoint_hears_that_fragmentation_is_needed(sender: World) -> None:
    packet = large(ME, PEER)
    heard = said(run(sender, packet))
    assert (heard.src, heard.dst, heard.ttl, heard.tos) == (GATEWAY, ME, 64, 0xC0)
    assert heard.len == len(heard) == 576, "as much of it as RFC 1812, 4.3.2.3 wants"
    icmp = heard[ICMP]
    assert (icmp.type, icmp.code, icmp.nexthopmtu) == (3, 4, MTU)
    assert bytes(heard)[28:] == bytes(packet)[: 576 - 28], "the packet as it was sent"


def test_an_ipv6_endpoint_hears_that_its_packet_is_too_big(sender: World) -> None:
    packet = large(ME6, PEER6)
    heard = said(run(sender, packet))
    assert (heard.src, heard.dst, heard.tc) == (GATEWAY6, ME6, 0xC0)
    assert heard.plen + 40 == len(heard) == 1280, "as much of it as RFC 4443, 2.4 wants"
    icmp = heard[ICMPv6PacketTooBig]
    assert (icmp.code, icmp.mtu) == (0, MTU)
    assert bytes(heard)[48:] == bytes(packet)[: 1280 - 48], "the packet as it was sent"


@PAIRS
def test_of_a_packet_to_a_foreign_host_it_hears_too(sender: World, me: str, peer: str) -> None:
    sender.host(C, foreign=True).foreign(BLUE, peer, C, PEER_MAC, network=WEB)
    said(run(sender, large(me, peer, 1500)))


@PAIRS
def test_what_it_hears_is_what_fits(sender: World, me: str, peer: str) -> None:
    assert run(sender, large(me, peer, MTU)).reason == Reason.SENT_BOUNCER
    assert run(sender, large(me, peer, MTU + 1)).reason == Reason.ANSWERED_TOO_BIG


@PAIRS
def test_the_uplink_of_the_packets_own_way_counts(sender: World, me: str, peer: str) -> None:
    sender.uplink(1, ifindex=INTERFACE + 1, mtu=1400).host(C, uplink=1).learn(BLUE, peer, C)
    heard = said(run(sender, large(me, peer)))
    mtu = heard[ICMPv6PacketTooBig].mtu if ":" in me else heard[ICMP].nexthopmtu
    assert mtu == 1400 - Wire.OVERHEAD


@PAIRS
@pytest.mark.parametrize("size", [3000, 5000, 9001])
def test_a_packet_of_several_buffers_is_answered_in_the_same_way(
    sender: World, me: str, peer: str, size: int
) -> None:
    packet = large(me, peer, size)
    heard = said(run(sender, packet))
    whole, quoted = (1280, 48) if ":" in me else (576, 28)
    assert len(heard) == whole
    assert bytes(heard)[quoted:] == bytes(packet)[: whole - quoted]


@PAIRS
def test_of_a_small_packet_the_first_128_bytes_are_quoted(
    sender: World, me: str, peer: str
) -> None:
    sender.uplink(mtu=300 + Wire.OVERHEAD)
    packet = large(me, peer, 301)
    heard = said(run(sender, packet))
    assert bytes(heard)[48 if ":" in me else 28 :] == bytes(packet)[:128]


@pytest.mark.parametrize("flip", range(0, 65536, 3855))
@PAIRS
def test_its_checksums_are_right_for_any_sum(sender: World, me: str, peer: str, flip: int) -> None:
    packet = ip(me, peer) / UDP(sport=flip, dport=0xFFFF - flip, chksum=flip) / PAYLOAD
    said(run(sender, packet))


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=ME, dst=PEER, options=[IPOption(b"\x94\x04\x00\x00")]) / UDP() / PAYLOAD,
        IP(src=ME, dst=PEER, flags="DF") / TCP(flags="A") / PAYLOAD,
        IP(src=ME, dst=PEER, flags="DF") / ICMP() / PAYLOAD,
        IP(src=ME, dst=PEER, flags="DF") / ICMP(type=0) / PAYLOAD,
        IP(src=ME, dst=PEER, flags="MF", id=9) / UDP(len=4000) / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / IPv6ExtHdrDestOpt() / TCP() / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / ICMPv6EchoRequest() / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / ICMPv6EchoReply() / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / IPv6ExtHdrFragment(m=1, id=9) / UDP() / PAYLOAD,
    ],
    ids=lambda packet: packet.summary()[:50],
)
def test_whatever_it_carries_its_sender_hears(sender: World, packet: Packet) -> None:
    heard = said(run(sender, packet))
    quote = bytes(heard)[48 if IPv6 in packet else 28 :]
    assert quote == bytes(packet)[: len(quote)]


def test_a_packet_that_may_be_fragmented_is_refused_too(sender: World) -> None:
    """Its sender's kernel does it from then on; nothing here copies payload."""
    heard = said(run(sender, large(ME, PEER, flags=0)))
    assert heard[ICMP].nexthopmtu == MTU


@pytest.mark.parametrize(
    "packet",
    [
        *(IP(src=ME, dst=PEER) / ICMP(type=each) / PAYLOAD for each in (3, 4, 5, 11, 12, 1, 40)),
        IP(src=ME, dst=PEER, frag=185, id=9, proto=17) / PAYLOAD,
        IP(src=ME, dst=PEER, frag=185, id=9, proto=1) / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / ICMPv6PacketTooBig() / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / ICMPv6TimeExceeded() / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / IPv6ExtHdrDestOpt() / ICMPv6TimeExceeded() / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / IPv6ExtHdrFragment(offset=9, id=9, nh=17) / PAYLOAD,
        IPv6(src=ME6, dst=PEER6) / IPv6ExtHdrFragment(offset=9, id=9, nh=58) / Raw(b"\x80" * 2000),
    ],
    ids=lambda packet: packet.summary()[:60],
)
def test_errors_and_later_fragments_are_dropped_without_a_word(
    sender: World, packet: Packet
) -> None:
    got = run(sender, packet)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_TOO_BIG)


@PAIRS
def test_a_router_without_an_address_of_the_family_says_nothing(
    sender: World, me: str, peer: str
) -> None:
    sender.router(BLUE, WEB, *(("", GATEWAY6) if ":" not in me else (GATEWAY, "")))
    assert run(sender, large(me, peer)).reason == Reason.DROP_TOO_BIG


@PAIRS
def test_another_vpcs_router_says_nothing(world: World, me: str, peer: str) -> None:
    world.interface(BLUE, WEB).bouncers(BLUE, WEB, B).router(RED, WEB, GATEWAY, GATEWAY6)
    world.local(BLUE, me, MY_MAC, network=WEB)
    assert run(world, large(me, peer)).reason == Reason.DROP_TOO_BIG


def test_a_spoofed_source_is_not_told(sender: World) -> None:
    assert run(sender, large(PEER, ME)).reason == Reason.DROP_SPOOFED_ADDRESS


def test_an_endpoint_is_told_so_often_and_then_waits(sender: World) -> None:
    """RFC 4443, 2.4 f. As many at once, then one in about ten milliseconds; others are not hurt."""
    theirs = "10.0.0.77"
    sender.local(BLUE, theirs, MY_MAC, network=WEB)
    begin = time.monotonic()
    reasons = [run(sender, large(ME, PEER)).reason for _ in range(BURST * 4)]
    took = time.monotonic() - begin
    told = reasons.count(Reason.ANSWERED_TOO_BIG)
    assert reasons[:BURST] == [Reason.ANSWERED_TOO_BIG] * BURST
    assert set(reasons[BURST:]) <= {Reason.ANSWERED_TOO_BIG, Reason.DROP_TOO_BIG}
    # Each CPU has its allowance; a run that moved to the other starts anew there.
    assert told <= sender.bench.cpus * (BURST + took * 1000 / 10) + 1
    assert run(sender, large(theirs, PEER)).reason == Reason.ANSWERED_TOO_BIG
    time.sleep(0.1)
    assert run(sender, large(ME, PEER)).reason == Reason.ANSWERED_TOO_BIG


# To an endpoint of the same host


def test_a_local_neighbours_smaller_interface_counts(sender: World) -> None:
    """The loopback's MTU is 65536: larger than any frame, whatever the underlay takes."""
    sender.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE)
    assert run(sender, large(ME, PEER, 9000)).reason == Reason.DELIVERED
