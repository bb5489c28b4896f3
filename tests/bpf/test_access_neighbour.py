"""Neighbour discovery of endpoints: answered as ARP is, and never let out of the host."""

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from reconciler.abi.generated import Reason
from tests.bpf.frames import BLUE, GATEWAY6, ME6, MY_MAC, PEER6, PEER_MAC, WEB, assert_right
from tests.bpf.harness import ROUTER, Outcome, World, Xdp, link_local

MY_LINK_LOCAL = link_local(MY_MAC)
NONCE = ICMPv6NDOptUnknown(type=14, len=1, data=b"abcdef")  # RFC 7527, as Linux sends it


@pytest.fixture
def asker(world: World) -> World:
    world.interface(BLUE, WEB).gateway(BLUE, GATEWAY6)
    world.local(BLUE, ME6, MY_MAC, network=WEB)
    return world


def head(source: str, destination: str = "ff02::1:ff00:2", hops: int = 255) -> Packet:
    return Ether(src=MY_MAC, dst="33:33:ff:00:00:02") / IPv6(src=source, dst=destination, hlim=hops)


def ask(source: str, target: str, hardware: str = MY_MAC) -> Packet:
    return head(source) / ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=hardware)


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("access", bytes(frame))


@pytest.mark.parametrize("target", [GATEWAY6, PEER6])
@pytest.mark.parametrize("source", [ME6, MY_LINK_LOCAL])
def test_any_other_address_is_answered_with_the_routers_mac(
    asker: World, source: str, target: str
) -> None:
    got = run(asker, ask(source, target))
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.ANSWERED)
    answer = Ether(got.frame)
    assert_right(answer)
    assert (answer.dst, answer.src) == (MY_MAC, ROUTER)
    assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim) == (target, source, 255)
    advert = answer[ICMPv6ND_NA]
    assert (advert.R, advert.S, advert.O, advert.tgt) == (1, 1, 1, target)
    assert advert[ICMPv6NDOptDstLLAddr].lladdr == ROUTER
    assert len(got.frame) == 86


def test_a_probe_of_reachability_without_options_is_answered(asker: World) -> None:
    frame = head(ME6, GATEWAY6) / ICMPv6ND_NS(tgt=GATEWAY6)
    frame.dst = ROUTER
    got = run(asker, frame)
    assert got.reason == Reason.ANSWERED
    assert_right(Ether(got.frame))


def test_options_before_and_behind_the_link_layer_address_do_not_matter(asker: World) -> None:
    frame = head(ME6) / ICMPv6ND_NS(tgt=GATEWAY6) / NONCE
    got = run(asker, frame / ICMPv6NDOptSrcLLAddr(lladdr=MY_MAC))
    assert got.reason == Reason.ANSWERED
    assert len(got.frame) == 86
    assert_right(Ether(got.frame))


@pytest.mark.parametrize("nonce", [False, True])
@pytest.mark.parametrize("target", [ME6, MY_LINK_LOCAL])
def test_duplicate_address_detection_of_own_addresses_stays_unanswered(
    asker: World, target: str, nonce: bool
) -> None:
    frame = head("::") / ICMPv6ND_NS(tgt=target)
    got = run(asker, frame / NONCE if nonce else frame)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.UNANSWERED)


@pytest.mark.parametrize("nonce", [False, True])
def test_duplicate_address_detection_finds_anothers_address_taken(
    asker: World, nonce: bool
) -> None:
    frame = head("::") / ICMPv6ND_NS(tgt=PEER6)
    got = run(asker, frame / NONCE if nonce else frame)
    assert got.reason == Reason.ANSWERED
    answer = Ether(got.frame)
    assert_right(answer)
    assert (answer.dst, answer[IPv6].dst) == ("33:33:00:00:00:01", "ff02::1")
    assert (answer[ICMPv6ND_NA].S, answer[ICMPv6ND_NA].tgt) == (0, PEER6)


