"""What tc alone has: large segments, and what a card says of checksums."""

from collections.abc import Iterator

import pytest

from reconciler.abi.generated import Reason, Stage
from tests.bpf.frames import (
    BLUE,
    ME,
    ME6,
    MY_MAC,
    PEER,
    PEER6,
    PEER_MAC,
    B,
    C,
    D,
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
