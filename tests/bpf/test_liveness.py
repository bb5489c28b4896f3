"""Liveness: probes answered and heard, by known hosts alone; dead hosts avoided in every role."""

import time
from typing import Any

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from reconciler.abi.generated import Liveness, OptionFlag, Reason, Stage, VniMark, Wire
from reconciler.datapath.prober import CLASS, health_clock, payload
from tests.bpf.frames import (
    BLUE,
    DB,
    ME,
    MY_MAC,
    OTHER,
    PEER,
    WEB,
    B,
    C,
    D,
    answer,
    assert_right,
    datagram,
    flows,
    next_host,
    ping,
    probe,
    tunnel,
)
from tests.bpf.harness import SELF, UPLINK, Outcome, World, Xdp, next_hop

FLOWS = 32


def run(world: World, frame: Packet | bytes) -> Outcome:
    return world.bench.run("transit", bytes(frame))


# Probes and their answers


def test_a_probe_is_geneves_control_packet_with_our_option_and_nothing_inside() -> None:
    geneve = GENEVE(payload())
    [ours] = geneve.options
    assert (geneve.oam, geneve.critical, geneve.vni, geneve.proto) == (1, 1, 0, 0x6558)
    assert (ours.classid, ours.type) == (Wire.OPTION_CLASS, OptionFlag.CRITICAL | Stage.PROBE)
    assert not geneve.payload


def test_a_probe_is_answered_to_who_sent_it(world: World) -> None:
    frame = probe(C)
    got = run(world, frame)
    assert (got.action, got.reason) == (Xdp.REDIRECT, Reason.PROBE_ANSWERED)
    seen = Ether(got.frame)
    assert_right(seen)
    assert (seen.src, seen.dst) == (UPLINK, next_hop(C))
    assert (seen[IP].src, seen[IP].dst) == (SELF, C)
    assert (seen[IP].tos, seen[IP].ttl, seen[UDP].dport) == (CLASS, 63, Wire.PORT)
    [ours] = seen[GENEVE].options
    assert ours.type == OptionFlag.CRITICAL | Stage.ALIVE
    assert len(got.frame) == len(bytes(frame))


def test_an_answer_goes_the_way_that_packets_go_not_back_to_the_mac_it_came_from(
    world: World,
) -> None:
    world.host(C, "02:cc:00:00:00:99")
    assert Ether(run(world, probe(C)).frame).dst == "02:cc:00:00:00:99"


def test_a_probe_that_the_driver_padded_is_answered(world: World) -> None:
    assert run(world, bytes(probe()) + bytes(2)).reason == Reason.PROBE_ANSWERED


def test_an_answer_is_noted_and_goes_no_further(world: World) -> None:
    world.health(C, heard=1)
    before = health_clock()
    got = run(world, answer(C))
    assert (got.action, got.reason) == (Xdp.DROP, Reason.PROBE_HEARD)
    assert before <= world.read_health(C)["heard"] <= health_clock()


def test_hearing_a_dead_host_leaves_the_verdict_to_the_agent(world: World) -> None:
    world.dead(C)
    verdict = world.read_health(C)["dead"]
    run(world, answer(C))
    assert world.read_health(C)["dead"] == verdict != 0


# Forged ones


@pytest.mark.parametrize("frame", [probe("172.16.0.9"), answer("172.16.0.9"), probe(SELF)])
def test_strangers_are_not_answered_and_not_heard(world: World, frame: Packet) -> None:
    got = run(world, frame)
    assert (got.action, got.reason) == (Xdp.DROP, Reason.DROP_UNKNOWN_HOST)


@pytest.mark.parametrize("build", [probe, answer])
def test_foreign_hosts_are_not_answered_and_not_heard(world: World, build: Any) -> None:
    world.host("172.16.0.9", foreign=True).health("172.16.0.9", heard=1)
    assert run(world, build("172.16.0.9")).reason == Reason.DROP_UNKNOWN_HOST
    assert world.read_health("172.16.0.9")["heard"] == 1


def test_a_probe_for_another_address_passes(world: World) -> None:
    assert run(world, probe(destination="172.16.0.77")).reason == Reason.PASSED


