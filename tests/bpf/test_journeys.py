"""Hosts on different commits: every packet ends, and gets there if anybody knows where."""

import itertools
import random
from collections.abc import Iterator

import pytest

from reconciler.abi.generated import EndpointFlag, Reason, VniMark
from tests.bpf.frames import BLUE, DB, ME, MY_MAC, OTHER, PEER, PEER_MAC, WEB, datagram
from tests.bpf.harness import INTERFACE, World
from tests.bpf.journey import Cluster, Step

HOSTS = tuple(f"172.16.1.{each}" for each in range(1, 7))
S, H1, H2, B1, B2, D1 = HOSTS  # sender, old and new host, bouncers, divider
FLOWS = range(1000, 1004)


def every(hosts: int) -> list[tuple[bool, ...]]:
    """Which of so many hosts are on the new commit: every combination."""
    return list(itertools.product([False, True], repeat=hosts))


@pytest.fixture(scope="module")
def hosts() -> Iterator[Cluster]:
    made = Cluster(*HOSTS)
    yield made
    made.close()


@pytest.fixture
def cluster(hosts: Cluster) -> Cluster:
    hosts.begin()
    return hosts


def sender(world: World, network: int = WEB) -> None:
    world.interface(BLUE, network).local(BLUE, ME, MY_MAC, network=network)


def receiver(world: World, where: str, network: int = WEB) -> None:
    world.local(BLUE, where, PEER_MAC, network=network, ifindex=INTERFACE + 1)


def ends(cluster: Cluster, where: str) -> list[Step]:
    """Where the flows from ME on S to an address end."""
    return [cluster.carry(S, datagram(ME, where, sport=port))[-1] for port in FLOWS]


# One commit everywhere


def test_switching_takes_a_bouncer_and_then_none(cluster: Cluster) -> None:
    sender(cluster.worlds[S])
    receiver(cluster.worlds[H1], PEER)
    cluster.worlds[S].bouncers(BLUE, WEB, B1)
    cluster.worlds[H1].bouncers(BLUE, WEB, B1)
    cluster.worlds[B1].remote(BLUE, PEER, H1, WEB).remote(BLUE, ME, S, WEB)
    there, back = datagram(ME, PEER), datagram(PEER, ME)
    back.src = PEER_MAC
    assert [step.host for step in cluster.carry(S, there)] == [S, B1, H1]
    cluster.worlds[H1].interface(BLUE, WEB)
    cluster.worlds[H1].local(BLUE, PEER, PEER_MAC, network=WEB)
    assert [step.host for step in cluster.carry(H1, back)] == [H1, S]
    assert [step.host for step in cluster.carry(S, there)] == [S, H1]


def test_routing_takes_a_bouncer_a_divider_and_a_bouncer(cluster: Cluster) -> None:
    sender(cluster.worlds[S])
    receiver(cluster.worlds[H1], OTHER, DB)
    cluster.worlds[S].bouncers(BLUE, WEB, B1)
    cluster.worlds[B1].dividers(BLUE, D1)
    cluster.worlds[D1].network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, B2)
    cluster.worlds[B2].remote(BLUE, OTHER, H1, DB).dividers(BLUE, D1)
    steps = cluster.carry(S, datagram(ME, OTHER))
    assert steps == [
        Step(S, Reason.SENT_BOUNCER),
        Step(B1, Reason.RELAYED_DIVIDER),
        Step(D1, Reason.DIVIDED),
        Step(B2, Reason.BOUNCED),
        Step(H1, Reason.DELIVERED),
    ]


def test_what_nobody_has_ends_at_the_divider(cluster: Cluster) -> None:
    sender(cluster.worlds[S])
    cluster.worlds[S].bouncers(BLUE, WEB, B1)
    cluster.worlds[B1].dividers(BLUE, D1).bouncers(BLUE, WEB, B1)
    cluster.worlds[D1].network(BLUE, "10.0.0.0/24", WEB).bouncers(BLUE, WEB, B1)
    assert cluster.carry(S, datagram(ME, PEER))[-1] == Step(D1, Reason.DROP_NO_ENDPOINT)


# Neighbouring commits, in every combination


