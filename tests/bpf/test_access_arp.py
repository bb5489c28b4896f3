"""ARP of endpoints: the virtual router answers for everybody but the one who asks."""

import pytest
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from reconciler.abi.generated import Reason
from tests.bpf.frames import BLUE, GATEWAY, ME, MY_MAC, PEER, PEER_MAC, RED, WEB
from tests.bpf.harness import INTERFACE, ROUTER, Outcome, World, Xdp

BROADCAST = "ff:ff:ff:ff:ff:ff"


@pytest.fixture
def asker(world: World) -> World:
    """An endpoint with two addresses on the interface of the run."""
    world.interface(BLUE, WEB).gateway(BLUE, GATEWAY)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    world.local(BLUE, "10.0.0.77", MY_MAC, network=WEB)
    return world


def ask(source: str, target: str, hardware: str = MY_MAC, **fields: object) -> Packet:
    return Ether(src=MY_MAC, dst=BROADCAST) / ARP(
        op=1, hwsrc=hardware, psrc=source, pdst=target, **fields
    )


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("access", bytes(frame))


@pytest.mark.parametrize("target", [GATEWAY, PEER, "192.0.2.1"])
def test_any_other_address_is_answered_with_the_routers_mac(asker: World, target: str) -> None:
    got = run(asker, ask(ME, target))
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.ANSWERED)
    answer = Ether(got.frame)
    assert (answer.dst, answer.src) == (MY_MAC, ROUTER)
    assert answer[ARP].op == 2
    assert (answer[ARP].hwsrc, answer[ARP].psrc) == (ROUTER, target)
    assert (answer[ARP].hwdst, answer[ARP].pdst) == (MY_MAC, ME)


def test_an_answer_to_a_padded_request_keeps_its_length(asker: World) -> None:
    frame = bytes(ask(ME, GATEWAY)) + bytes(18)
    assert len(asker.bench.run("access", frame).frame) == 60


def test_a_probe_for_the_own_address_stays_unanswered(asker: World) -> None:
    got = run(asker, ask("0.0.0.0", ME))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.UNANSWERED)


def test_a_probe_for_anothers_address_finds_it_taken(asker: World) -> None:
    got = run(asker, ask("0.0.0.0", PEER))
    assert got.reason == Reason.ANSWERED
    assert Ether(got.frame)[ARP].hwsrc == ROUTER


@pytest.mark.parametrize("target", [ME, "10.0.0.77"])
def test_an_own_address_stays_unanswered(asker: World, target: str) -> None:
    assert run(asker, ask(ME, target)).reason == Reason.UNANSWERED


def test_a_gratuitous_reply_for_the_own_address_is_heard(asker: World) -> None:
    frame = ask(ME, ME)
    frame[ARP].op = 2
    assert run(asker, frame).reason == Reason.UNANSWERED


@pytest.mark.parametrize("operation", [1, 2])
@pytest.mark.parametrize("claimed", [PEER, GATEWAY])
def test_claiming_anothers_address_is_spoofing(asker: World, operation: int, claimed: str) -> None:
    frame = ask(claimed, claimed)
    frame[ARP].op = operation
    got = run(asker, frame)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_SPOOFED_ADDRESS)


def test_an_address_of_the_same_vpc_on_another_interface_is_spoofing(asker: World) -> None:
    asker.local(BLUE, PEER, MY_MAC, ifindex=INTERFACE + 1)
    assert run(asker, ask(PEER, GATEWAY)).reason == Reason.DROP_SPOOFED_ADDRESS


def test_an_own_address_in_another_vpc_is_spoofing_here(asker: World) -> None:
    asker.local(RED, "10.0.0.88", MY_MAC)
    assert run(asker, ask("10.0.0.88", GATEWAY)).reason == Reason.DROP_SPOOFED_ADDRESS


def test_claiming_another_mac_inside_is_spoofing(asker: World) -> None:
    assert run(asker, ask(ME, GATEWAY, PEER_MAC)).reason == Reason.DROP_SPOOFED_MAC


def test_another_mac_throughout_is_spoofing(asker: World) -> None:
    frame = ask(ME, GATEWAY, PEER_MAC)
    frame.src = PEER_MAC
    assert run(asker, frame).reason == Reason.DROP_SPOOFED_MAC


@pytest.mark.parametrize("octet", [15, 16, 18, 19], ids="hardware protocol hwlen plen".split())
def test_arp_for_anything_but_ipv4_over_ethernet_is_malformed(asker: World, octet: int) -> None:
    frame = bytearray(bytes(ask(ME, GATEWAY)))
    frame[octet] ^= 0x10
    assert asker.bench.run("access", bytes(frame)).reason == Reason.DROP_MALFORMED


def test_a_request_cut_short_is_malformed(asker: World) -> None:
    frame = bytes(ask(ME, GATEWAY))[:41]
    assert asker.bench.run("access", frame).reason == Reason.DROP_MALFORMED