CHANGES = {
    "a VNI": (6, b"\1"),
    "another protocol": (2, b"\x08\x00"),
    "not critical": (1, b"\x80"),
    "another flag": (1, b"\xc1"),
    "a longer option": (11, b"\2"),
    "returned": (10, bytes([OptionFlag.CRITICAL | OptionFlag.RETURNED | Stage.PROBE])),
    "retried": (10, bytes([OptionFlag.CRITICAL | OptionFlag.RETRIED | Stage.ALIVE])),
    "an option that is not critical": (10, bytes([Stage.PROBE])),
    **{
        f"stage {stage}": (10, bytes([OptionFlag.CRITICAL | stage]))
        for stage in (0, Stage.BOUNCER, Stage.DIVIDER, Stage.NETWORK, Stage.HOST, 7)
    },
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_control_packet_is_a_probe_to_the_letter_or_dropped(world: World, change: str) -> None:
    at, new = CHANGES[change]
    data = bytearray(payload())
    data[at : at + len(new)] = new
    world.health(B, heard=1)
    got = run(
        world, probe(data=bytes(data) if change != "a longer option" else bytes(data) + b"1234")
    )
    assert got.action in (Xdp.DROP, Xdp.PASS)
    assert got.reason in (Reason.DROP_MALFORMED, Reason.PASSED)
    assert world.read_health(B)["heard"] == 1


@pytest.mark.parametrize("stage", [Stage.PROBE, Stage.ALIVE])
def test_an_endpoints_packet_is_never_taken_for_a_probe(world: World, stage: Stage) -> None:
    """Nor is a probe with a packet inside taken for an endpoint's."""
    world.local(BLUE, ME, MY_MAC)
    world.health(B, heard=1)
    frame = tunnel(ping(PEER, ME), stage)
    assert run(world, frame).reason == Reason.DROP_MALFORMED
    frame[GENEVE].oam = 1
    assert run(world, frame).reason == Reason.DROP_MALFORMED
    assert world.read_health(B)["heard"] == 1


def test_a_control_packet_delivers_nothing(world: World) -> None:
    world.local(BLUE, ME, MY_MAC)
    frame = tunnel(ping(PEER, ME))
    frame[GENEVE].oam = 1
    assert run(world, frame).reason == Reason.DROP_MALFORMED


# Dead hosts are avoided


@pytest.fixture
def sender(world: World) -> World:
    """An endpoint here, three bouncers elsewhere."""
    world.interface(BLUE, WEB).local(BLUE, ME, MY_MAC, network=WEB, identity=42)
    return world.bouncers(BLUE, WEB, B, C, D)


def departing(world: World) -> list[str]:
    """Where FLOWS flows of the endpoint go."""
    found = []
    for port in range(FLOWS):
        got = world.bench.run("access", bytes(datagram(ME, PEER, sport=1000 + port)))
        assert got.action == Xdp.REDIRECT, got
        found.append(next_host(got.frame))
    return found


def relayed(world: World, frame: Packet) -> list[str]:
    """Where FLOWS flows of a tunnelled frame go on to."""
    found = []
    for each in flows(frame, FLOWS):
        got = world.bench.run("transit", each)
        assert got.action == Xdp.REDIRECT, got
        found.append(next_host(got.frame))
    return found


def test_a_dead_bouncer_is_avoided_and_only_its_flows_move(sender: World) -> None:
    before = departing(sender)
    assert set(before) == {B, C, D}
    sender.dead(C)
    after = departing(sender)
    assert set(after) == {B, D}
    assert all(old == new for old, new in zip(before, after, strict=True) if old != C)
    sender.health(C)
    assert departing(sender) == before


def test_where_all_are_dead_it_is_chosen_as_if_all_were_alive(sender: World) -> None:
    before = departing(sender)
    for host in (B, C, D):
        sender.dead(host)
    assert departing(sender) == before


def test_a_verdict_that_is_not_repeated_expires(sender: World) -> None:
    before = departing(sender)
    sender.dead(C, age=Liveness.LASTS - 30)
    assert C not in departing(sender)
    sender.dead(C, age=Liveness.LASTS + 2)
    assert departing(sender) == before


def test_a_bouncer_whose_next_hop_is_not_known_is_avoided(sender: World) -> None:
    sender.write("next_hops", {"index": 3}, {})
    assert set(departing(sender)) == {B, D}


def test_a_divider_avoids_a_dead_bouncer(world: World) -> None:
    world.network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, C, D).dead(C)
    frame = tunnel(ping(ME, OTHER), Stage.DIVIDER, sender=B)
    assert set(relayed(world, frame)) == {D}


def test_a_bouncer_avoids_a_dead_divider(world: World) -> None:
    world.dividers(BLUE, C, D).dead(D)
    frame = tunnel(ping(ME, OTHER), Stage.BOUNCER, sender=B)
    assert set(relayed(world, frame)) == {C}


def test_a_direct_path_to_a_dead_host_gives_way_to_a_bouncer(sender: World) -> None:
    sender.learn(BLUE, PEER, D).bouncers(BLUE, WEB, B, C)
    assert set(departing(sender)) == {D}
    sender.dead(D)
    assert set(departing(sender)) == {B, C}
    sender.health(D)
    assert set(departing(sender)) == {D}


