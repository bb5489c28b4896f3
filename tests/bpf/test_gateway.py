"""The gateway's address: it answers echo, delivers nothing, and is nobody's source."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import Reason
from tests.bpf.frames import (
    BLUE,
    GATEWAY,
    GATEWAY6,
    ME,
    ME6,
    MY_MAC,
    RED,
    WEB,
    assert_right,
    ping,
    tunnel,
)
from tests.bpf.harness import ROUTER, Outcome, World, Xdp


@pytest.fixture
def sender(world: World) -> World:
    world.interface(BLUE, WEB).gateway(BLUE, GATEWAY).gateway(BLUE, GATEWAY6)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    world.local(BLUE, ME6, MY_MAC, network=WEB)
    return world


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("access", bytes(frame))


@pytest.mark.parametrize("options", [[], [IPOption(b"\x94\x04\x00\x00")]], ids=["plain", "options"])
def test_it_answers_an_ipv4_echo(sender: World, options: list[IPOption]) -> None:
    echo = ICMP(id=77, seq=3) / b"some payload of odd length"
    got = run(
        sender, Ether(src=MY_MAC, dst=ROUTER) / IP(src=ME, dst=GATEWAY, options=options) / echo
    )
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.ANSWERED)
    answer = Ether(got.frame)
    assert_right(answer)
    assert (answer.dst, answer.src) == (MY_MAC, ROUTER)
    assert (answer[IP].src, answer[IP].dst) == (GATEWAY, ME)
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 77, 3)
    assert answer[Raw].load == b"some payload of odd length"


def test_it_answers_an_ipv6_echo(sender: World) -> None:
    echo = ICMPv6EchoRequest(id=77, seq=3, data=b"some payload of odd length")
    got = run(sender, Ether(src=MY_MAC, dst=ROUTER) / IPv6(src=ME6, dst=GATEWAY6) / echo)
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.ANSWERED)
    answer = Ether(got.frame)
    assert_right(answer)
    assert (answer.dst, answer.src) == (MY_MAC, ROUTER)
    assert (answer[IPv6].src, answer[IPv6].dst) == (GATEWAY6, ME6)
    reply = answer[ICMPv6EchoReply]
    assert (reply.id, reply.seq, reply.data) == (77, 3, b"some payload of odd length")


@pytest.mark.parametrize("sequence", range(0, 65536, 4369))
def test_its_checksums_are_right_for_any_sum(sender: World, sequence: int) -> None:
    echo = ICMP(id=0xFFFF - sequence, seq=sequence)
    got = run(sender, Ether(src=MY_MAC, dst=ROUTER) / IP(src=ME, dst=GATEWAY) / echo)
    assert_right(Ether(got.frame))


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=ME, dst=GATEWAY) / UDP(dport=53) / b"hello",
        IP(src=ME, dst=GATEWAY) / ICMP(type=0),
        IP(src=ME, dst=GATEWAY) / ICMP(type=8, code=1),
        IP(src=ME, dst=GATEWAY, flags="MF") / ICMP() / Raw(bytes(64)),
        IP(src=ME, dst=GATEWAY, proto=1) / Raw(b"\x08"),
        IPv6(src=ME6, dst=GATEWAY6) / ICMPv6EchoReply(),
        IPv6(src=ME6, dst=GATEWAY6) / ICMPv6DestUnreach() / IPv6(),
        IPv6(src=ME6, dst=GATEWAY6) / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest(),
        IPv6(src=ME6, dst=GATEWAY6, nh=1) / ICMP(),
        IP(src=ME, dst=GATEWAY, proto=58) / ICMPv6EchoRequest(),
    ],
    ids=lambda packet: packet.summary()[:50],
)
def test_it_answers_nothing_else(sender: World, packet: Packet) -> None:
    got = run(sender, Ether(src=MY_MAC, dst=ROUTER) / packet)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_NO_ENDPOINT)


@pytest.mark.parametrize("me", [ME, ME6])
def test_it_answers_an_echo_of_several_buffers(sender: World, me: str) -> None:
    load = Raw(bytes(range(250)) * 34)
    got = run(sender, ping(me, GATEWAY6 if ":" in me else GATEWAY) / load)
    assert got.reason == Reason.ANSWERED
    assert_right(Ether(got.frame))
    assert got.frame.endswith(bytes(load))


def test_an_endpoint_cannot_send_as_the_gateway(sender: World) -> None:
    assert run(sender, ping(GATEWAY, ME)).reason == Reason.DROP_SPOOFED_ADDRESS


def test_another_vpcs_gateway_does_not_answer(sender: World) -> None:
    sender.gateway(RED, "10.0.0.253")
    assert run(sender, ping(ME, "10.0.0.253")).reason == Reason.DROP_NO_BOUNCER


def test_from_the_underlay_it_is_no_endpoint(sender: World) -> None:
    got = sender.bench.run("transit", bytes(tunnel(ping("10.0.1.9", GATEWAY))))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_NO_ENDPOINT)
