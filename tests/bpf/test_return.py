"""Return to sender: what a host cannot serve goes back once, and the next candidate is tried."""

import pytest
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage
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
    Seen,
    opened,
    ping,
    tunnel,
)
from tests.bpf.harness import SELF, Outcome, World, Xdp

PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])
BACK = OptionFlag.RETURNED
AGAIN = OptionFlag.RETRIED
CRITICAL = OptionFlag.CRITICAL


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("transit", bytes(frame))


def sent(world: World, frame: Packet, reason: Reason) -> Seen:
    got = run(world, frame)
    assert (got.action, got.reason) == (Xdp.REDIRECT, reason)
    return opened(got.frame)


# The host that cannot serve it


@PAIRS
def test_a_direct_packet_for_nobody_here_goes_back(world: World, me: str, peer: str) -> None:
    frame = tunnel(ping(peer, me), source=C)
    seen = sent(world, frame, Reason.RETURNED)
    assert (seen.outer.src, seen.outer.dst) == (SELF, C)
    assert (seen.stage, seen.flags) == (Stage.HOST, CRITICAL | BACK)
    assert bytes(seen.inner) == bytes(opened(bytes(frame)).inner)


@pytest.mark.parametrize("stage", [Stage.BOUNCER, Stage.DIVIDER, Stage.NETWORK, Stage.HOST])
def test_a_relayed_packet_for_nobody_here_goes_back_to_the_relay(
    world: World, stage: Stage
) -> None:
    seen = sent(world, tunnel(ping(PEER, ME), stage, source=B, sender=C), Reason.RETURNED)
    assert (seen.outer.dst, seen.sender) == (B, C)
    assert (seen.stage, seen.flags) == (stage, CRITICAL | BACK)


def test_a_direct_packet_is_not_bounced_but_returned(world: World) -> None:
    world.remote(BLUE, PEER, D, WEB)
    assert sent(world, tunnel(ping(ME, PEER), source=C), Reason.RETURNED).outer.dst == C


def test_a_bouncer_whose_row_leads_back_returns_it(world: World) -> None:
    world.remote(BLUE, PEER, B, WEB)
    frame = tunnel(ping(ME, PEER), Stage.NETWORK, source=B, sender=C)
    assert sent(world, frame, Reason.RETURNED).outer.dst == B


def test_a_divider_that_does_not_know_the_network_yet_returns_it(world: World) -> None:
    world.network(BLUE, "10.0.9.0/24", DB).dividers(BLUE, SELF, D)
    frame = tunnel(ping(ME, OTHER), Stage.DIVIDER, sender=C)
    assert sent(world, frame, Reason.RETURNED).outer.dst == B


@pytest.mark.parametrize("flag", [BACK, AGAIN, BACK | AGAIN])
def test_it_goes_back_only_once(world: World, flag: OptionFlag) -> None:
    got = run(world, tunnel(ping(PEER, ME), flags=flag))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_RETURNED_TWICE)


def test_the_verdict_of_the_senders_rules_comes_back(world: World) -> None:
    frame = tunnel(ping(PEER, ME), flags=OptionFlag.EGRESS_ALLOWED)
    wanted = CRITICAL | BACK | OptionFlag.EGRESS_ALLOWED
    assert sent(world, frame, Reason.RETURNED).flags == wanted


# The sender's host


@pytest.fixture
def sender(world: World) -> World:
    for own in (ME, ME6):
        world.local(BLUE, own, MY_MAC, network=WEB, identity=42)
    return world


def refused(peer: str = PEER, me: str = ME, by: str = D, vni: int = BLUE, **outer: int) -> Packet:
    """A direct packet of ours that host `by` sent back."""
    return tunnel(ping(me, peer), source=by, flags=BACK, vni=vni, outer=outer)


@PAIRS
def test_a_refused_direct_path_is_forgotten_and_a_bouncer_asked(
    sender: World, me: str, peer: str
) -> None:
    sender.learn(BLUE, peer, D).bouncers(BLUE, WEB, B)
    frame = refused(peer, me)
    seen = sent(sender, frame, Reason.SENT_BOUNCER)
    assert (seen.outer.src, seen.outer.dst) == (SELF, B)
    assert (seen.stage, seen.flags, seen.sender) == (Stage.BOUNCER, CRITICAL | AGAIN, SELF)
    assert (seen.identity, seen.geneve.vni) == (42, BLUE)
    assert seen.udp.sport == frame["UDP"].sport, "the flow keeps its port"
    assert bytes(seen.inner) == bytes(opened(bytes(frame)).inner)
    assert sender.path(BLUE, peer) is None


def test_a_refused_frame_of_several_buffers_is_sent_anew_whole(sender: World) -> None:
    sender.uplink(mtu=9000).bouncers(BLUE, WEB, B)
    inner = ping(ME, PEER) / Raw(bytes(range(250)) * 34)
    seen = sent(sender, tunnel(inner, source=D, flags=BACK), Reason.SENT_BOUNCER)
    assert bytes(seen.inner) == bytes(inner)


def test_only_the_path_to_the_host_that_refused_is_forgotten(sender: World) -> None:
    sender.learn(BLUE, PEER, C).learn(RED, PEER, D).bouncers(BLUE, WEB, B)
    seen = sent(sender, refused(by=D), Reason.SENT_DIRECT)
    assert (seen.outer.dst, seen.stage, seen.flags) == (C, Stage.HOST, CRITICAL | AGAIN)
    assert (sender.path(BLUE, PEER), sender.path(RED, PEER)) == (C, D)