def test_a_solicitation_from_anothers_address_is_spoofing(asker: World) -> None:
    assert run(asker, ask(PEER6, GATEWAY6)).reason == Reason.DROP_SPOOFED_ADDRESS


def test_a_link_layer_address_that_is_not_the_frames_own_is_spoofing(asker: World) -> None:
    assert run(asker, ask(ME6, GATEWAY6, PEER_MAC)).reason == Reason.DROP_SPOOFED_MAC


def test_another_mac_throughout_is_spoofing(asker: World) -> None:
    frame = ask(ME6, GATEWAY6, PEER_MAC)
    frame.src = PEER_MAC
    assert run(asker, frame).reason == Reason.DROP_SPOOFED_MAC


def test_a_probe_that_states_a_link_layer_address_is_malformed(asker: World) -> None:
    assert run(asker, ask("::", PEER6)).reason == Reason.DROP_MALFORMED


def test_an_option_without_length_is_malformed(asker: World) -> None:
    frame = bytearray(bytes(ask(ME6, GATEWAY6)))
    frame[-7] = 0
    assert asker.bench.run("access", bytes(frame)).reason == Reason.DROP_MALFORMED


@pytest.mark.parametrize("target", ["ff02::1", "::ffff:10.0.0.2"])
def test_a_target_that_nobody_can_have_is_malformed(asker: World, target: str) -> None:
    assert run(asker, ask(ME6, target)).reason == Reason.DROP_MALFORMED


def test_a_routed_solicitation_is_malformed(asker: World) -> None:
    frame = head(ME6, hops=254) / ICMPv6ND_NS(tgt=GATEWAY6)
    assert run(asker, frame).reason == Reason.DROP_MALFORMED


def test_advertising_the_own_address_is_heard(asker: World) -> None:
    frame = head(ME6, "ff02::1") / ICMPv6ND_NA(tgt=ME6) / ICMPv6NDOptDstLLAddr(lladdr=MY_MAC)
    assert run(asker, frame).reason == Reason.UNANSWERED


@pytest.mark.parametrize("target", [PEER6, GATEWAY6])
@pytest.mark.parametrize("destination", ["ff02::1", PEER6])
def test_advertising_anothers_address_is_spoofing(
    asker: World, target: str, destination: str
) -> None:
    advert = ICMPv6ND_NA(tgt=target) / ICMPv6NDOptDstLLAddr(lladdr=MY_MAC)
    frame = head(ME6, destination) / advert
    assert run(asker, frame).reason == Reason.DROP_SPOOFED_ADDRESS


def test_advertising_another_mac_is_spoofing(asker: World) -> None:
    frame = head(ME6, "ff02::1") / ICMPv6ND_NA(tgt=ME6) / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC)
    assert run(asker, frame).reason == Reason.DROP_SPOOFED_MAC


@pytest.mark.parametrize("message", [ICMPv6ND_RS(), ICMPv6ND_RA()], ids=["solicit", "advertise"])
@pytest.mark.parametrize("destination", ["ff02::1", PEER6])
def test_router_discovery_never_leaves_the_host(
    asker: World, message: Packet, destination: str
) -> None:
    got = run(asker, head(MY_LINK_LOCAL, destination) / message)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_MULTICAST)


@pytest.mark.parametrize("hider", [IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(m=1)])
def test_discovery_hidden_behind_extension_headers_never_leaves_the_host(
    asker: World, hider: Packet
) -> None:
    frame = head(ME6, PEER6) / hider / ICMPv6ND_NA(tgt=GATEWAY6)
    frame.dst = ROUTER
    assert run(asker, frame).reason == Reason.DROP_MALFORMED


def test_a_solicitation_cut_short_is_malformed(asker: World) -> None:
    frame = head(ME6, PEER6) / ICMPv6ND_NS(tgt=GATEWAY6)
    frame[IPv6].plen = 20
    cut = bytes(frame)[: 14 + 40 + 20]
    assert asker.bench.run("access", cut).reason == Reason.DROP_MALFORMED