def moved(cluster: Cluster, new: dict[str, bool], path: str | None) -> bool:
    """PEER moves from H1 to H2; hosts in `new` know. Returns whether it is anywhere."""
    sender(cluster.worlds[S])
    for each in (S, B1, B2):
        cluster.worlds[each].bouncers(BLUE, WEB, B1, B2)
    for bouncer in (B1, B2):
        cluster.worlds[bouncer].remote(BLUE, PEER, H2 if new[bouncer] else H1, WEB)
        cluster.worlds[bouncer].remote(BLUE, ME, S, WEB)
    if not new[H1]:
        receiver(cluster.worlds[H1], PEER)
    if new[H2]:
        receiver(cluster.worlds[H2], PEER)
    if path:
        cluster.worlds[S].learn(BLUE, PEER, path)
    return new[H2] or not new[H1]


@pytest.mark.parametrize("path", [None, H1, H2])
@pytest.mark.parametrize("known", every(4))
def test_a_move_ends_well_wherever_a_bouncer_knows_the_way(
    cluster: Cluster, known: tuple[bool, ...], path: str | None
) -> None:
    new = dict(zip((H1, H2, B1, B2), known, strict=True))
    exists = moved(cluster, new, path)
    right = [each for each in (B1, B2) if (new[H2] if new[each] else not new[H1])]
    first, second = ends(cluster, PEER), ends(cluster, PEER)
    if exists and right:
        stale = path is not None and not (new[H2] if path == H2 else not new[H1])
        if len(right) == 2 or not stale:
            assert {each.reason for each in first} == {Reason.DELIVERED}
        assert {each.reason for each in second} == {Reason.DELIVERED}, "once lost at the most"
    elif not exists:
        assert {each.reason for each in first + second} == {Reason.DROP_RETURNED_TWICE}


@pytest.mark.parametrize("path", [None, H1, H2])
@pytest.mark.parametrize("known", every(2))
def test_a_move_away_from_the_only_bouncer_loses_nothing(
    cluster: Cluster, known: tuple[bool, ...], path: str | None
) -> None:
    """H1 bounces and held the endpoint: what it refuses as host it may serve as bouncer."""
    at_old, at_new = known
    sender(cluster.worlds[S])
    for each in (S, H1):
        cluster.worlds[each].bouncers(BLUE, WEB, H1)
    if at_old:
        cluster.worlds[H1].remote(BLUE, PEER, H2, WEB)
    else:
        receiver(cluster.worlds[H1], PEER)
    if at_new:
        receiver(cluster.worlds[H2], PEER)
    if path:
        cluster.worlds[S].learn(BLUE, PEER, path)
    nowhere = at_old and not at_new
    wanted = Reason.DROP_RETURNED_TWICE if nowhere else Reason.DELIVERED
    assert {each.reason for each in ends(cluster, PEER)} == {wanted}


@pytest.mark.parametrize("path", [None, H1])
@pytest.mark.parametrize("known", every(3))
def test_an_old_bouncer_asks_the_new_one_that_refused_as_host(
    cluster: Cluster, known: tuple[bool, ...], path: str | None
) -> None:
    """H1, where PEER was, and B1 bounce: B1 on the old commit sends everything to H1."""
    at_old, at_new, at_bouncer = known
    sender(cluster.worlds[S])
    for each in (S, H1, B1):
        cluster.worlds[each].bouncers(BLUE, WEB, H1, B1)
    cluster.worlds[B1].remote(BLUE, PEER, H2 if at_bouncer else H1, WEB)
    if at_old:
        cluster.worlds[H1].remote(BLUE, PEER, H2, WEB)
    else:
        receiver(cluster.worlds[H1], PEER)
    if at_new:
        receiver(cluster.worlds[H2], PEER)
    if path:
        cluster.worlds[S].learn(BLUE, PEER, path)
    first, second = ends(cluster, PEER), ends(cluster, PEER)
    if at_old and not at_new:
        assert {each.reason for each in first + second} == {Reason.DROP_RETURNED_TWICE}
        return
    if not (at_old and path) or at_bouncer:
        assert {each.reason for each in first} == {Reason.DELIVERED}
    assert {each.reason for each in second} == {Reason.DELIVERED}, "once lost at the most"


