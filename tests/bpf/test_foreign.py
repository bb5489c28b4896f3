"""Foreign hosts: plain Geneve to and from a tunnel end that knows nothing of this system."""

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage, Wire
from tests.bpf.frames import (
    BLUE,
    DB,
    GATEWAY,
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
    assert_right,
    opened,
    ping,
    tunnel,
)
from tests.bpf.harness import INTERFACE, ROUTER, SELF, UPLINK, Outcome, World, Xdp, next_hop

F, G = "172.16.0.21", "172.16.0.22"  # foreign hosts
NEAR, NEAR6 = "10.0.0.3", "2001:db8::3"
PAIRS = pytest.mark.parametrize(("me", "peer"), [(ME, PEER), (ME6, PEER6)], ids=["IPv4", "IPv6"])


@pytest.fixture
def bouncer(world: World) -> World:
    """A bouncer with an endpoint of its own; PEER is behind foreign host F, NEAR on host C."""
    for each in (F, G):
        world.host(each, foreign=True)
    world.bouncers(BLUE, WEB, SELF, B).dividers(BLUE, B, C).interface(BLUE, WEB)
    for own, peer, near in ((ME, PEER, NEAR), (ME6, PEER6, NEAR6)):
        world.local(BLUE, own, MY_MAC, network=WEB)
        world.foreign(BLUE, peer, F, PEER_MAC, network=WEB, identity=77)
        world.remote(BLUE, near, C, WEB)
    return world


def plain(inner: Packet, source: str = F, vni: int = BLUE, **fields: object) -> Packet:
    """Plain Geneve as Open vSwitch sends it."""
    frame = tunnel(inner, source=source, vni=vni, options=[])
    frame[GENEVE].critical = 0
    for name, value in fields.items():
        setattr(frame[GENEVE], name, value)
    return frame


def run(world: World, frame: Packet) -> Outcome:
    return world.bench.run("transit", bytes(frame))


def assert_plain(got: Outcome, inner: Packet) -> None:
    """A frame to F: no option, no critical bit, and the inner frame as from the router."""
    assert got.action == Xdp.REDIRECT
    frame = Ether(got.frame)
    assert_right(frame)
    assert (frame.src, frame.dst) == (UPLINK, next_hop(F))
    assert (frame[IP].src, frame[IP].dst, frame[IP].ttl) == (SELF, F, Wire.TTL)
    assert frame[IP].len == len(got.frame) - 14
    assert frame[UDP].len == frame[IP].len - 20
    head = frame[GENEVE]
    assert (head.optionlen, head.critical, head.oam, head.vni) == (0, 0, 0, BLUE)
    inner.src, inner.dst = ROUTER, PEER_MAC
    assert bytes(head.payload) == bytes(inner)


# Towards a foreign host


@PAIRS
def test_a_bouncers_own_endpoint_sends_plain_geneve(bouncer: World, me: str, peer: str) -> None:
    inner = ping(me, peer, tos=0x28)
    got = bouncer.bench.run("access", bytes(inner))
    assert got.reason == Reason.SENT_DIRECT
    assert Ether(got.frame)[IP].tos == 0x28
    assert_plain(got, inner)


@PAIRS
@pytest.mark.parametrize("stage", [Stage.BOUNCER, Stage.DIVIDER, Stage.NETWORK, Stage.HOST])
def test_a_bouncer_strips_the_option_at_any_stage(
    bouncer: World, stage: Stage, me: str, peer: str
) -> None:
    inner = ping(me.replace("1", "9", 1) if ":" not in me else "2001:db8::9", peer)
    sender = None if stage == Stage.HOST else B
    got = run(bouncer, tunnel(inner, stage, sender=sender))
    assert got.reason == Reason.BOUNCED
    assert_plain(got, inner)


def test_a_relay_learns_the_way_back_for_the_foreign_endpoint(bouncer: World) -> None:
    assert run(bouncer, tunnel(ping(OTHER, PEER), Stage.NETWORK, source=B, sender=C)).reason == (
        Reason.BOUNCED
    )
    assert bouncer.path(BLUE, OTHER) == C


def test_congestion_on_the_way_to_the_bouncer_is_handed_on(bouncer: World) -> None:
    got = run(bouncer, tunnel(ping(OTHER, PEER, tos=2), outer={"tos": 3}))
    frame = Ether(got.frame)
    assert (frame[IP].tos, Ether(bytes(frame[GENEVE].payload))[IP].tos) == (3, 3)


