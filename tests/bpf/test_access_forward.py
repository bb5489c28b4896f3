"""What an endpoint sends: switched here, or sent to a host that has or knows the other end."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage, Wire
from reconciler.datapath.libbpf import BpfError
from tests.bpf.frames import (
    BLUE,
    DB,
    ME,
    ME6,
    MY_MAC,
    OTHER,
    PEER,
    PEER6,
    PEER_MAC,
    RED,
    WEB,
    B,
    C,
    D,
    assert_right,
    datagram,
    ip,
    opened,
    ping,
)
from tests.bpf.harness import INTERFACE, ROUTER, SELF, UPLINK, Outcome, World, Xdp, next_hop

PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])


@pytest.fixture
def sender(world: World) -> World:
    """An endpoint of the web network, with an IPv4 and an IPv6 address."""
    world.interface(BLUE, WEB)
    world.local(BLUE, ME, MY_MAC, network=WEB, identity=42)
    world.local(BLUE, ME6, MY_MAC, network=WEB, identity=42)
    return world


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("access", bytes(frame))


# Local


@PAIRS
def test_a_neighbour_on_the_same_host_gets_the_frame_from_the_router(
    sender: World, me: str, peer: str
) -> None:
    theirs = sender.local(BLUE, peer, PEER_MAC, network=WEB, ifindex=INTERFACE + 1)
    frame = ping(me, peer)
    got = run(sender, frame)
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.DELIVERED)
    frame.src, frame.dst = ROUTER, PEER_MAC
    assert got.frame == bytes(frame), "nothing but the MACs may change"
    assert sender.traffic(theirs) == {
        "rx_packets": 0,
        "rx_bytes": 0,
        "tx_packets": 1,
        "tx_bytes": len(frame),
    }


def test_what_an_endpoint_sends_is_counted_for_it(world: World) -> None:
    world.interface(BLUE, WEB).bouncers(BLUE, WEB, B)
    mine = world.local(BLUE, ME, MY_MAC, network=WEB)
    frame = ping(ME, PEER)
    run(world, frame)
    run(world, frame)
    counted = world.traffic(mine)
    assert (counted["rx_packets"], counted["rx_bytes"]) == (2, 2 * len(frame))
    assert counted["tx_packets"] == 0


def test_a_neighbour_of_another_vpc_with_that_address_gets_nothing(sender: World) -> None:
    theirs = sender.local(RED, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    assert run(sender, ping(ME, PEER)).reason == Reason.DROP_NO_BOUNCER
    assert sender.traffic(theirs)["tx_packets"] == 0


# The way to the other end


@PAIRS
def test_an_unknown_peer_is_asked_for_at_a_bouncer(sender: World, me: str, peer: str) -> None:
    sender.bouncers(BLUE, WEB, B)
    frame = ping(me, peer, tos=0x2A)
    got = run(sender, frame)
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.SENT_BOUNCER)
    seen = opened(got.frame)
    assert (seen.ether.src, seen.ether.dst) == (UPLINK, next_hop(B))
    assert (seen.outer.src, seen.outer.dst) == (SELF, B)
    assert (seen.outer.ttl, str(seen.outer.flags), seen.outer.tos) == (Wire.TTL, "DF", 0x2A)
    assert (seen.udp.dport, seen.udp.chksum) == (Wire.PORT, 0)
    assert (seen.geneve.vni, seen.geneve.critical, seen.geneve.proto) == (BLUE, 1, 0x6558)
    assert (seen.stage, seen.flags) == (Stage.BOUNCER, OptionFlag.CRITICAL)
    assert (seen.identity, seen.sender) == (42, SELF)
    assert bytes(seen.inner) == bytes(frame)


@PAIRS
def test_a_direct_path_leads_straight_to_the_host(sender: World, me: str, peer: str) -> None:
    sender.learn(BLUE, peer, C)
    frame = ping(me, peer)
    got = run(sender, frame)
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.SENT_DIRECT)
    seen = opened(got.frame)
    assert (seen.outer.dst, seen.ether.dst) == (C, next_hop(C))
    assert (seen.stage, seen.identity, seen.sender) == (Stage.HOST, 42, None)
    assert len(got.frame) == len(frame) + 50 + 8, "DESIGN: 50 bytes of Geneve, 8 of option"
    assert bytes(seen.inner) == bytes(frame)


def test_a_direct_path_not_heard_of_for_long_is_not_used(sender: World) -> None:
    sender.learn(BLUE, PEER, C, age=61)
    sender.bouncers(BLUE, WEB, B)
    assert run(sender, ping(ME, PEER)).reason == Reason.SENT_BOUNCER
    sender.learn(BLUE, PEER, C, age=58)
    assert run(sender, ping(ME, PEER)).reason == Reason.SENT_DIRECT


def test_a_direct_path_of_another_vpc_is_not_used(sender: World) -> None:
    sender.learn(RED, PEER, C)
    sender.bouncers(BLUE, WEB, B)
    assert run(sender, ping(ME, PEER)).reason == Reason.SENT_BOUNCER


def test_a_host_that_bounces_the_network_itself_sends_straight_to_the_endpoints_host(
    sender: World,
) -> None:
    sender.bouncers(BLUE, WEB, SELF, B).remote(BLUE, PEER, C, WEB)
    got = run(sender, ping(ME, PEER))
    assert got.reason == Reason.SENT_DIRECT
    seen = opened(got.frame)
    assert (seen.outer.dst, seen.stage, seen.sender) == (C, Stage.HOST, None)


def test_a_row_of_a_bouncer_wins_over_a_direct_path(sender: World) -> None:
    sender.learn(BLUE, PEER, D)
    sender.remote(BLUE, PEER, C, WEB)
    assert opened(run(sender, ping(ME, PEER)).frame).outer.dst == C


def test_a_host_that_bounces_the_network_itself_asks_a_divider(sender: World) -> None:
    sender.bouncers(BLUE, WEB, SELF, B).dividers(BLUE, C)
    got = run(sender, ping(ME, OTHER))
    assert got.reason == Reason.RELAYED_DIVIDER
    seen = opened(got.frame)
    assert (seen.outer.dst, seen.stage, seen.sender) == (C, Stage.DIVIDER, SELF)


def test_a_host_that_divides_the_vpc_itself_asks_a_bouncer_of_the_other_network(
    sender: World,
) -> None:
    sender.network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, D).bouncers(BLUE, WEB, B)
    got = run(sender, ping(ME, OTHER))
    assert got.reason == Reason.SENT_BOUNCER
    seen = opened(got.frame)
    assert (seen.outer.dst, seen.stage, seen.sender) == (D, Stage.NETWORK, SELF)


def test_a_host_never_sends_to_itself(sender: World) -> None:
    sender.network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, SELF, D)
    for port in range(64):
        seen = opened(run(sender, datagram(ME, OTHER, sport=port)).frame)
        assert seen.outer.dst == D


def test_the_longest_prefix_says_the_network(sender: World) -> None:
    sender.network(BLUE, "10.0.0.0/16", DB).bouncers(BLUE, DB, B)
    sender.network(BLUE, "10.0.1.0/24", 3).bouncers(BLUE, 3, C)
    assert opened(run(sender, ping(ME, OTHER)).frame).outer.dst == C
    assert opened(run(sender, ping(ME, "10.0.2.9")).frame).outer.dst == B


def test_a_network_of_another_vpc_is_not_asked(sender: World) -> None:
    sender.network(RED, "10.0.1.0/24", DB).bouncers(RED, DB, C)
    assert run(sender, ping(ME, OTHER)).reason == Reason.DROP_NO_BOUNCER


# Nobody to send to


def test_without_a_bouncer_it_is_dropped(sender: World) -> None:
    assert run(sender, ping(ME, PEER)).reason == Reason.DROP_NO_BOUNCER


def test_a_bouncer_that_knows_no_divider_drops(sender: World) -> None:
    sender.bouncers(BLUE, WEB, SELF)
    assert run(sender, ping(ME, PEER)).reason == Reason.DROP_UNKNOWN_VPC


def test_the_only_divider_drops_what_no_network_holds(sender: World) -> None:
    sender.bouncers(BLUE, WEB, SELF).dividers(BLUE, SELF)
    assert run(sender, ping(ME, "192.0.2.1")).reason == Reason.DROP_NO_NETWORK


def test_the_only_bouncer_and_divider_drops_what_no_endpoint_has(sender: World) -> None:
    sender.network(BLUE, "10.0.0.0/24", WEB).bouncers(BLUE, WEB, SELF).dividers(BLUE, SELF)
    assert run(sender, ping(ME, PEER)).reason == Reason.DROP_NO_ENDPOINT


def test_without_a_next_hop_it_is_dropped(sender: World) -> None:
    sender.bouncers(BLUE, WEB, "172.16.0.99")
    assert run(sender, ping(ME, PEER)).reason == Reason.DROP_NO_NEXT_HOP


@pytest.mark.parametrize("lacking", ["uplinks", "uplink_macs"])
def test_without_an_uplink_it_is_dropped(sender: World, lacking: str) -> None:
    sender.bouncers(BLUE, WEB, B).write(lacking, {"index": 0}, {})
    assert run(sender, ping(ME, PEER)).reason == Reason.DROP_NO_NEXT_HOP


def test_the_next_hops_uplink_is_taken(sender: World) -> None:
    sender.uplink(1, ifindex=INTERFACE + 1, hardware="02:aa:00:00:00:02")
    sender.host(B, uplink=1).bouncers(BLUE, WEB, B)
    got = run(sender, ping(ME, PEER))
    assert got.action == Xdp.REDIRECT
    assert Ether(got.frame).src == "02:aa:00:00:00:02"


@pytest.mark.parametrize("direct", [True, False])
def test_the_largest_packet_fits_on_every_path_and_one_byte_more_on_none(
    sender: World, direct: bool
) -> None:
    sender.bouncers(BLUE, WEB, B)
    if direct:
        sender.learn(BLUE, PEER, C)
    largest = 1500 - Wire.OVERHEAD
    frame = Ether(src=MY_MAC, dst=ROUTER) / ip(ME, PEER) / UDP() / Raw(bytes(largest - 28))
    got = run(sender, frame)
    assert got.reason in (Reason.SENT_DIRECT, Reason.SENT_BOUNCER)
    assert len(got.frame) - 14 <= 1500
    got = run(sender, frame / b"x")
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_TOO_BIG)


@pytest.mark.xdp("there is no metadata in front of an sk_buff")
def test_a_frame_without_room_for_outer_headers_is_dropped(sender: World) -> None:
    sender.bouncers(BLUE, WEB, B)
    try:
        got = sender.bench.run("access", bytes(ping(ME, PEER)), occupied=200)
    except BpfError:
        pytest.skip("not on this machine: a kernel that allows 200 bytes of XDP metadata")
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_HELPER)


# Spoofing, and what is no business of a router


@PAIRS
def test_anothers_source_address_is_spoofing(sender: World, me: str, peer: str) -> None:
    sender.bouncers(BLUE, WEB, B)
    assert run(sender, ping(peer, me)).reason == Reason.DROP_SPOOFED_ADDRESS


def test_an_address_on_another_interface_is_spoofing(sender: World) -> None:
    sender.local(BLUE, PEER, MY_MAC, ifindex=INTERFACE + 1)
    assert run(sender, ping(PEER, ME)).reason == Reason.DROP_SPOOFED_ADDRESS


def test_an_address_that_is_elsewhere_is_spoofing(sender: World) -> None:
    sender.remote(BLUE, PEER, C, WEB)
    assert run(sender, ping(PEER, ME)).reason == Reason.DROP_SPOOFED_ADDRESS


def test_an_own_address_in_another_vpc_is_spoofing_here(sender: World) -> None:
    sender.local(RED, "10.0.0.88", MY_MAC)
    assert run(sender, ping("10.0.0.88", PEER)).reason == Reason.DROP_SPOOFED_ADDRESS


@PAIRS
def test_anothers_source_mac_is_spoofing(sender: World, me: str, peer: str) -> None:
    got = run(sender, ping(me, peer, hardware=PEER_MAC))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_SPOOFED_MAC)


def test_ipv4_mapped_in_ipv6_does_not_pass_for_ipv4(sender: World) -> None:
    sender.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    assert run(sender, ping(f"::ffff:{ME}", PEER6)).reason == Reason.DROP_MALFORMED
    assert run(sender, ping(ME6, f"::ffff:{PEER}")).reason == Reason.DROP_MALFORMED


def test_link_local_addresses_go_nowhere(sender: World) -> None:
    sender.bouncers(BLUE, WEB, B)
    assert run(sender, ping("fe80::1", PEER6)).reason == Reason.DROP_SPOOFED_ADDRESS
    assert run(sender, ping(ME6, "fe80::1")).reason == Reason.DROP_NO_ENDPOINT


def test_an_interface_without_owner_sends_nothing(world: World) -> None:
    got = run(world, ping(ME, PEER))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_UNKNOWN_INTERFACE)


@pytest.mark.parametrize("destination", ["224.0.0.251", "255.255.255.255", "ff02::16", "0.0.0.0"])
def test_multicast_and_broadcast_are_dropped(sender: World, destination: str) -> None:
    me = ME6 if ":" in destination else ME
    assert run(sender, ping(me, destination)).reason == Reason.DROP_MULTICAST


def test_a_dhcp_request_is_multicast_not_spoofing(sender: World) -> None:
    assert run(sender, ping("0.0.0.0", "255.255.255.255")).reason == Reason.DROP_MULTICAST


def test_unicast_in_a_broadcast_frame_is_dropped(sender: World) -> None:
    frame = ping(ME, PEER)
    frame.dst = "ff:ff:ff:ff:ff:ff"
    assert run(sender, frame).reason == Reason.DROP_MULTICAST


@pytest.mark.parametrize("kind", [0x88CC, 0x8847])
def test_other_protocols_are_dropped(sender: World, kind: int) -> None:
    frame = Ether(src=MY_MAC, dst=ROUTER, type=kind) / Raw(bytes(64))
    assert run(sender, frame).reason == Reason.DROP_NOT_IP


def test_tagged_frames_are_dropped(sender: World) -> None:
    frame = Ether(src=MY_MAC, dst=ROUTER) / Dot1Q(vlan=3) / IP(src=ME, dst=PEER)
    assert run(sender, frame).reason == Reason.DROP_NOT_IP


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=ME, dst=PEER, version=5) / UDP(),
        IP(src=ME, dst=PEER, ihl=4) / UDP(),
        IP(src=ME, dst=PEER, len=19) / UDP(),
        IP(src=ME, dst=PEER, len=29) / UDP(),
        IPv6(src=ME6, dst=PEER6, plen=9) / UDP(),
        IPv6(src=ME6, dst=PEER6, version=4) / UDP(),
        IPv6(src=ME6, dst=PEER6, nh=0) / Raw(b"\x11\x01" + bytes(6)),
        IPv6(src=ME6, dst=PEER6, nh=44) / Raw(b"\x11"),
    ],
    ids=lambda packet: packet.summary(),
)
def test_a_header_that_contradicts_itself_is_malformed(sender: World, packet: Packet) -> None:
    frame = Ether(src=MY_MAC, dst=ROUTER) / packet
    assert run(sender, frame).reason == Reason.DROP_MALFORMED


def test_an_endless_chain_of_extension_headers_is_malformed(sender: World) -> None:
    chain = ip(ME6, PEER6)
    for _ in range(7):
        chain /= IPv6ExtHdrDestOpt()
    frame = Ether(src=MY_MAC, dst=ROUTER) / chain / UDP()
    assert run(sender, frame).reason == Reason.DROP_MALFORMED


@pytest.mark.parametrize("length", range(14, 14 + 20))
def test_a_frame_cut_short_is_malformed(sender: World, length: int) -> None:
    cut = bytes(ping(ME, PEER))[:length]
    assert sender.bench.run("access", cut).reason == Reason.DROP_MALFORMED


# What has to survive


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=ME, dst=PEER, options=[IPOption(b"\x94\x04\x00\x00")]) / UDP() / b"hello",
        IP(src=ME, dst=PEER) / UDP(chksum=0) / b"hello",
        IP(src=ME, dst=PEER, flags="MF", id=9) / UDP(len=4000) / Raw(bytes(64)),
        IP(src=ME, dst=PEER, frag=185, id=9, proto=17) / Raw(bytes(64)),
        IP(src=ME, dst=PEER, ttl=1) / ICMP(),
        IPv6(src=ME6, dst=PEER6, hlim=1) / IPv6ExtHdrHopByHop() / UDP() / b"hello",
        IPv6(src=ME6, dst=PEER6)
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrDestOpt()
        / IPv6ExtHdrRouting(addresses=["2001:db8::9"])
        / UDP()
        / b"hello",
        IPv6(src=ME6, dst=PEER6) / IPv6ExtHdrFragment(m=1, id=9) / UDP() / Raw(bytes(64)),
        IPv6(src=ME6, dst=PEER6) / IPv6ExtHdrFragment(offset=9, id=9, nh=58) / Raw(b"\x88" * 64),
        IPv6(src=ME6, dst=PEER6, nh=59),
        IPv6(src=ME6, dst=PEER6, nh=50) / Raw(bytes(64)),
    ],
    ids=lambda packet: packet.summary()[:40],
)
def test_unusual_packets_arrive_as_they_were(sender: World, packet: Packet) -> None:
    sender.bouncers(BLUE, WEB, B)
    frame = bytes(Ether(src=MY_MAC, dst=ROUTER) / packet)
    got = sender.bench.run("access", frame)
    assert got.reason == Reason.SENT_BOUNCER
    assert got.frame.endswith(frame)


def test_a_frame_of_several_buffers_is_switched_whole(sender: World) -> None:
    theirs = sender.uplink(mtu=9000).local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    frame = Ether(src=MY_MAC, dst=ROUTER) / ip(ME, PEER) / UDP() / Raw(bytes(range(250)) * 34)
    got = run(sender, frame)
    assert got.reason == Reason.DELIVERED
    assert got.frame[14:] == bytes(frame)[14:]
    assert sender.traffic(theirs)["tx_bytes"] == len(frame)


def test_a_frame_of_several_buffers_is_sent_whole(sender: World) -> None:
    sender.uplink(mtu=9000).bouncers(BLUE, WEB, B)
    frame = Ether(src=MY_MAC, dst=ROUTER) / ip(ME, PEER) / UDP() / Raw(bytes(range(250)) * 34)
    got = run(sender, frame)
    assert got.reason == Reason.SENT_BOUNCER
    assert got.frame.endswith(bytes(frame))
    assert_right(Ether(got.frame))