@pytest.mark.parametrize("path", [None, H1])
@pytest.mark.parametrize("known", every(3))
def test_a_deletion_ends_every_packet(
    cluster: Cluster, known: tuple[bool, ...], path: str | None
) -> None:
    new = dict(zip((H1, B1, B2), known, strict=True))
    sender(cluster.worlds[S])
    for each in (S, B1, B2):
        cluster.worlds[each].bouncers(BLUE, WEB, B1, B2)
    for each in (B1, B2):
        cluster.worlds[each].dividers(BLUE, D1)
        if not new[each]:
            cluster.worlds[each].remote(BLUE, PEER, H1, WEB)
    cluster.worlds[D1].network(BLUE, "10.0.0.0/24", WEB).bouncers(BLUE, WEB, B1, B2)
    if path:
        cluster.worlds[S].learn(BLUE, PEER, path)
    if not new[H1]:
        receiver(cluster.worlds[H1], PEER)
    for end in ends(cluster, PEER):
        if new[H1]:
            assert end.reason in (Reason.DROP_RETURNED_TWICE, Reason.DROP_NO_ENDPOINT)
        elif not (new[B1] and new[B2]) or path:
            assert end.reason == Reason.DELIVERED


@pytest.mark.parametrize("known", every(3))
def test_a_bouncer_that_changes_host_loses_nothing_while_the_old_one_keeps_its_rows(
    cluster: Cluster, known: tuple[bool, ...]
) -> None:
    """B1 to B2. test_grace.py has the rows that agents really keep."""
    at_sender, at_old, at_new = known
    sender(cluster.worlds[S])
    receiver(cluster.worlds[H1], PEER)
    cluster.worlds[S].bouncers(BLUE, WEB, *((B1, B2) if at_sender else (B1,)), settled=at_sender)
    leaving = EndpointFlag.LEAVING if at_old else 0
    cluster.worlds[B1].remote(BLUE, PEER, H1, WEB, flags=leaving)
    if at_new:
        cluster.worlds[B2].remote(BLUE, PEER, H1, WEB)
    journeys = [cluster.carry(S, datagram(ME, PEER, sport=port)) for port in FLOWS]
    assert {steps[-1].reason for steps in journeys} == {Reason.DELIVERED}
    assert {steps[1].host for steps in journeys} == {B1}, "who surely knows is asked"


@pytest.mark.parametrize("known", every(3))
def test_a_divider_that_changes_host_loses_nothing_while_the_old_one_keeps_its_rows(
    cluster: Cluster, known: tuple[bool, ...]
) -> None:
    """D1 to H2."""
    at_bouncer, at_old, at_new = known
    sender(cluster.worlds[S])
    receiver(cluster.worlds[H1], OTHER, DB)
    cluster.worlds[S].bouncers(BLUE, WEB, B1)
    both = (D1, H2) if at_bouncer else (D1,)
    cluster.worlds[B1].dividers(BLUE, *both, settled=at_bouncer)
    for divider, knows in ((D1, True), (H2, at_new)):
        if knows:
            cluster.worlds[divider].network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, B2)
    cluster.worlds[B2].remote(BLUE, OTHER, H1, DB).dividers(BLUE, H2 if at_old else D1)
    assert {each.reason for each in ends(cluster, OTHER)} == {Reason.DELIVERED}


def test_new_members_of_a_set_are_asked_once_all_old_ones_are_dead(cluster: Cluster) -> None:
    sender(cluster.worlds[S])
    receiver(cluster.worlds[H1], PEER)
    cluster.worlds[S].bouncers(BLUE, WEB, B1, B2, settled=1)
    for each in (B1, B2):
        cluster.worlds[each].remote(BLUE, PEER, H1, WEB)
    cluster.worlds[S].dead(B1)
    steps = cluster.carry(S, datagram(ME, PEER))
    assert [step.host for step in steps] == [S, B2, H1]


@pytest.mark.parametrize("role", ["bouncer", "sender"])
def test_a_row_that_is_kept_holds_until_its_host_refuses(cluster: Cluster, role: str) -> None:
    """PEER went from WEB and H1 to DB and H2, while B1, or S itself, has a row of before."""
    sender(cluster.worlds[S])
    receiver(cluster.worlds[H2], PEER, DB)
    stale = cluster.worlds[B1 if role == "bouncer" else S]
    stale.remote(BLUE, PEER, H1, WEB, flags=EndpointFlag.LEAVING)
    cluster.worlds[S].bouncers(BLUE, WEB, B1)
    cluster.worlds[B1].bouncers(BLUE, WEB, B1).dividers(BLUE, D1)
    cluster.worlds[D1].network(BLUE, "10.0.0.2/32", DB).bouncers(BLUE, DB, B2)
    cluster.worlds[B2].remote(BLUE, PEER, H2, DB)
    assert {each.reason for each in ends(cluster, PEER)} == {Reason.DELIVERED}


