"""What tc alone has: large segments, and what a card says of checksums."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage, Wire
from tests.bpf.frames import (
    BLUE,
    GATEWAY,
    GATEWAY6,
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
    ip,
    opened,
    ping,
    tunnel,
)
from tests.bpf.harness import INTERFACE, ROUTER, SELF, Bench, World, Xdp, run_tc

CHECKSUM_COMPLETE = 1 << 2  # BPF_F_TEST_SKB_CHECKSUM_COMPLETE of linux/bpf.h
PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])


@pytest.fixture(scope="module")
def programs() -> Iterator[Bench]:
    loaded = Bench(hook="tc")
    yield loaded
    loaded.close()


@pytest.fixture
def host(programs: Bench) -> Iterator[World]:
    made = World(programs)
    made.uplink().host(SELF)
    for other in (B, C, D):
        made.host(other)
    yield made
    made.clear()


@PAIRS
@pytest.mark.parametrize("tos", [0x02, 0x03])
def test_a_cards_sum_still_holds_of_what_an_endpoint_gets(
    host: World, me: str, peer: str, tos: int
) -> None:
    """The kernel compares it with the frame's own after the run; congestion marks change both."""
    host.local(BLUE, me, MY_MAC, ifindex=INTERFACE + 1)
    frame = tunnel(ping(peer, me, hardware=PEER_MAC, tos=0x02))
    frame["IP"].tos = tos
    del frame["IP"].chksum
    program = host.bench.programs["transit"]
    action, out = run_tc(program, bytes(frame), flags=CHECKSUM_COMPLETE)
    assert action == Xdp.REDIRECT
    inner = ping(peer, me, hardware=PEER_MAC, tos=tos)
    inner.src, inner.dst = ROUTER, MY_MAC
    assert out == bytes(inner)


@PAIRS
def test_a_large_segment_is_relayed_whole(host: World, me: str, peer: str) -> None:
    host.remote(BLUE, me, D)
    frame = tunnel(ping(peer, me, hardware=PEER_MAC), Stage.BOUNCER, sender=B)
    before = host.bench.reasons()
    action, _ = run_tc(host.bench.programs["transit"], bytes(frame), gso_size=20)
    counted = host.bench.reasons() - before
    assert (action, counted[Reason.BOUNCED]) == (Xdp.REDIRECT, 1)


@PAIRS
def test_frames_that_were_merged_on_the_way_are_dropped(host: World, me: str, peer: str) -> None:
    """As by rx-udp-gro-forwarding: lengths grow, and the second frame is payload of the first."""
    host.remote(BLUE, me, D)
    frame = tunnel(ping(peer, me, hardware=PEER_MAC), Stage.BOUNCER, sender=B)
    second = bytes(frame["UDP"].payload)
    frame["UDP"].len = 8 + 2 * len(second)
    frame["IP"].len = 20 + frame["UDP"].len
    before = host.bench.reasons()
    program, size = host.bench.programs["transit"], len(second)
    action, _ = run_tc(program, bytes(frame) + second, gso_size=size)
    counted = host.bench.reasons() - before
    assert (action, counted[Reason.DROP_MALFORMED]) == (Xdp.DROP, 1)


# Large segments that do not fit: what is cut into packets is as large as those


MTU = 1500 - Wire.OVERHEAD
WHOLE = 2500  # bytes of an IP packet, and more than any MTU here
TRANSPORTS = {
    "TCP": TCP(sport=1000, dport=80, flags="A"),
    "TCP with options": TCP(sport=1000, dport=80, flags="A", options=[("Timestamp", (1, 2))]),
    "UDP": UDP(sport=1000, dport=53),
}
TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS.keys())


def large(me: str, peer: str, *headers: Packet) -> tuple[Packet, int]:
    """An endpoint's frame around a packet of WHOLE bytes, and how many of them are headers."""
    packet = ip(me, peer)
    for each in headers:
        packet /= each
    size = len(packet)
    payload = Raw((bytes(range(256)) * 10)[: WHOLE - size])
    return Ether(src=MY_MAC, dst=ROUTER) / packet / payload, size


def outcome(host: World, program: str, frame: Packet, segment: int) -> tuple[Reason, bytes]:
    """What becomes of a large segment, of which each packet has `segment` bytes of payload."""
    before = host.bench.reasons()
    loaded = host.bench.programs[program]
    _, out = run_tc(loaded, bytes(frame), gso_size=segment)
    counted = host.bench.reasons() - before
    assert counted.sum() == 1
    return Reason(int(counted.argmax())), out


@pytest.fixture
def sender(host: World) -> World:
    """An endpoint's host, which asks a bouncer for everybody."""
    host.interface(BLUE, WEB).bouncers(BLUE, WEB, B).router(BLUE, WEB, GATEWAY, GATEWAY6)
    for own in (ME, ME6):
        host.local(BLUE, own, MY_MAC, network=WEB)
    return host


@PAIRS
@TRANSPORT
def test_a_segment_is_not_too_big_if_its_packets_fit(
    sender: World, me: str, peer: str, transport: Packet
) -> None:
    """A test run's segment is of no type, so that the kernel puts no headers around it: it refuses,
    once the packets were found to fit. tests/netns/test_tc.py sends real ones.
    """
    frame, headers = large(me, peer, transport)
    reason, _ = outcome(sender, "access", frame, MTU - headers)
    assert reason in (Reason.SENT_BOUNCER, Reason.DROP_HELPER)


@PAIRS
@TRANSPORT
def test_of_a_segment_whose_packets_do_not_fit_its_sender_hears_what_would(
    sender: World, me: str, peer: str, transport: Packet
) -> None:
    frame, headers = large(me, peer, transport)
    reason, out = outcome(sender, "access", frame, MTU - headers + 1)
    assert reason == Reason.ANSWERED_TOO_BIG
    answer = Ether(out)
    assert_right(answer)
    heard = answer.payload
    assert (answer.dst, heard.src, heard.dst) == (MY_MAC, GATEWAY6 if ":" in me else GATEWAY, me)
    assert (heard[ICMPv6PacketTooBig].mtu if ":" in me else heard[ICMP].nexthopmtu) == MTU
    quote = bytes(heard)[48 if ":" in me else 28 :]
    assert quote == bytes(frame.payload)[: len(quote)]


def test_a_segment_behind_extension_headers_counts_whole(sender: World) -> None:
    frame, _ = large(ME6, PEER6, IPv6ExtHdrDestOpt(), TRANSPORTS["TCP"])
    assert outcome(sender, "access", frame, 500)[0] == Reason.ANSWERED_TOO_BIG


@PAIRS
@TRANSPORT
def test_a_relays_narrower_way_counts_for_the_packets_of_a_segment(
    host: World, me: str, peer: str, transport: Packet
) -> None:
    host.uplink(1, ifindex=INTERFACE + 1, mtu=1400).host(D, uplink=1).remote(BLUE, peer, D)
    inner, headers = large(me, peer, transport)
    frame = tunnel(inner, Stage.BOUNCER, source=B, sender=C)
    fits = 1400 - Wire.OVERHEAD
    assert outcome(host, "transit", frame, fits - headers)[0] == Reason.BOUNCED
    reason, out = outcome(host, "transit", frame, fits - headers + 1)
    assert reason == Reason.RETURNED_TOO_BIG
    back = opened(out)
    assert (back.outer.dst, back.identity, back.flags) == (
        C,
        fits,
        OptionFlag.CRITICAL | OptionFlag.TOO_BIG,
    )
    assert bytes(back.inner) == bytes(inner)
