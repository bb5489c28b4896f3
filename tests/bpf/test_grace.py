"""Compiled tables of two commits, every mixture of hosts: whoever is somewhere is found there.

What test_journeys.py says of rows that a test wrote by hand is shown here of those that hosts hold,
from the commit before to the end of what is kept of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from reconciler.abi.generated import Reason
from reconciler.manifest.document import Document
from tests.bpf.commits import Commits, Phase, together
from tests.bpf.frames import datagram
from tests.bpf.journey import Cluster, Step
from tests.compile.topologies import document

NAMES = ("sender", "first", "second", "role-a", "role-b", "role-c")
ADDRESSES = {name: f"172.16.1.{each}" for each, name in enumerate(NAMES, start=1)}
PLAIN = {"bounce": False, "divide": False}
BOTH = {"bounce": True, "divide": True}
FLOWS = range(1000, 1006)
ME, PEER, OTHER, SPARE = "10.0.0.11", "10.0.0.12", "10.0.1.9", "10.0.0.200"
NEWEST = "10.0.2.5"
SENDER, MAC = "shop/me", "02:00:00:00:01:01"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster(*ADDRESSES.values())
    yield made
    made.close()


def hosts(**roles: dict[str, Any]) -> list[Document]:
    """Every host, those that are named with their roles (an underscore for each dash)."""
    found = {name.replace("_", "-"): spec for name, spec in roles.items()}
    return [
        document("Host", "", name, {"underlay": at, "interface": "eth0", **found.get(name, PLAIN)})
        for name, at in ADDRESSES.items()
    ]


def network(name: str, *cidrs: str, count: int) -> Document:
    spec = {"vpc": "shop", "cidrs": [*cidrs], "bouncers": {"count": count}}
    return document("Network", "shop", name, spec)


def endpoint(name: str, net: str, address: str, where: str, **more: str) -> Document:
    spec = {"network": net, "host": where, "addresses": [address], **more}
    return document("Endpoint", "shop", name, spec)


def rest(count: int = 1, first: str = "first", other: str = "first") -> list[Document]:
    """A VPC, two networks, and endpoints: where PEER is, where OTHER is."""
    cidrs = {"vni": 7, "cidrs": ["10.0.0.0/16"], "dividers": {"count": count}}
    return [
        document("VPC", "shop", "shop", cidrs),
        network("web", "10.0.0.0/24", count=count),
        network("db", "10.0.1.0/24", count=count),
        endpoint("me", "web", ME, "sender", mac=MAC),
        endpoint("peer", "web", PEER, first),
        endpoint("other", "db", OTHER, other),
    ]


def commits(before: Sequence[Document], after: Sequence[Document]) -> Commits:
    return Commits(before, after, ADDRESSES, SENDER)


def without(documents: Sequence[Document], *names: str) -> list[Document]:
    return [each for each in documents if each.name not in names]


def journeys(cluster: Cluster, target: str) -> list[list[Step]]:
    """Those of some flows from ME; nobody answers, so no path is learned on the way."""
    frames = [datagram(ME, target, sport=port) for port in FLOWS]
    for each in frames:
        each.src = MAC
    return [cluster.carry(ADDRESSES["sender"], each) for each in frames]


def lost(cluster: Cluster, made: Commits, *targets: str) -> Counter[str]:
    """What every mixture of phases came to, by target and last reason, and how many returns."""
    found: Counter[str] = Counter()
    for phases in together(made.concerned):
        made.load(cluster, phases)
        for target in targets:
            for steps in journeys(cluster, target):
                found[steps[-1].reason.name] += 1
                found["RETURNED"] += sum(each.reason is Reason.RETURNED for each in steps)
    return found


ROLES = {
    "the only bouncer": ({"bounce": True, "divide": False}, PLAIN),
    "the only divider": ({"bounce": False, "divide": True}, PLAIN),
    "the only bouncer and divider": (BOTH, PLAIN),
}


@pytest.mark.parametrize("name", ROLES)
def test_a_role_of_one_host_alone_that_changes_host_loses_nothing(
    cluster: Cluster, name: str
) -> None:
    role, none = ROLES[name]
    others = {key: not value for key, value in role.items()}
    fixed = {"role_c": others}
    made = commits(
        [*hosts(role_a=role, role_b=none, **fixed), *rest()],
        [*hosts(role_a=none, role_b=role, **fixed), *rest()],
    )
    found = lost(cluster, made, PEER, OTHER)
    assert set(found) == {"DELIVERED", "RETURNED"}
    assert found["RETURNED"] == 0, "nobody is asked who does not know"


def test_without_a_grace_period_that_loses_packets(cluster: Cluster) -> None:
    """What the test above would find if nothing were kept."""
    role = {"bounce": True, "divide": False}
    fixed = {"role_c": {"bounce": False, "divide": True}}
    made = commits([*hosts(role_a=role, **fixed), *rest()], [*hosts(role_b=role, **fixed), *rest()])
    made.load(cluster, {"role-b": Phase.BEFORE})
    assert {each[-1].reason for each in journeys(cluster, PEER)} == {Reason.DROP_RETURNED_TWICE}


def test_a_host_with_roles_that_goes_loses_nothing(cluster: Cluster) -> None:
    """Its agent is told nothing of it, so it stays as it was; guards see to that."""
    before = [*hosts(role_a=BOTH, role_b=BOTH), *rest(2)]
    after = [*without(hosts(role_c=BOTH, role_b=BOTH), "role-a"), *rest(2)]
    made = commits(before, after)
    found: Counter[str] = Counter()
    for phases in together(without_name(made.concerned, "role-a")):
        made.load(cluster, {**phases, "role-a": Phase.BEFORE})
        for target in (PEER, OTHER):
            found.update(each[-1].reason.name for each in journeys(cluster, target))
    assert set(found) == {"DELIVERED"}


def without_name(names: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(each for each in names if each != name)


def test_the_only_host_with_roles_that_goes_and_is_told_so_loses_nothing(cluster: Cluster) -> None:
    """Somebody forced it: it has no endpoint, and relays until its rows end."""
    before = [*hosts(role_a=BOTH), *rest()]
    after = [*without(hosts(role_b=BOTH), "role-a"), *rest()]
    made = commits(before, after)
    found: Counter[str] = Counter()
    for phases in together(made.concerned):
        if phases["role-a"] is Phase.AFTER:
            continue  # no program is left there, and nobody has it in a set any more
        made.load(cluster, phases)
        for target in (PEER, OTHER):
            found.update(each[-1].reason.name for each in journeys(cluster, target))
    assert set(found) == {"DELIVERED"}


def test_an_endpoint_that_goes_is_reached_as_long_as_it_is_there(cluster: Cluster) -> None:
    before = [*hosts(role_a=BOTH, role_b=BOTH), *rest(2)]
    made = commits(before, without(before, "peer", "other"))
    for phases in together(made.concerned):
        made.load(cluster, phases)
        there = phases["first"] is Phase.BEFORE
        for target in (PEER, OTHER):
            reasons = {each[-1].reason for each in journeys(cluster, target)}
            assert (reasons == {Reason.DELIVERED}) if there else (Reason.DELIVERED not in reasons)


@pytest.mark.parametrize("count", [1, 2])
def test_an_endpoint_that_moves_is_found_wherever_it_is(cluster: Cluster, count: int) -> None:
    """Bouncers that know where it is to be know where it was, and its old host where it is."""
    roles = dict.fromkeys(("role_a", "role_b")[:count], BOTH)
    before = [*hosts(**roles), *rest(count)]
    made = commits(before, [*hosts(**roles), *rest(count, first="second", other="second")])
    assert sum(name.startswith("role") for name in made.concerned) == count
    found_at_its_old_place = 0
    for phases in together(made.concerned):
        made.load(cluster, phases)
        there = bool(phases["second"]) or not phases["first"]
        for target in (PEER, OTHER):
            reasons = {each[-1].reason for each in journeys(cluster, target)}
            assert (reasons == {Reason.DELIVERED}) is there, (phases, target)
            assert there or Reason.DELIVERED not in reasons
        roles_know = all(phases[name] for name in phases if name.startswith("role"))
        found_at_its_old_place += roles_know and not (phases["first"] or phases["second"])
    assert found_at_its_old_place, "the mixture in which no bouncer leads there first"


MOVERS = {
    "the sender's host": ("sender", "first"),
    "the sender's host, to where it was": ("first", "sender"),
    "a bouncer": ("first", "role-a"),
    "a bouncer, away from it": ("role-a", "first"),
    "one bouncer to the other": ("role-a", "role-b"),
}


@pytest.mark.parametrize("sending", [PLAIN, {**PLAIN, "bounce": True}])
@pytest.mark.parametrize("name", MOVERS)
def test_it_is_found_also_where_hosts_are_several_things_at_once(
    cluster: Cluster, name: str, sending: dict[str, Any]
) -> None:
    old, new = MOVERS[name]
    roles = {"role_a": BOTH, "role_b": BOTH, "sender": sending}
    count = 2 + sending["bounce"]
    made = commits(
        [*hosts(**roles), *rest(count, first=old)], [*hosts(**roles), *rest(count, first=new)]
    )
    for phases in together(made.concerned):
        made.load(cluster, phases)
        there = bool(phases[new]) or not phases[old]
        reasons = {each[-1].reason for each in journeys(cluster, PEER)}
        assert (reasons == {Reason.DELIVERED}) is there, (phases, reasons)


def test_of_two_moves_in_a_row_the_last_place_is_the_one_that_is_asked(cluster: Cluster) -> None:
    """While the hosts of the endpoint are a commit behind the bouncers."""
    roles = hosts(role_a=BOTH, role_b=BOTH)
    docs = [[*roles, *rest(2, first=where)] for where in ("role-c", "first", "second")]
    made = Commits(docs[0], docs[1], ADDRESSES, SENDER, (docs[2],))
    made.load(cluster, dict.fromkeys(made.concerned, Phase.SETS))
    early = Commits(docs[0], docs[1], ADDRESSES, SENDER)
    for name in ("first", "second"):
        early.load_one(cluster, name, Phase.SETS)
    assert {each[-1].reason for each in journeys(cluster, PEER)} == {Reason.DELIVERED}
    assert {each[-1].host for each in journeys(cluster, PEER)} == {ADDRESSES["first"]}


def test_an_endpoint_that_moves_while_its_only_bouncer_does_is_found_in_the_end(
    cluster: Cluster,
) -> None:
    """The former bouncer's row is out of date: it holds until the host that it names refuses."""
    divides = {"role_c": {"bounce": False, "divide": True}}
    role = {"bounce": True, "divide": False}
    before = [*hosts(role_a=role, **divides), *rest()]
    after = [*hosts(role_b=role, **divides), *rest(first="second")]
    made = commits(before, after)
    for later in (Phase.SETS, Phase.ROWS, Phase.AFTER):
        made.load(cluster, dict.fromkeys(NAMES, later))
        assert {each[-1].reason for each in journeys(cluster, PEER)} == {Reason.DELIVERED}