def test_a_direct_path_to_a_dead_host_is_taken_where_no_bouncer_lives_either(
    sender: World,
) -> None:
    sender.learn(BLUE, PEER, D).bouncers(BLUE, WEB, B).dead(D).dead(B)
    assert set(departing(sender)) == {D}


def test_a_bouncer_asks_another_about_an_endpoint_whose_host_is_dead(world: World) -> None:
    """Which may know better: the endpoint may have moved."""
    world.remote(BLUE, PEER, D, WEB).bouncers(BLUE, WEB, SELF, C).dead(D)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, sender=B)
    assert set(relayed(world, frame)) == {C}


@pytest.mark.parametrize("others", [[], [C]], ids=["the only bouncer", "the other dead, too"])
def test_a_bouncer_that_can_ask_nobody_tries_the_dead_host(world: World, others: list[str]) -> None:
    world.remote(BLUE, PEER, D, WEB).bouncers(BLUE, WEB, SELF, *others).dead(D).dead(C)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, sender=B)
    assert set(relayed(world, frame)) == {D}


def test_the_last_bouncer_tries_the_dead_host(world: World) -> None:
    """It was asked by another already: nobody is left."""
    world.remote(BLUE, PEER, D, WEB).bouncers(BLUE, WEB, SELF, C).dead(D)
    frame = tunnel(ping(ME, PEER), Stage.NETWORK, source=C, sender=B)
    assert set(relayed(world, frame)) == {D}


def test_a_bouncers_own_endpoint_is_sent_past_a_dead_host(sender: World) -> None:
    sender.remote(BLUE, PEER, D, WEB).bouncers(BLUE, WEB, SELF, C).dead(D)
    assert set(departing(sender)) == {C}


def test_where_an_endpoint_was_is_asked_first_if_the_host_it_moves_to_is_dead(world: World) -> None:
    """Unless that is dead as well."""
    world.remote(BLUE, PEER, D, WEB).remote(BLUE | VniMark.FORMER, PEER, C)
    world.bouncers(BLUE, WEB, SELF, B)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, source=C, sender=C)
    assert set(relayed(world, frame)) == {D}, "that it was there is nothing while the new one lives"
    frame = tunnel(ping(ME, PEER), Stage.NETWORK, source=B, sender=B)
    world.dead(D)
    assert set(relayed(world, frame)) == {C}
    world.dead(C)
    assert set(relayed(world, frame)) == {D}


def test_a_bouncers_own_endpoint_is_sent_to_where_another_was_if_the_new_host_is_dead(
    sender: World,
) -> None:
    sender.remote(BLUE, PEER, D, WEB).remote(BLUE | VniMark.FORMER, PEER, B)
    sender.bouncers(BLUE, WEB, SELF, C)
    assert set(departing(sender)) == {D}
    sender.dead(D)
    assert set(departing(sender)) == {B}
    sender.dead(B)
    assert set(departing(sender)) == {C}


def test_what_came_back_avoids_the_dead(sender: World) -> None:
    sender.dead(C)
    frame = tunnel(ping(ME, PEER), Stage.BOUNCER, source=B, sender=SELF, flags=OptionFlag.RETURNED)
    assert set(relayed(sender, frame)) == {D}


def test_a_foreign_host_is_sent_to_whatever_stands_there(world: World) -> None:
    world.host("172.16.0.9", foreign=True).dead("172.16.0.9")
    world.interface(BLUE, WEB).local(BLUE, ME, MY_MAC, network=WEB)
    world.foreign(BLUE, PEER, "172.16.0.9", "02:00:00:00:0f:01", network=WEB)
    assert set(departing(world)) == {"172.16.0.9"}


# Whom to probe


def test_a_host_from_which_a_path_is_learned_is_marked(world: World) -> None:
    world.local(BLUE, ME, MY_MAC)
    world.health(B)
    before = health_clock()
    run(world, tunnel(ping(PEER, ME)))
    assert before <= world.read_health(B)["learned"] <= health_clock()


def test_an_established_path_marks_its_host_again_as_it_is_confirmed(world: World) -> None:
    world.local(BLUE, ME, MY_MAC)
    world.learn(BLUE, PEER, B, age=3).health(B, learned=1)
    run(world, tunnel(ping(PEER, ME)))
    assert world.read_health(B)["learned"] > 1


def test_the_agents_clock_is_the_data_planes(world: World) -> None:
    world.health(B)
    before = health_clock()
    while health_clock() == before:  # so that what is left of the unit is enough for the run
        time.sleep(0.001)
    run(world, answer(B))
    assert world.read_health(B)["heard"] - before in (1, 2)