@pytest.mark.parametrize("known", every(3))
def test_one_of_two_bouncers_that_changes_host_is_replaced_by_the_other(
    cluster: Cluster, known: tuple[bool, ...]
) -> None:
    """B2 to H2, neither of which has a row of the VPC where it does not bounce; B1 stays."""
    at_sender, at_old, at_new = known
    sender(cluster.worlds[S])
    receiver(cluster.worlds[H1], PEER)
    cluster.worlds[S].bouncers(BLUE, WEB, B1, H2 if at_sender else B2)
    for bouncer, does in ((B1, True), (B2, not at_old), (H2, at_new)):
        if does:
            cluster.worlds[bouncer].remote(BLUE, PEER, H1, WEB)
    assert {each.reason for each in ends(cluster, PEER)} == {Reason.DELIVERED}


@pytest.mark.parametrize("known", every(3))
def test_the_only_bouncer_that_changes_host_serves_whoever_agrees_with_it(
    cluster: Cluster, known: tuple[bool, ...]
) -> None:
    """B1 to B2 with `gracePeriod: 0`: the sender has nobody else to ask, so the rest is lost."""
    at_sender, at_old, at_new = known
    sender(cluster.worlds[S])
    receiver(cluster.worlds[H1], PEER)
    cluster.worlds[S].bouncers(BLUE, WEB, B2 if at_sender else B1)
    for bouncer, does in ((B1, not at_old), (B2, at_new)):
        if does:
            cluster.worlds[bouncer].remote(BLUE, PEER, H1, WEB)
    served = at_new if at_sender else not at_old
    wanted = Reason.DELIVERED if served else Reason.DROP_RETURNED_TWICE
    assert {each.reason for each in ends(cluster, PEER)} == {wanted}


@pytest.mark.parametrize("known", every(4))
def test_a_new_network_is_reached_as_soon_as_one_divider_and_its_bouncer_know_it(
    cluster: Cluster, known: tuple[bool, ...]
) -> None:
    first, second, bouncer, holder = known
    sender(cluster.worlds[S])
    cluster.worlds[S].bouncers(BLUE, WEB, B1)
    cluster.worlds[B1].dividers(BLUE, D1, H2)
    for divider, knows in ((D1, first), (H2, second)):
        if knows:
            cluster.worlds[divider].network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, B2)
    if bouncer:
        cluster.worlds[B2].remote(BLUE, OTHER, H1, DB)
    if holder:
        receiver(cluster.worlds[H1], OTHER, DB)
    reasons = {each.reason for each in ends(cluster, OTHER)}
    if (first or second) and bouncer and holder:
        assert reasons == {Reason.DELIVERED}
    else:
        assert Reason.DELIVERED not in reasons


# Anything at all


@pytest.mark.parametrize("seed", range(100))
def test_whatever_the_tables_say_every_packet_comes_to_an_end(cluster: Cluster, seed: int) -> None:
    """Rows chosen at random, so mostly wrong: Cluster.carry fails on more than nine hops."""
    dice = random.Random(seed)
    sender(cluster.worlds[S])
    for host, world in cluster.worlds.items():
        others = [each for each in HOSTS if each != host]
        for where in (PEER, OTHER):
            if dice.random() < 0.5:
                flags = dice.choice((0, 0, EndpointFlag.LEAVING))
                network = dice.choice((WEB, DB))
                world.remote(BLUE, where, dice.choice(others), network, flags=flags)
                if dice.random() < 0.5:
                    world.remote(BLUE | VniMark.FORMER, where, dice.choice(others))
            elif dice.random() < 0.1:
                receiver(world, where)
            if dice.random() < 0.5:
                world.learn(BLUE, where, dice.choice(others))
        for network in (WEB, DB):
            if dice.random() < 0.7:
                world.bouncers(BLUE, network, *dice.sample(HOSTS, dice.randrange(1, 4)))
        if dice.random() < 0.7:
            world.dividers(BLUE, *dice.sample(HOSTS, dice.randrange(1, 4)))
        if dice.random() < 0.5:
            world.network(BLUE, "10.0.1.0/24", DB)
        if dice.random() < 0.5:
            world.network(BLUE, "10.0.0.0/24", WEB)
    ends(cluster, PEER)
    ends(cluster, OTHER)