def test_an_endpoint_that_changes_network_and_host_is_found_in_the_end(cluster: Cluster) -> None:
    """The bouncer of the network that it left keeps a row that leads where it was."""
    role = {"bounce": True, "divide": False}
    docs = [*hosts(role_a=role, role_b=role, role_c={**role, "divide": True}), *rest()]
    docs = without(docs, "web", "peer")
    parts = ("10.0.0.0/25", "10.0.0.128/25")
    before = [network("web", *parts, count=1), endpoint("peer", "web", SPARE, "first")]
    after = [network("web", parts[0], count=1), network("new", parts[1], count=1)]
    made = commits([*docs, *before], [*docs, *after, endpoint("peer", "new", SPARE, "second")])
    for later in (Phase.SETS, Phase.ROWS, Phase.AFTER):
        made.load(cluster, dict.fromkeys(NAMES, later))
        assert {each[-1].reason for each in journeys(cluster, SPARE)} == {Reason.DELIVERED}, later


def test_commits_soon_after_a_role_moved_are_not_hidden_by_what_its_former_host_knows(
    cluster: Cluster,
) -> None:
    """It is preferred, and hears of nothing new: it has to lead there, or to say that it cannot."""
    before = [*hosts(role_a=BOTH), *rest()]
    moved = [*hosts(role_b=BOTH), *rest()]
    later = [
        *hosts(role_b=BOTH),
        *rest(first="second", other="second"),
        endpoint("late", "web", SPARE, "first"),
        network("new", "10.0.2.0/24", count=1),
        endpoint("newest", "new", NEWEST, "first"),
    ]
    made = Commits(before, moved, ADDRESSES, SENDER, (later,))
    for phase in (Phase.SETS, Phase.ROWS, Phase.AFTER):
        made.load(cluster, dict.fromkeys(NAMES, phase))
        for target in (PEER, OTHER, SPARE, NEWEST):
            assert {each[-1].reason for each in journeys(cluster, target)} == {Reason.DELIVERED}


def test_a_new_network_is_reached_as_soon_as_its_hosts_know_it(cluster: Cluster) -> None:
    all_roles = hosts(role_a=BOTH, role_b=BOTH)
    before = [*all_roles, *without(rest(2), "db", "other")]
    made = commits(before, [*all_roles, *rest(2)])
    others = {"role-a", "role-b", "first"}
    for phases in together(made.concerned):
        made.load(cluster, phases)
        reasons = {each[-1].reason for each in journeys(cluster, OTHER)}
        if all(phases.get(each, Phase.AFTER) for each in others):
            assert reasons == {Reason.DELIVERED}
        assert {each[-1].reason for each in journeys(cluster, PEER)} == {Reason.DELIVERED}
