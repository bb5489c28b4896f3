"""The outer source port: from the inner flow, and from nothing that is not certainly a port."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from tests.bpf.frames import BLUE, ME, ME6, MY_MAC, PEER, PEER6, WEB, B, opened
from tests.bpf.harness import ROUTER, World

OPTION = IPOption(b"\x94\x04\x00\x00")


@pytest.fixture
def sender(world: World) -> World:
    world.interface(BLUE, WEB).bouncers(BLUE, WEB, B)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    world.local(BLUE, ME6, MY_MAC, network=WEB)
    return world


def port(world: World, packet: Packet) -> int:
    got = world.bench.run("access", bytes(Ether(src=MY_MAC, dst=ROUTER) / packet))
    return int(opened(got.frame).udp.sport)


@pytest.mark.parametrize(
    "head", [IP(src=ME, dst=PEER), IPv6(src=ME6, dst=PEER6)], ids=["IPv4", "IPv6"]
)
@pytest.mark.parametrize("transport", [UDP, TCP, SCTP])
def test_flows_between_two_endpoints_spread_over_many_ports(
    sender: World, head: Packet, transport: type[Packet]
) -> None:
    ports = [port(sender, head / transport(sport=40000 + i, dport=443)) for i in range(64)]
    assert all(49152 <= each <= 65535 for each in ports)
    assert len(set(ports)) >= 62
    assert {each % 4 for each in ports} == {0, 1, 2, 3}, "queues are chosen by low bits"


def test_a_flow_keeps_its_port(sender: World) -> None:
    packets = [IP(src=ME, dst=PEER, id=i) / TCP(sport=5, dport=6, seq=i) / bytes(i) for i in (1, 9)]
    assert len({port(sender, each) for each in packets}) == 1


def test_every_fragment_of_a_packet_has_the_same_port(sender: World) -> None:
    head = {"src": ME, "dst": PEER, "id": 7}
    first = IP(**head, flags="MF") / UDP(sport=1, dport=2, len=4000) / Raw(bytes(64))
    middle = IP(**head, flags="MF", frag=9, proto=17) / Raw(b"\x11" * 64)
    last = IP(**head, frag=18, proto=17) / Raw(b"\x22" * 64)
    assert len({port(sender, each) for each in (first, middle, last)}) == 1


def test_every_ipv6_fragment_has_the_same_port(sender: World) -> None:
    head = IPv6(src=ME6, dst=PEER6)
    first = head / IPv6ExtHdrFragment(m=1, id=7) / UDP(sport=1, dport=2) / Raw(bytes(64))
    last = head / IPv6ExtHdrFragment(offset=9, id=7, nh=17) / Raw(b"\x22" * 64)
    assert len({port(sender, each) for each in (first, last)}) == 1


def test_ip_options_are_not_taken_for_ports(sender: World) -> None:
    udp = UDP(sport=1000, dport=53)
    plain = port(sender, IP(src=ME, dst=PEER) / udp)
    assert port(sender, IP(src=ME, dst=PEER, options=[OPTION]) / udp) == plain
    assert port(sender, IP(src=ME, dst=PEER, options=[OPTION] * 3) / udp) == plain


def test_extension_headers_are_not_taken_for_ports(sender: World) -> None:
    udp = UDP(sport=1000, dport=53)
    plain = port(sender, IPv6(src=ME6, dst=PEER6) / udp)
    chain = IPv6(src=ME6, dst=PEER6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
    assert port(sender, chain / udp) == plain


def test_what_has_no_ports_goes_by_addresses(sender: World) -> None:
    assert port(sender, IP(src=ME, dst=PEER) / ICMP(id=1)) == port(
        sender, IP(src=ME, dst=PEER) / ICMP(id=2)
    )
    ports = {port(sender, IP(src=ME, dst=f"10.0.7.{i}") / ICMP()) for i in range(64)}
    assert len(ports) >= 62
