"""Hosts in the middle: bouncers, dividers, and what they send back."""

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage
from tests.bpf.frames import (
    BLUE,
    DB,
    ME,
    ME6,
    OTHER,
    OTHER6,
    PEER,
    PEER6,
    RED,
    WEB,
    B,
    C,
    D,
    Seen,
    flows,
    next_host,
    opened,
    ping,
    tunnel,
)
from tests.bpf.harness import INTERFACE, SELF, UPLINK, Outcome, World, Xdp, next_hop

PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])
STRANGER = "172.16.0.9"
EARLY = pytest.mark.parametrize("stage", [Stage.BOUNCER, Stage.DIVIDER, Stage.NETWORK])


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("transit", bytes(frame))


def relayed(world: World, frame: Packet, reason: Reason) -> Seen:
    """Run a relay; it must count `reason`, and change nothing but what a relay changes."""
    got = run(world, frame)
    assert (got.action, got.reason) == (Xdp.REDIRECT, reason)
    seen, before = opened(got.frame), opened(bytes(frame))
    assert (seen.outer.src, seen.ether.src) == (SELF, UPLINK)
    assert seen.ether.dst == next_hop(seen.outer.dst)
    assert seen.outer.ttl == before.outer.ttl - 1
    assert (seen.outer.tos, seen.outer.flags) == (before.outer.tos, before.outer.flags)
    assert (seen.udp.sport, seen.geneve.vni) == (before.udp.sport, before.geneve.vni)
    assert (seen.identity, seen.sender) == (before.identity, before.sender)
    assert bytes(seen.inner) == bytes(before.inner)
    return seen


# Bouncers


@PAIRS
@EARLY
def test_a_bouncer_sends_on_to_the_endpoints_host(
    world: World, me: str, peer: str, stage: Stage
) -> None:
    world.remote(BLUE, peer, C, WEB)
    frame = tunnel(ping(me, peer), stage, sender=B, outer={"tos": 0xBB, "ttl": 9})
    seen = relayed(world, frame, Reason.BOUNCED)
    assert (seen.outer.dst, seen.stage, seen.flags) == (C, Stage.HOST, OptionFlag.CRITICAL)


def test_the_verdict_of_the_senders_rules_travels_along(world: World) -> None:
    world.remote(BLUE, PEER, C, WEB)
    allowed = OptionFlag.EGRESS_ALLOWED
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, sender=B, flags=allowed)
    assert relayed(world, frame, Reason.BOUNCED).flags == OptionFlag.CRITICAL | allowed


def test_another_vpcs_endpoint_is_not_bounced_to(world: World) -> None:
    world.remote(RED, PEER, C, WEB)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, sender=B)
    assert run(world, frame).reason == Reason.RETURNED


def test_a_bouncer_asks_a_divider_for_another_networks_endpoint(world: World) -> None:
    world.dividers(BLUE, C)
    frame = tunnel(ping(ME, OTHER), Stage.BOUNCER, sender=B)
    seen = relayed(world, frame, Reason.RELAYED_DIVIDER)
    assert (seen.outer.dst, seen.stage) == (C, Stage.DIVIDER)


def test_a_bouncer_does_not_ask_the_divider_that_sent_it(world: World) -> None:
    world.dividers(BLUE, B, C)
    for frame in flows(tunnel(ping(ME, OTHER), Stage.BOUNCER, sender=B), 64):
        got = world.bench.run("transit", frame)
        assert (got.reason, next_host(got.frame)) == (Reason.RELAYED_DIVIDER, C)


# Dividers


@pytest.mark.parametrize("other", [OTHER, OTHER6])
@pytest.mark.parametrize("stage", [Stage.BOUNCER, Stage.DIVIDER])
def test_a_divider_sends_on_to_a_bouncer_of_the_network(
    world: World, other: str, stage: Stage
) -> None:
    world.network(BLUE, "10.0.1.0/24", DB).network(BLUE, "2001:db8:1::/64", DB)
    world.bouncers(BLUE, DB, C)
    frame = tunnel(ping(ME6 if ":" in other else ME, other), stage, sender=B)
    seen = relayed(world, frame, Reason.DIVIDED)
    assert (seen.outer.dst, seen.stage) == (C, Stage.NETWORK)


def test_a_divider_that_bounces_the_network_too_needs_no_other_bouncer(world: World) -> None:
    world.network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, SELF, D).remote(BLUE, OTHER, C, DB)
    frame = tunnel(ping(ME, OTHER), Stage.DIVIDER, sender=B)
    assert relayed(world, frame, Reason.BOUNCED).outer.dst == C


