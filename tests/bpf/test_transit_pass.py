"""What is not ours on the underlay is left to the kernel's stack, byte for byte."""

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage, Wire
from tests.bpf.frames import BLUE, ME, MY_MAC, PEER, B, option, ping, tunnel
from tests.bpf.harness import ROUTER, SELF, UPLINK, World, Xdp

STRANGER = "192.0.2.7"
UNKNOWN = GeneveOptions(classid=0x0102, type=1, data=b"abcd")
UNKNOWN_CRITICAL = GeneveOptions(classid=0x0102, type=0x81, data=b"abcd")


@pytest.fixture
def receiver(world: World) -> World:
    """The inner packets below would be delivered, were the outer ones ours."""
    world.local(BLUE, ME, MY_MAC)
    return world


def underlay(*layers: Packet, **fields: object) -> Packet:
    frame = Ether(src="02:bb:00:00:00:ff", dst=UPLINK)
    for layer in (IP(src=B, dst=SELF, **fields), *layers):
        frame /= layer
    return frame


def tagged() -> Packet:
    frame = tunnel(ping(PEER, ME))
    return Ether(src=frame.src, dst=frame.dst) / Dot1Q(vlan=5) / frame[IP]


def over_ipv6() -> Packet:
    frame = tunnel(ping(PEER, ME))
    return Ether(src=frame.src, dst=frame.dst) / IPv6(src="fd00::2", dst="fd00::1") / frame[UDP]


