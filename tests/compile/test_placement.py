"""Who bounces and who divides: shares, zones, and what moves when a host comes or goes."""

from ipaddress import IPv4Address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.compile.placement import bouncers, dividers, place
from reconciler.model.topology import Host, Placement
from tests.compile.topologies import built, document, host, regular

KEYS = [f"network {number}" for number in range(2000)]


def machine(number: int, zone: str = "a", weight: int = 1) -> Host:
    """A host of which only name, zone and weight matter here."""
    return Host(
        name=f"h{number:04}",
        underlay=IPv4Address(number),
        interface="eth0",
        external_interface=None,
        labels={},
        zone=zone,
        bounce=True,
        divide=True,
        gateway=False,
        cordon=False,
        managed=True,
        weight=weight,
        attach_mode="native",
    )


def chosen(hosts: list[Host], keys: list[str], wanted: Placement) -> list[frozenset[str]]:
    """The names of the hosts of each key."""
    sets = place(keys, [wanted] * len(keys), hosts, [True] * len(hosts))
    return [frozenset(hosts[index].name for index in each) for each in sets]


MACHINES = st.lists(
    st.builds(machine, st.integers(0, 40), st.sampled_from("abc"), st.integers(1, 5)),
    min_size=1,
    max_size=12,
    unique_by=lambda each: each.name,
)
WANTED = st.builds(Placement, st.integers(1, 8), st.booleans())


@given(MACHINES, WANTED)
def test_as_many_hosts_as_wanted_take_the_role_if_there_are_as_many(
    hosts: list[Host], wanted: Placement
) -> None:
    for each in chosen(hosts, KEYS[:5], wanted):
        assert len(each) == min(wanted.count, len(hosts))


@given(MACHINES, st.integers(1, 8))
def test_spread_uses_every_zone_before_any_zone_twice(hosts: list[Host], count: int) -> None:
    zones = {each.name: each.zone for each in hosts}
    for each in chosen(hosts, KEYS[:5], Placement(count, True)):
        used = sorted(zones[name] for name in each)
        assert len(set(used)) == min(len(set(zones.values())), len(each))


@given(MACHINES, WANTED, st.data())
def test_a_host_that_goes_is_replaced_where_it_was_and_nothing_else_moves(
    hosts: list[Host], wanted: Placement, data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(hosts))
    left = [each for each in hosts if each is not gone]
    before, after = chosen(hosts, KEYS[:20], wanted), chosen(left, KEYS[:20], wanted)
    for old, new in zip(before, after, strict=True):
        assert old - {gone.name} <= new
        assert gone.name in old or old == new


@given(MACHINES, WANTED, st.randoms(use_true_random=False))
def test_the_order_of_hosts_and_keys_does_not_matter(
    hosts: list[Host], wanted: Placement, random: Random
) -> None:
    keys, others = KEYS[:10], list(hosts)
    shuffled = random.sample(keys, len(keys))
    random.shuffle(others)
    before = dict(zip(keys, chosen(hosts, keys, wanted), strict=True))
    after = dict(zip(shuffled, chosen(others, shuffled, wanted), strict=True))
    assert before == after


@pytest.mark.parametrize("spread", [True, False])
def test_one_more_host_takes_only_its_share(
    spread: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = [machine(number, "ab"[number % 2]) for number in range(20)]
    wanted = Placement(2, spread)
    before, after = (chosen(each, KEYS, wanted) for each in (hosts[:19], hosts))
    moved = sum(len(new - old) for old, new in zip(before, after, strict=True))
    places = sum(map(len, after))
    with capsys.disabled():
        print(f"\n  the 20th host takes {moved / places:.2%} of all places; its share is 5.00%")
    assert all(new - old <= {"h0019"} for old, new in zip(before, after, strict=True))
    assert 0.04 < moved / places < 0.06


def test_a_host_of_three_times_the_weight_takes_three_times_the_places() -> None:
    hosts = [machine(0, weight=3), *(machine(number) for number in range(1, 10))]
    taken = [name for each in chosen(hosts, KEYS, Placement(1, False)) for name in each]
    heavy, light = taken.count("h0000"), (len(taken) - taken.count("h0000")) / 9
    assert 2.5 < heavy / light < 3.5


@settings(max_examples=20)
@given(st.integers(1, 6))
def test_shares_are_even(count: int) -> None:
    hosts = [machine(number) for number in range(10)]
    taken = [name for each in chosen(hosts, KEYS, Placement(count, False)) for name in each]
    fair = len(KEYS) * count / 10
    assert all(0.8 * fair < taken.count(each.name) < 1.2 * fair for each in hosts)


def test_cordoned_unwilling_and_foreign_hosts_take_no_role() -> None:
    documents = regular(1, 20, 0)
    documents += [
        host(1, cordon=True),
        host(2, managed=False),
        host(3, bounce=False),
        host(4, divide=False),
    ]
    topology = built(documents)
    assert {index for each in bouncers(topology) for index in each.tolist()} == {0, 4}
    assert {index for each in dividers(topology) for index in each.tolist()} == {0, 3}


def test_a_network_and_a_vpc_of_one_name_are_placed_apart() -> None:
    documents = [host(number) for number in range(40)]
    for number in range(10):
        name, cidrs = f"same{number}", ["10.0.0.0/8"]
        documents.append(document("VPC", name, name, {"vni": number + 1, "cidrs": cidrs}))
        documents.append(document("Network", name, name, {"vpc": name, "cidrs": cidrs}))
    topology = built(documents)
    pairs = zip(bouncers(topology), dividers(topology), strict=True)
    assert sum(left.tolist() == right.tolist() for left, right in pairs) < 2


def test_placement_is_the_same_in_every_release() -> None:
    hosts = [machine(number, "abc"[number % 3]) for number in range(9)]
    names = [sorted(each) for each in chosen(hosts, KEYS[:3], Placement())]
    assert names == [["h0000", "h0007"], ["h0000", "h0007"], ["h0000", "h0004"]]
