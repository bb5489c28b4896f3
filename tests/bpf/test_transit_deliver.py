"""What arrives for an endpoint of this host: checked, unwrapped, handed over, and learned from."""

import pytest
from scapy.layers.inet import IP, UDP, IPOption
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage
from tests.bpf.frames import (
    BLUE,
    ME,
    ME6,
    MY_MAC,
    PEER,
    PEER6,
    PEER_MAC,
    RED,
    WEB,
    B,
    C,
    assert_right,
    ip,
    ping,
    tunnel,
)
from tests.bpf.harness import INTERFACE, ROUTER, SELF, Outcome, World, Xdp, slot

PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])
ENDPOINTS_INTERFACE = INTERFACE + 1


@pytest.fixture
def receiver(world: World) -> World:
    for own in (ME, ME6):
        world.local(BLUE, own, MY_MAC, network=WEB, ifindex=ENDPOINTS_INTERFACE)
    return world


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("transit", bytes(frame))


@PAIRS
def test_an_endpoint_gets_the_inner_frame_from_the_router(world: World, me: str, peer: str) -> None:
    mine = world.local(BLUE, me, MY_MAC, ifindex=ENDPOINTS_INTERFACE)
    inner = ping(peer, me, hardware=PEER_MAC, tos=0x28)
    got = run(world, tunnel(inner))
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.DELIVERED)
    inner.src, inner.dst = ROUTER, MY_MAC
    assert got.frame == bytes(inner), "nothing but the MACs may change"
    counted = world.traffic(mine)
    assert (counted["tx_packets"], counted["tx_bytes"]) == (1, len(inner))
    assert counted["rx_packets"] == 0


@pytest.mark.parametrize("stage", [Stage.BOUNCER, Stage.DIVIDER, Stage.NETWORK, Stage.HOST])
def test_a_relayed_packet_is_delivered_at_any_stage(receiver: World, stage: Stage) -> None:
    assert run(receiver, tunnel(ping(PEER, ME), stage, sender=C)).reason == Reason.DELIVERED


def test_the_same_address_in_another_vpc_gets_nothing(receiver: World) -> None:
    theirs = receiver.local(RED, ME, PEER_MAC, ifindex=9)
    got = run(receiver, tunnel(ping(PEER, ME)))
    assert Ether(got.frame).dst == MY_MAC
    assert receiver.traffic(theirs)["tx_packets"] == 0
    got = run(receiver, tunnel(ping(PEER, ME), vni=RED))
    assert Ether(got.frame).dst == PEER_MAC


def test_a_vpc_without_that_endpoint_does_not_deliver_to_anothers(receiver: World) -> None:
    got = run(receiver, tunnel(ping(PEER, ME), vni=RED))
    assert got.reason == Reason.RETURNED


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=PEER, dst=ME, options=[IPOption(b"\x94\x04\x00\x00")]) / UDP() / b"hello",
        IP(src=PEER, dst=ME) / UDP(chksum=0) / b"hello",
        IP(src=PEER, dst=ME, flags="MF", id=9) / UDP(len=4000) / Raw(bytes(64)),
        IP(src=PEER, dst=ME, frag=185, id=9, proto=17) / Raw(bytes(64)),
        IP(src=PEER, dst=ME, ttl=1) / UDP(),
        IPv6(src=PEER6, dst=ME6, hlim=1) / IPv6ExtHdrHopByHop() / UDP() / b"hello",
        IPv6(src=PEER6, dst=ME6) / IPv6ExtHdrFragment(offset=9, id=9, nh=17) / Raw(bytes(64)),
    ],
    ids=lambda packet: packet.summary()[:40],
)
def test_unusual_packets_arrive_as_they_were(receiver: World, packet: Packet) -> None:
    got = run(receiver, tunnel(Ether(src=PEER_MAC, dst=ROUTER) / packet))
    assert got.reason == Reason.DELIVERED
    assert got.frame == bytes(Ether(src=ROUTER, dst=MY_MAC) / packet)


def test_a_frame_of_several_buffers_arrives_whole(receiver: World) -> None:
    inner = Ether() / ip(PEER, ME) / UDP() / Raw(bytes(range(250)) * 34)
    got = run(receiver, tunnel(inner))
    assert got.reason == Reason.DELIVERED
    assert got.frame[14:] == bytes(inner)[14:]


def test_an_outer_udp_checksum_does_not_hinder(receiver: World) -> None:
    frame = tunnel(ping(PEER, ME))
    del frame[UDP].chksum
    assert run(receiver, frame).reason == Reason.DELIVERED


@pytest.mark.parametrize("inner", [ARP(), Raw(bytes(46))], ids=["ARP", "raw"])
def test_what_is_not_ip_inside_is_dropped(receiver: World, inner: Packet) -> None:
    got = run(receiver, tunnel(Ether(src=PEER_MAC, dst=ROUTER, type=0x0806) / inner))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_NOT_IP)