def test_a_divider_without_the_endpoints_row_asks_another_bouncer(world: World) -> None:
    world.network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, SELF, B, D)
    for frame in flows(tunnel(ping(ME, OTHER), Stage.DIVIDER, sender=C, source=B), 64):
        got = world.bench.run("transit", frame)
        assert (got.reason, next_host(got.frame)) == (Reason.DIVIDED, D)


@pytest.mark.parametrize("others", [(), (B,)])
def test_the_only_bouncers_left_say_that_there_is_no_endpoint(
    world: World, others: tuple[str, ...]
) -> None:
    world.network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, SELF, *others)
    frame = tunnel(ping(ME, OTHER), Stage.DIVIDER, sender=C, source=B)
    assert run(world, frame).reason == Reason.DROP_NO_ENDPOINT


def test_the_only_divider_says_that_there_is_no_network(world: World) -> None:
    world.dividers(BLUE, SELF)
    frame = tunnel(ping(ME, "192.0.2.1"), Stage.BOUNCER, sender=B)
    assert run(world, frame).reason == Reason.DROP_NO_NETWORK


@pytest.fixture
def spread(world: World) -> list[bytes]:
    """Flows from a host that is none of those they are spread over."""
    world.host(STRANGER).network(BLUE, "10.0.1.0/24", DB)
    return flows(tunnel(ping(ME, OTHER), Stage.BOUNCER, source=STRANGER, sender=STRANGER), 300)


def chosen(world: World, frames: list[bytes]) -> list[str]:
    return [next_host(world.bench.run("transit", each).frame) for each in frames]


def test_flows_spread_over_a_set_and_each_keeps_to_its_host(
    world: World, spread: list[bytes]
) -> None:
    world.bouncers(BLUE, DB, B, C, D)
    first = chosen(world, spread)
    assert chosen(world, spread) == first
    assert all(75 < first.count(host) < 125 for host in (B, C, D)), "about a third each"


def test_a_host_that_leaves_a_set_moves_only_its_own_flows(
    world: World, spread: list[bytes]
) -> None:
    world.bouncers(BLUE, DB, B, C, D)
    before = chosen(world, spread)
    world.bouncers(BLUE, DB, B, D)
    pairs = zip(before, chosen(world, spread), strict=True)
    moved = [old for old, new in pairs if old != new]
    assert moved == [C] * before.count(C)


# The underlay


@pytest.mark.parametrize("stage", [Stage.BOUNCER, Stage.DIVIDER, Stage.NETWORK])
def test_a_frame_of_several_buffers_is_sent_on_whole(world: World, stage: Stage) -> None:
    world.uplink(mtu=9000).remote(BLUE, PEER, C, WEB)
    inner = ping(ME, PEER) / Raw(bytes(range(250)) * 34)
    relayed(world, tunnel(inner, stage, sender=B), Reason.BOUNCED)


def test_a_frame_of_several_buffers_is_returned_whole(world: World) -> None:
    world.uplink(mtu=9000)
    inner = ping(ME, PEER) / Raw(bytes(range(250)) * 34)
    relayed(world, tunnel(inner, Stage.BOUNCER, sender=B), Reason.RETURNED)


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_used_up_ttl_ends_the_journey(world: World, ttl: int) -> None:
    world.remote(BLUE, PEER, C, WEB)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, sender=B, outer={"ttl": ttl})
    got = run(world, frame)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_TTL)


def test_the_inner_ttl_is_left_alone(world: World) -> None:
    world.remote(BLUE, PEER, C, WEB)
    relayed(world, tunnel(ping(ME, PEER, ttl=1), Stage.BOUNCER, sender=B), Reason.BOUNCED)


def test_without_a_next_hop_it_is_dropped(world: World) -> None:
    world.remote(BLUE, PEER, "172.16.0.99", WEB)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, sender=B)
    assert run(world, frame).reason == Reason.DROP_NO_NEXT_HOP


def test_a_smaller_uplink_is_minded(world: World) -> None:
    world.uplink(1, ifindex=INTERFACE + 1, mtu=100).host(C, uplink=1).remote(BLUE, PEER, C, WEB)
    small = tunnel(ping(ME, PEER), Stage.BOUNCER, sender=B)
    large = tunnel(ping(ME, PEER) / b"longer", Stage.BOUNCER, sender=B)
    assert len(small) - 14 <= 100 < len(large) - 14
    assert run(world, small).action == Xdp.REDIRECT
    assert run(world, large).reason == Reason.RETURNED_TOO_BIG


def test_a_wrong_outer_udp_checksum_is_not_passed_on(world: World) -> None:
    world.remote(BLUE, PEER, C, WEB)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, sender=B)
    frame[UDP].chksum = 0x1234
    assert opened(run(world, frame).frame).udp.chksum == 0