def test_what_does_not_fit_the_uplink_is_dropped(bouncer: World) -> None:
    bouncer.uplink(mtu=100)
    assert bouncer.bench.run("access", bytes(ping(ME, PEER) / bytes(60))).reason == (
        Reason.DROP_TOO_BIG
    )


def test_frames_of_several_buffers_go_there_whole(bouncer: World) -> None:
    bouncer.uplink(mtu=9000)
    inner = ping(ME, PEER) / Raw(bytes(range(250)) * 34)
    assert_plain(bouncer.bench.run("access", bytes(inner)), inner)
    inner = ping(OTHER, PEER) / Raw(bytes(range(250)) * 34)
    assert_plain(run(bouncer, tunnel(inner, Stage.NETWORK, sender=B)), inner)


# From a foreign host


def test_frames_of_several_buffers_come_from_there_whole(bouncer: World) -> None:
    bouncer.uplink(mtu=9000)
    load = Raw(bytes(range(250)) * 34)
    inner = ping(PEER, ME, hardware=PEER_MAC) / load
    got = run(bouncer, plain(inner))
    assert got.reason == Reason.DELIVERED
    assert got.frame[14:] == bytes(inner)[14:]
    inner = ping(PEER, NEAR, hardware=PEER_MAC) / load
    got = run(bouncer, plain(inner))
    assert got.reason == Reason.SENT_DIRECT
    assert bytes(opened(got.frame).inner) == bytes(inner)


@PAIRS
def test_an_endpoint_here_gets_it_from_the_router(bouncer: World, me: str, peer: str) -> None:
    inner = ping(peer, me, hardware=PEER_MAC)
    got = run(bouncer, plain(inner))
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.DELIVERED)
    inner.src, inner.dst = ROUTER, MY_MAC
    assert got.frame == bytes(inner)
    assert bouncer.path(BLUE, peer) is None


@PAIRS
def test_a_known_host_gets_it_from_here_with_the_foreign_endpoints_identity(
    bouncer: World, me: str, peer: str
) -> None:
    inner = ping(peer, NEAR6 if ":" in me else NEAR, hardware=PEER_MAC)
    got = run(bouncer, plain(inner))
    assert got.reason == Reason.SENT_DIRECT
    seen = opened(got.frame)
    assert (seen.outer.src, seen.outer.dst, seen.stage) == (SELF, C, Stage.HOST)
    assert (seen.identity, seen.flags) == (77, OptionFlag.CRITICAL)
    assert bytes(seen.inner) == bytes(inner)


def test_another_networks_endpoint_is_asked_of_a_divider(bouncer: World) -> None:
    got = run(bouncer, plain(ping(PEER, OTHER)))
    assert got.reason == Reason.RELAYED_DIVIDER
    seen = opened(got.frame)
    assert (seen.stage, seen.sender) == (Stage.DIVIDER, SELF)


def test_a_learned_path_is_taken(bouncer: World) -> None:
    bouncer.learn(BLUE, OTHER, C)
    got = run(bouncer, plain(ping(PEER, OTHER)))
    assert (got.reason, opened(got.frame).outer.dst) == (Reason.SENT_DIRECT, C)


def test_an_endpoint_of_another_foreign_host_is_reached(bouncer: World) -> None:
    bouncer.foreign(BLUE, OTHER, G, "02:00:00:00:00:09", network=DB)
    got = run(bouncer, plain(ping(PEER, OTHER)))
    assert got.reason == Reason.SENT_DIRECT
    frame = Ether(got.frame)
    assert (frame[IP].dst, frame[GENEVE].optionlen) == (G, 0)


def test_options_that_nobody_must_know_are_stepped_over(bouncer: World) -> None:
    frame = tunnel(ping(PEER, ME), source=F, options=[GeneveOptions(classid=258, data=b"abcd")])
    frame[GENEVE].critical = 0
    assert run(bouncer, frame).reason == Reason.DELIVERED


# What comes back