@pytest.mark.parametrize("destination", ["224.0.0.1", "255.255.255.255", "ff02::1"])
def test_multicast_inside_is_dropped(receiver: World, destination: str) -> None:
    peer = PEER6 if ":" in destination else PEER
    assert run(receiver, tunnel(ping(peer, destination))).reason == Reason.DROP_MULTICAST


@pytest.mark.parametrize("source", ["224.0.0.1", "0.0.0.0", "255.255.255.255", ME])
def test_a_source_that_cannot_be_is_spoofing(receiver: World, source: str) -> None:
    assert run(receiver, tunnel(ping(source, ME))).reason == Reason.DROP_SPOOFED_ADDRESS


@pytest.mark.parametrize("source", ["ff02::1", "::", ME6])
def test_an_ipv6_source_that_cannot_be_is_spoofing(receiver: World, source: str) -> None:
    assert run(receiver, tunnel(ping(source, ME6))).reason == Reason.DROP_SPOOFED_ADDRESS


# Direct paths


@PAIRS
def test_a_direct_packet_teaches_the_way_back(receiver: World, me: str, peer: str) -> None:
    run(receiver, tunnel(ping(peer, me), source=C))
    assert receiver.path(BLUE, peer) == C
    assert receiver.path(RED, peer) is None


def test_a_relayed_packet_teaches_the_senders_host_not_the_relay(receiver: World) -> None:
    run(receiver, tunnel(ping(PEER, ME), source=B, sender=C))
    assert receiver.path(BLUE, PEER) == C


def test_a_sender_that_is_no_host_is_not_learned(receiver: World) -> None:
    assert run(receiver, tunnel(ping(PEER, ME), sender="192.0.2.7")).reason == Reason.DELIVERED
    assert receiver.path(BLUE, PEER) is None


def test_this_host_itself_is_not_learned(receiver: World) -> None:
    assert run(receiver, tunnel(ping(PEER, ME), sender=SELF)).reason == Reason.DELIVERED
    assert receiver.path(BLUE, PEER) is None


def test_a_returned_packet_teaches_nothing(receiver: World) -> None:
    run(receiver, tunnel(ping(PEER, ME), flags=OptionFlag.RETURNED))
    assert receiver.path(BLUE, PEER) is None


def test_a_peer_that_moved_is_learned_anew(receiver: World) -> None:
    run(receiver, tunnel(ping(PEER, ME), source=B))
    run(receiver, tunnel(ping(PEER, ME), source=C))
    assert receiver.path(BLUE, PEER) == C


def test_a_host_that_got_another_slot_is_learned_anew(receiver: World) -> None:
    receiver.learn(BLUE, PEER, B, host_slot=77)
    run(receiver, tunnel(ping(PEER, ME), source=B))
    assert receiver.read_path(BLUE, PEER)["slot"] == slot(B)


def test_what_is_heard_keeps_a_path_fresh(receiver: World) -> None:
    receiver.learn(BLUE, PEER, B, age=59)
    run(receiver, tunnel(ping(PEER, ME), source=B))
    assert receiver.read_path(BLUE, PEER)["age"] <= 1


def test_a_packet_dropped_for_congestion_still_tells_where_its_sender_is(receiver: World) -> None:
    frame = tunnel(ping(PEER, ME, tos=0), source=C, outer={"tos": 3})
    assert run(receiver, frame).reason == Reason.DROP_ECN
    assert receiver.path(BLUE, PEER) == C


def test_a_refused_packet_teaches_nothing(receiver: World) -> None:
    assert run(receiver, tunnel(ping(ME, ME), source=C)).reason == Reason.DROP_SPOOFED_ADDRESS
    assert receiver.path(BLUE, ME) is None


# Congestion (RFC 6040, 4.2): inner codepoint, outer codepoint -> what arrives, None for a drop

NOT, ECT1, ECT0, CE = 0, 1, 2, 3
TABLE = {
    (NOT, NOT): NOT,
    (NOT, ECT0): NOT,
    (NOT, ECT1): NOT,
    (NOT, CE): None,
    (ECT0, NOT): ECT0,
    (ECT0, ECT0): ECT0,
    (ECT0, ECT1): ECT1,
    (ECT0, CE): CE,
    (ECT1, NOT): ECT1,
    (ECT1, ECT0): ECT1,
    (ECT1, ECT1): ECT1,
    (ECT1, CE): CE,
    (CE, NOT): CE,
    (CE, ECT0): CE,
    (CE, ECT1): CE,
    (CE, CE): CE,
}


@PAIRS
@pytest.mark.parametrize(("inner", "outer"), TABLE)
def test_congestion_marks_reach_the_endpoint(
    receiver: World, me: str, peer: str, inner: int, outer: int
) -> None:
    frame = tunnel(ping(peer, me, tos=0xB8 | inner), outer={"tos": 0x20 | outer})
    got = run(receiver, frame)
    wanted = TABLE[inner, outer]
    if wanted is None:
        assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_ECN)
        return
    arrived = Ether(got.frame)
    assert_right(arrived)
    traffic_class = arrived[IPv6].tc if IPv6 in arrived else arrived[IP].tos
    assert traffic_class == 0xB8 | wanted, "DSCP stays the sender's"