CASES = {
    "ARP": Ether(dst=UPLINK) / ARP(psrc=B, pdst=SELF),
    "ping": underlay(ICMP()),
    "TCP to our port": underlay(TCP(dport=Wire.PORT)),
    "another UDP port": underlay(UDP(dport=4789) / Raw(bytes(64))),
    "DHCP": underlay(UDP(sport=67, dport=68) / Raw(bytes(240))),
    "UDP to our port of another address": tunnel(ping(PEER, ME), destination="172.16.0.77"),
    "broadcast": tunnel(ping(PEER, ME), destination="255.255.255.255"),
    "first fragment": tunnel(ping(PEER, ME), outer={"flags": "MF"}),
    "later fragment": tunnel(ping(PEER, ME), outer={"frag": 1, "flags": 0}),
    "VLAN": tagged(),
    "IPv6": over_ipv6(),
    "our port, too short for Geneve": underlay(UDP(dport=Wire.PORT) / b"1234567"),
    "another version of Geneve": underlay(UDP(dport=Wire.PORT) / Raw(b"\x40" + bytes(63))),
    "Geneve without options": tunnel(ping(PEER, ME), options=[]),
    "Geneve with another option": tunnel(ping(PEER, ME), options=[UNKNOWN]),
    "Geneve with another critical option": tunnel(
        ping(PEER, ME), options=[UNKNOWN_CRITICAL, option(Stage.HOST)]
    ),
    "Geneve from a stranger without our option": tunnel(
        ping(PEER, ME), source=STRANGER, options=[UNKNOWN]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_ours_passes_untouched(receiver: World, name: str) -> None:
    frame = bytes(CASES[name])
    got = receiver.bench.run("transit", frame)
    assert (got.action, got.reason) == (Xdp.PASS, Reason.PASSED)
    assert got.frame == frame


@pytest.mark.parametrize("length", range(14, 54))
def test_a_frame_cut_before_our_option_passes(receiver: World, length: int) -> None:
    frame = bytes(tunnel(ping(PEER, ME)))[:length]
    assert receiver.bench.run("transit", frame).reason == Reason.PASSED


def test_options_that_claim_more_than_there_is_pass(receiver: World) -> None:
    frame = bytearray(bytes(tunnel(ping(PEER, ME))))
    frame[14 + 20 + 8] = 0x3F  # 252 bytes of options
    assert receiver.bench.run("transit", bytes(frame)).reason == Reason.PASSED


def test_an_option_longer_than_all_options_passes(receiver: World) -> None:
    frame = bytearray(bytes(tunnel(ping(PEER, ME))))
    frame[14 + 20 + 8 + 8 + 3] = 0x1F  # 124 bytes of body in 4 bytes
    assert receiver.bench.run("transit", bytes(frame)).reason == Reason.PASSED


@pytest.mark.parametrize("before", [0, 1, 3])
def test_our_option_is_found_among_others(receiver: World, before: int) -> None:
    options = [UNKNOWN] * before + [option(Stage.HOST)] + [UNKNOWN] * (3 - before)
    got = receiver.bench.run("transit", bytes(tunnel(ping(PEER, ME), options=options)))
    assert got.reason == Reason.DELIVERED


def test_the_bare_header_of_someone_elses_geneve_passes(receiver: World) -> None:
    frame = underlay(UDP(dport=Wire.PORT), GENEVE(vni=BLUE, proto=0x6558))
    assert receiver.bench.run("transit", bytes(frame)).reason == Reason.PASSED


def test_an_outer_header_with_ip_options_is_ours_all_the_same(receiver: World) -> None:
    frame = tunnel(ping(PEER, ME), outer={"options": [IPOption(b"\x01\x01\x01\x00")]})
    assert receiver.bench.run("transit", bytes(frame)).reason == Reason.DELIVERED


def test_our_option_from_a_stranger_is_not_believed(receiver: World) -> None:
    got = receiver.bench.run("transit", bytes(tunnel(ping(PEER, ME), source=STRANGER)))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_UNKNOWN_HOST)


def test_our_own_address_from_outside_is_not_believed(receiver: World) -> None:
    got = receiver.bench.run("transit", bytes(tunnel(ping(PEER, ME), source=SELF)))
    assert got.reason == Reason.DROP_UNKNOWN_HOST


def test_a_forged_direct_path_from_a_stranger_is_not_learned(receiver: World) -> None:
    receiver.bench.run("transit", bytes(tunnel(ping(PEER, ME), source=STRANGER)))
    assert receiver.path(BLUE, PEER) is None


CONTRADICTIONS = {
    "IP says more than there is": tunnel(ping(PEER, ME), outer={"len": 400}),
    "IP ends before the inner frame": tunnel(ping(PEER, ME), outer={"len": 40}),
    "stage 0": tunnel(ping(PEER, ME), Stage.ACCESS, sender=B),
    "stage 5": tunnel(ping(PEER, ME), options=[option(5)]),
    "not critical": tunnel(ping(PEER, ME), options=[option(Stage.HOST, kind=0)]),
    "relayed, but nobody's": tunnel(ping(PEER, ME), Stage.BOUNCER),
    "no inner frame": tunnel(Raw(b"")),
    "inner frame cut short": tunnel(Raw(bytes(13))),
    "inner IP cut short": tunnel(Ether(dst=ROUTER, type=0x0800) / Raw(bytes(19))),
    "inner IP says more than there is": tunnel(ping(PEER, ME, len=400)),
    "inner IPv6 says more than there is": tunnel(
        Ether(dst=ROUTER) / IPv6(src="2001:db8::1", dst="2001:db8::2", plen=400) / UDP()
    ),
    "inner IPv4 mapped in IPv6": tunnel(ping("2001:db8::2", f"::ffff:{ME}")),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_frame_of_ours_that_contradicts_itself_is_malformed(receiver: World, name: str) -> None:
    got = receiver.bench.run("transit", bytes(CONTRADICTIONS[name]))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_MALFORMED)


@pytest.mark.parametrize(
    ("layer", "field", "value"),
    [
        (UDP, "len", 50),
        (GENEVE, "proto", 0x0800),
        (GENEVE, "oam", 1),
        (GENEVE, "critical", 0),
    ],
)
def test_a_field_of_ours_that_is_never_so_is_malformed(
    receiver: World, layer: type[Packet], field: str, value: int
) -> None:
    frame = tunnel(ping(PEER, ME))
    setattr(frame[layer], field, value)
    assert receiver.bench.run("transit", bytes(frame)).reason == Reason.DROP_MALFORMED


def test_an_option_body_of_another_length_is_malformed(receiver: World) -> None:
    kind = OptionFlag.CRITICAL | Stage.HOST
    for length in (0, 12):
        ours = GeneveOptions(classid=Wire.OPTION_CLASS, type=kind, data=bytes(length))
        got = receiver.bench.run("transit", bytes(tunnel(ping(PEER, ME), options=[ours])))
        assert got.reason == Reason.DROP_MALFORMED