def test_a_refusing_bouncer_is_replaced_by_another_of_the_network(sender: World) -> None:
    sender.bouncers(BLUE, WEB, B, C)
    for port in range(49152, 49152 + 32):
        frame = tunnel(ping(ME, PEER), Stage.BOUNCER, source=B, sender=SELF, flags=BACK, port=port)
        seen = sent(sender, frame, Reason.SENT_BOUNCER)
        assert (seen.outer.dst, seen.stage, seen.flags) == (C, Stage.BOUNCER, CRITICAL | AGAIN)


def test_the_only_bouncer_refusing_ends_the_journey(sender: World) -> None:
    sender.bouncers(BLUE, WEB, B)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, source=B, sender=SELF, flags=BACK)
    got = run(sender, frame)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_RETURNED_TWICE)


def test_a_refused_row_of_its_own_makes_a_bouncer_ask_another(sender: World) -> None:
    sender.remote(BLUE, PEER, D, WEB).bouncers(BLUE, WEB, SELF, B)
    seen = sent(sender, refused(by=D), Reason.SENT_BOUNCER)
    assert (seen.outer.dst, seen.stage) == (B, Stage.NETWORK)


def test_an_endpoint_that_has_come_here_meanwhile_is_delivered_to(sender: World) -> None:
    sender.local(BLUE, PEER, PEER_MAC, network=WEB)
    assert run(sender, refused()).reason == Reason.DELIVERED


def test_what_comes_back_for_an_endpoint_that_left_is_dropped(world: World) -> None:
    world.bouncers(BLUE, WEB, B)
    assert run(world, refused()).reason == Reason.DROP_RETURNED_TWICE


def test_congestion_on_the_way_there_and_back_is_told_on(sender: World) -> None:
    sender.bouncers(BLUE, WEB, B)
    frame = tunnel(ping(ME, PEER, tos=2), source=D, flags=BACK, outer={"tos": 3})
    seen = sent(sender, frame, Reason.SENT_BOUNCER)
    assert seen.outer.tos == 3
    frame = tunnel(ping(ME, PEER, tos=0), source=D, flags=BACK, outer={"tos": 3})
    assert run(sender, frame).reason == Reason.DROP_ECN


def test_the_only_bouncer_that_refused_as_host_is_asked_as_bouncer(sender: World) -> None:
    sender.learn(BLUE, PEER, B).bouncers(BLUE, WEB, B)
    seen = sent(sender, refused(by=B), Reason.SENT_BOUNCER)
    assert (seen.outer.dst, seen.stage, seen.flags) == (B, Stage.BOUNCER, CRITICAL | AGAIN)


def test_its_row_does_not_lead_again_to_the_host_that_refused(sender: World) -> None:
    sender.remote(BLUE, PEER, D, WEB).bouncers(BLUE, WEB, SELF, D)
    seen = sent(sender, refused(by=D), Reason.SENT_BOUNCER)
    assert (seen.outer.dst, seen.stage, seen.flags) == (D, Stage.NETWORK, CRITICAL | AGAIN)


# A relay


def test_a_relay_asks_another_bouncer_of_the_network(world: World) -> None:
    world.network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, C, D)
    frame = tunnel(ping(ME, OTHER), Stage.NETWORK, source=C, sender=B, flags=BACK)
    seen = sent(world, frame, Reason.DIVIDED)
    assert (seen.outer.dst, seen.stage, seen.flags) == (D, Stage.NETWORK, CRITICAL | AGAIN)
    assert seen.sender == B


def test_a_relay_asks_another_divider(world: World) -> None:
    world.dividers(BLUE, C, D)
    frame = tunnel(ping(ME, OTHER), Stage.DIVIDER, source=C, sender=B, flags=BACK)
    seen = sent(world, frame, Reason.RELAYED_DIVIDER)
    assert (seen.outer.dst, seen.stage, seen.flags) == (D, Stage.DIVIDER, CRITICAL | AGAIN)


def test_a_bouncer_whose_row_was_refused_asks_another_bouncer(world: World) -> None:
    world.remote(BLUE, PEER, C, WEB).bouncers(BLUE, WEB, SELF, D)
    frame = tunnel(ping(ME, PEER), source=C, sender=B, flags=BACK)
    seen = sent(world, frame, Reason.DIVIDED)
    assert (seen.outer.dst, seen.stage) == (D, Stage.NETWORK)


def test_a_bouncer_whose_row_has_changed_meanwhile_follows_it(world: World) -> None:
    world.remote(BLUE, PEER, D, WEB)
    frame = tunnel(ping(ME, PEER), source=C, sender=B, flags=BACK)
    seen = sent(world, frame, Reason.BOUNCED)
    assert (seen.outer.dst, seen.stage, seen.flags) == (D, Stage.HOST, CRITICAL | AGAIN)


def test_a_relay_with_nobody_left_drops(world: World) -> None:
    world.dividers(BLUE, C)
    frame = tunnel(ping(ME, OTHER), Stage.DIVIDER, source=C, sender=B, flags=BACK)
    assert run(world, frame).reason == Reason.DROP_RETURNED_TWICE


def test_a_relay_forgets_its_own_direct_path_too(world: World) -> None:
    world.learn(BLUE, PEER, C).dividers(BLUE, D)
    sent(world, tunnel(ping(ME, PEER), source=C, sender=B, flags=BACK), Reason.RELAYED_DIVIDER)
    assert world.path(BLUE, PEER) is None