def test_a_returned_packet_of_a_foreign_endpoint_is_tried_elsewhere(bouncer: World) -> None:
    bouncer.learn(BLUE, OTHER, C)
    got = run(bouncer, tunnel(ping(PEER, OTHER), source=C, flags=OptionFlag.RETURNED))
    seen = opened(got.frame)
    assert got.reason == Reason.RELAYED_DIVIDER
    assert (seen.outer.dst, seen.identity) == (B, 77)
    assert seen.flags & OptionFlag.RETRIED
    assert bouncer.path(BLUE, OTHER) is None


def test_nothing_goes_back_to_a_foreign_host(bouncer: World) -> None:
    for flags in (OptionFlag.RETURNED | OptionFlag.RETRIED, OptionFlag.RETURNED):
        got = run(bouncer, tunnel(ping(PEER, NEAR), source=C, flags=flags))
        assert got.action == Xdp.DROP or opened(got.frame).outer.dst != F
    bouncer.dividers(BLUE, SELF)
    assert run(bouncer, plain(ping(PEER, OTHER))).reason == Reason.DROP_NO_NETWORK
    assert run(bouncer, plain(ping(PEER, "10.0.0.9"))).reason == Reason.DROP_NO_NETWORK


def test_a_packet_that_a_foreign_host_reflects_is_dropped(bouncer: World) -> None:
    got = run(bouncer, plain(ping(ME, PEER)))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_SPOOFED_ADDRESS)


def test_neighbours_of_one_foreign_host_reach_each_other_there(bouncer: World) -> None:
    bouncer.foreign(BLUE, OTHER, F, PEER_MAC, network=WEB)
    assert run(bouncer, plain(ping(PEER, OTHER))).reason == Reason.DROP_NO_ENDPOINT


# Whom it believes


@pytest.mark.parametrize("source", [ME, NEAR, "10.0.0.9", OTHER])
def test_a_foreign_host_cannot_speak_for_others(bouncer: World, source: str) -> None:
    bouncer.foreign(BLUE, OTHER, G, PEER_MAC, network=DB)
    target = "10.0.0.7"
    bouncer.local(BLUE, target, "02:00:00:00:00:07", network=WEB, ifindex=INTERFACE + 1)
    got = run(bouncer, plain(ping(source, target)))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_SPOOFED_ADDRESS)


def test_a_foreign_host_cannot_use_our_option(bouncer: World) -> None:
    got = run(bouncer, tunnel(ping(PEER, ME), source=F))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_UNKNOWN_HOST)


def test_a_path_is_not_learned_to_a_foreign_host(bouncer: World) -> None:
    run(bouncer, tunnel(ping(OTHER, ME), Stage.NETWORK, source=B, sender=F))
    assert bouncer.path(BLUE, OTHER) is None


PASSED = {
    "a host that is not foreign": plain(ping(PEER, ME), source=B),
    "a stranger": plain(ping(PEER, ME), source="192.0.2.7"),
    "a VPC not bounced here": plain(ping(PEER, ME), vni=RED),
    "another payload": plain(ping(PEER, ME), proto=0x0800),
    "a control message": plain(ping(PEER, ME), oam=1),
}


@pytest.mark.parametrize("name", PASSED)
def test_other_plain_geneve_passes_untouched(bouncer: World, name: str) -> None:
    bouncer.local(RED, ME, MY_MAC)
    frame = bytes(PASSED[name])
    got = bouncer.bench.run("transit", frame)
    assert (got.action, got.reason, got.frame) == (Xdp.PASS, Reason.PASSED, frame)


DROPPED = {
    "ARP": (Ether() / ARP(psrc=PEER, pdst=ME), Reason.DROP_NOT_IP),
    "to the gateway": (ping(PEER, GATEWAY), Reason.DROP_NO_ENDPOINT),
    "multicast": (ping(PEER, "224.0.0.5"), Reason.DROP_MULTICAST),
    "more than there is": (ping(PEER, ME, len=400), Reason.DROP_MALFORMED),
}


@pytest.mark.parametrize("name", DROPPED)
def test_what_no_endpoint_could_get_is_dropped(bouncer: World, name: str) -> None:
    inner, reason = DROPPED[name]
    bouncer.gateway(BLUE, GATEWAY)
    assert run(bouncer, plain(inner)).reason == reason


def test_a_length_that_contradicts_itself_is_malformed(bouncer: World) -> None:
    frame = plain(ping(PEER, ME))
    frame[UDP].len = 50
    assert run(bouncer, frame).reason == Reason.DROP_MALFORMED
