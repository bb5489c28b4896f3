"""What outlives its commit for a while: never less than is wanted, nothing of it for ever."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.abi.generated import EndpointFlag, HostFlag, Limit, VniMark
from reconciler.abi.merge import locate
from reconciler.abi.table import Table, raw
from reconciler.compile.bind import bind
from reconciler.compile.host import compile_host
from reconciler.compile.linger import PERIODS, ROWS, SETS, Kept, keep, lingering, still, withdrawn
from reconciler.compile.overview import Overview
from reconciler.compile.state import HostName, HostState
from reconciler.manifest.document import Document
from tests.compile.facts import complete
from tests.compile.topologies import built, document, documents, endpoint, host, network

HERE = HostName("h0000")
PERIOD = 60.0
NOW = 1_800_000_000.0
PLAIN = {"bounce": False, "divide": False}


def state(*given: Document, name: str = HERE) -> HostState:
    return compile_host(built(given), HostName(name))


def vpc(vni: int = 7, name: str = "shop") -> Document:
    return document("VPC", name, name, {"vni": vni, "cidrs": ["10.0.0.0/8", "2001:db8::/32"]})


def one(*roles: int, endpoints: int = 2, hosts: int = 4) -> list[Document]:
    """One network with endpoints on host 3; the hosts of `roles` may bounce and divide."""
    may = [host(number, **({} if number in roles else PLAIN)) for number in range(hosts)]
    points = (endpoint(rank, 0, 3) for rank in range(endpoints))
    return [*may, vpc(), network(0, bouncers={"count": 1}), *points]


def members(state: HostState, name: str = "bouncers", row: int = 0) -> list[int]:
    values = state.tables[name].values
    return list(values["host"][row].tolist()[: int(values["count"][row])])


def underlay(state: HostState, name: str) -> int:
    table = state.tables["hosts"]
    texts = [state.origins[each] for each in table.origins.tolist()]
    return int(table.keys["address"][texts.index(f"Host {name}")])


def holds(state: HostState, table: Table) -> bool:
    """Whether it has all rows of the table, as they are."""
    found = state.tables[table.spec.name]
    place, present = locate(table, found)
    return bool(present.all() and (raw(found.values)[place] == raw(table.values)).all())


def follow(states: Sequence[HostState], times: Iterable[float]) -> tuple[Kept, ...]:
    """What is kept after one state follows the other at those times."""
    kept: tuple[Kept, ...] = ()
    for old, new, now in zip(states, states[1:], times, strict=False):
        kept = keep(kept, withdrawn(old, new), new, now, PERIOD)
    return kept


# Any states at any times


@settings(deadline=None)
@given(st.lists(documents(), min_size=2, max_size=4), st.lists(st.floats(0, 100), min_size=3))
def test_within_the_time_nothing_wanted_is_missing_and_after_it_nothing_else_is_left(
    clusters: list[list[Document]], waits: list[float]
) -> None:
    states = [compile_host(built(each), HERE) for each in clusters]
    kept: tuple[Kept, ...] = ()
    now = NOW
    for old, new, wait in zip(states, states[1:], waits, strict=False):
        now += wait
        kept = keep(kept, withdrawn(old, new), new, now, PERIOD)
        found = lingering(new, kept)
        check_lingering(new, found)
        assert still(kept, now, PERIOD) is kept
    last = states[min(len(states), len(waits) + 1) - 1]
    for later in np.linspace(now, now + PERIODS * PERIOD - 1, 7).tolist():
        check_lingering(last, lingering(last, still(kept, later, PERIOD)))
    after = still(kept, now + PERIODS * PERIOD, PERIOD)
    assert after == ()
    assert lingering(last, after) is last


def check_lingering(own: HostState, found: HostState) -> None:
    """The commit's own rows, sets with more members, and rows that other hosts may use."""
    for name, table in own.tables.items():
        assert found.tables[name] is table or name in ROWS
        if name not in SETS:
            assert holds(found, table)
    for name in SETS:
        place, present = locate(own.tables[name], found.tables[name])
        assert present.all()
        for row, there in enumerate(place.tolist()):
            assert set(members(own, name, row)) <= set(members(found, name, there))
        for values in found.tables[name].values:
            count, settled = int(values["count"]), int(values["settled"])
            hosts = values["host"].tolist()
            assert 0 < count <= Limit.SET
            assert len(set(hosts[:count])) == count
            assert not any(hosts[count:])
            assert settled < count
    more = found.tables["endpoints"]
    _, known = locate(more, own.tables["endpoints"])
    assert not (more.values["flags"][~known] & (EndpointFlag.LOCAL | EndpointFlag.GATEWAY)).any()
    assert (more.values["flags"][~known] & EndpointFlag.LEAVING).all()
    assert (found.programs, found.links) == (own.programs, own.links)
    assert found.interfaces == own.interfaces
    bound = bind(found, complete(found))
    assert not bound.waiting, "every host that a row names is known"
    for name in ROWS:
        assert len(bound.state.tables[name]) == len(found.tables[name])


@settings(deadline=None)
@given(documents(), documents(), st.floats(0, 59))
def test_a_revert_ends_in_exactly_what_was_before(
    first: list[Document], second: list[Document], wait: float
) -> None:
    one, two = (compile_host(built(each), HERE) for each in (first, second))
    kept = follow([one, two, one], [NOW, NOW + wait])
    assert lingering(one, still(kept, NOW + wait + PERIODS * PERIOD, PERIOD)) is one


@settings(deadline=None)
@given(documents())
def test_where_nothing_is_taken_away_nothing_is_kept(given: list[Document]) -> None:
    old, new = (compile_host(built(given), HERE) for _ in range(2))
    kept = keep((), withdrawn(old, new), new, NOW, PERIOD)
    assert kept == ()
    assert lingering(new, kept) is new


def test_without_a_period_everything_goes_at_once() -> None:
    old, new = state(*one(0)), state(*one(1))
    assert keep((), withdrawn(old, new), new, NOW, 0) == ()


# What is kept


def test_a_former_bouncer_and_divider_keeps_what_it_knew() -> None:
    old, new = state(*one(0)), state(*one(1))
    found = lingering(new, keep((), withdrawn(old, new), new, NOW, PERIOD))
    for name in ("networks", *SETS):
        assert not len(new.tables[name])
        assert holds(found, old.tables[name])
    assert len(old.tables["endpoints"]) == len(found.tables["endpoints"]) == 4
    texts = {found.origins[each] for each in found.tables["endpoints"].origins.tolist()}
    assert texts == {"Endpoint shop/e0000x0000", "Endpoint shop/e0000x0001"}


def test_sets_prefer_old_members_for_a_period_and_rows_stay_one_more() -> None:
    old, new = (state(*one(role), name="h0003") for role in (0, 1))
    h0, h1 = underlay(old, "h0000"), underlay(old, "h0001")
    kept = keep((), withdrawn(old, new), new, NOW, PERIOD)
    found = lingering(new, kept)
    assert members(found) == [h0, h1]
    assert found.tables["bouncers"].values["settled"].tolist() == [1]
    assert lingering(new, still(kept, NOW + PERIOD, PERIOD)) is new
    old, new = state(*one(0)), state(*one(1))
    kept = keep((), withdrawn(old, new), new, NOW, PERIOD)
    later = lingering(new, still(kept, NOW + PERIOD, PERIOD))
    assert len(later.tables["endpoints"]) == 4
    assert lingering(new, still(kept, NOW + 2 * PERIOD, PERIOD)) is new


def test_of_several_changes_the_members_before_all_of_them_are_preferred() -> None:
    states = [state(*one(role), name="h0003") for role in (0, 1, 2)]
    h0, h1, h2 = (underlay(states[0], f"h000{each}") for each in range(3))
    kept = follow(states, [NOW, NOW + 30])
    found = lingering(states[2], kept)
    assert members(found) == [h0, *sorted([h1, h2])]
    assert found.tables["bouncers"].values["settled"].tolist() == [1]
    found = lingering(states[2], still(kept, NOW + PERIOD, PERIOD))
    assert members(found) == [h1, h2]
    assert found.tables["bouncers"].values["settled"].tolist() == [1]
    assert lingering(states[2], still(kept, NOW + 30 + PERIOD, PERIOD)) is states[2]


def test_a_former_bouncer_and_divider_learns_who_is_one_now() -> None:
    clusters = [one(role) for role in (0, 1, 2)]
    states = [state(*each) for each in clusters]
    h0, h1, h2 = (underlay(states[0], f"h000{each}") for each in range(3))
    kept: tuple[Kept, ...] = ()
    for number, now_there in ((1, h1), (2, h2)):
        gone = withdrawn(states[number - 1], states[number])
        overview = Overview.of(built(clusters[number]))
        kept = keep(kept, gone, states[number], NOW + number, PERIOD, overview)
        found = lingering(states[number], kept)
        for name in SETS:
            assert members(found, name) == [h0, now_there]
            assert found.tables[name].values["settled"].tolist() == [1]


def test_a_set_has_room_for_all_that_a_commit_wants() -> None:
    def wide(*numbers: int) -> HostState:
        may = [host(n, **({} if n in numbers else PLAIN)) for n in range(13)]
        points = endpoint(0, 0, 12)
        bouncers = {"count": 8, "zones": "any"}
        return state(*may, vpc(), network(0, bouncers=bouncers), points, name="h0012")

    old, new = wide(*range(8)), wide(*range(2, 8), 8, 9)
    found = members(lingering(new, keep((), withdrawn(old, new), new, NOW, PERIOD)))
    assert sorted(found) == members(new), "eight are wanted, which leaves no room"
    new = wide(*range(2, 8), 8)
    found = members(lingering(new, keep((), withdrawn(old, new), new, NOW, PERIOD)))
    assert set(members(new)) < set(found)
    assert len(found) == Limit.SET


def test_a_host_that_goes_is_believed_for_a_while_and_stays_in_its_sets() -> None:
    old = state(*one(0), name="h0003")
    new = state(*one(1)[1:], name="h0003")
    h0 = underlay(old, "h0000")
    found = lingering(new, keep((), withdrawn(old, new), new, NOW, PERIOD))
    assert h0 not in new.tables["hosts"].keys["address"]
    assert h0 in found.tables["hosts"].keys["address"]
    assert members(found)[0] == h0


@pytest.mark.parametrize(("mode", "program"), [("native", "transit"), ("tc", "transit_tc")])
def test_a_host_that_the_commit_forgets_relays_for_a_while(mode: str, program: str) -> None:
    _, *others = one(0)
    old, new = state(host(0, attachMode=mode), *others), HostState.empty(HERE)
    kept = keep((), withdrawn(old, new), new, NOW, PERIOD)
    found = lingering(new, kept)
    assert found.programs == old.programs
    assert [each.program for each in found.links] == [program]
    assert holds(found, old.tables["hosts"])
    assert not bind(found, complete(found)).waiting
    assert lingering(new, still(kept, NOW + 2 * PERIOD, PERIOD)) is new


def test_the_address_that_a_host_had_is_not_kept_as_its_own() -> None:
    old = state(*one(0))
    new = state(host(0, underlay="172.31.99.1"), *one(1)[1:])
    found = lingering(new, keep((), withdrawn(old, new), new, NOW, PERIOD)).tables["hosts"]
    assert np.count_nonzero(found.values["flags"] & HostFlag.SELF) == 1
    assert underlay(old, HERE) not in found.keys["address"]


def test_what_only_endpoints_here_use_goes_at_once() -> None:
    old, new = state(*one(0), name="h0003"), state(*one(0, endpoints=0), name="h0003")
    kept = keep((), withdrawn(old, new), new, NOW, PERIOD)
    found = lingering(new, kept)
    assert not len(found.tables["endpoints"])
    assert not len(found.tables["routers"])


def placed(*where: int, name: str = HERE) -> HostState:
    """Of one network that host 0 bounces, endpoints on these hosts."""
    may = [host(number, **({} if number == 0 else PLAIN)) for number in range(4)]
    points = (endpoint(rank, 0, number) for rank, number in enumerate(where))
    return state(*may, vpc(), network(0, bouncers={"count": 1}), *points, name=name)


def former(state: HostState) -> Table:
    rows = state.tables["endpoints"]
    return rows.take(rows.keys["vni"] & VniMark.FORMER != 0)


def test_a_bouncer_knows_for_a_while_where_an_endpoint_was_that_moved() -> None:
    old, new = placed(1, 2), placed(3, 2)
    gone = withdrawn(old, new)
    assert not any(map(len, gone.rows.tables.values())), "nothing that a guard has to count"
    kept = keep((), gone, new, NOW, PERIOD)
    found = former(lingering(new, kept))
    assert set(found.values["host"].tolist()) == {underlay(old, "h0001")}
    assert set(found.keys["vni"].tolist()) == {7 | VniMark.FORMER}
    assert len(found) == 2, "one for each address"
    check_lingering(new, lingering(new, kept))
    texts = {lingering(new, kept).origins[each] for each in found.origins.tolist()}
    assert texts == {"Endpoint shop/e0000x0000"}
    assert len(former(lingering(new, still(kept, NOW + 2 * PERIOD - 1, PERIOD)))) == 2
    assert lingering(new, still(kept, NOW + 2 * PERIOD, PERIOD)) is new


def test_of_several_moves_it_knows_the_last_place_before() -> None:
    states = [placed(each) for each in (1, 2, 3, 2)]
    kept = follow(states, [NOW, NOW + 1, NOW + 2])
    for end, place in ((2, "h0001"), (3, "h0002"), (4, "h0003")):
        kept = follow(states[:end], [NOW, NOW + 1, NOW + 2])
        found = former(lingering(states[end - 1], kept))
        assert set(found.values["host"].tolist()) == {underlay(states[0], place)}


def test_a_host_that_has_or_had_the_endpoint_itself_needs_no_such_row() -> None:
    for where in ((0, 1), (1, 0)):
        old, new = placed(where[0]), placed(where[1])
        assert not len(former(lingering(new, keep((), withdrawn(old, new), new, NOW, PERIOD))))


def test_where_an_endpoint_was_goes_with_its_vpc() -> None:
    old, new = placed(1), placed(2)
    kept = keep((), withdrawn(old, new), new, NOW, PERIOD)
    theirs = [vpc(7, "red"), network(0, vpc="red", bouncers={"count": 1})]
    other = state(*one(0)[:4], *theirs, endpoint(0, 0, 3, vpc="red"))
    kept = keep(kept, withdrawn(new, other), other, NOW + 1, PERIOD)
    assert lingering(other, kept) is other


# What is not


def test_a_vni_that_is_another_vpcs_now_gives_it_nothing_of_the_old_one() -> None:
    theirs = [vpc(7, "red"), network(1, vpc="red", bouncers={"count": 1})]
    more = endpoint(0, 1, 3, vpc="red")
    for name in ("h0000", "h0003"):
        old = state(*one(0), name=name)
        new = state(*one(1, endpoints=0)[:4], *theirs, more, name=name)
        also = state(*one(0, endpoints=0)[:4], *theirs, more, name=name)
        for each in (new, also):
            if len(each.tables["bouncers"]):
                assert lingering(each, keep((), withdrawn(old, each), each, NOW, PERIOD)) is each


def test_a_vni_that_became_free_and_was_given_away_later_takes_its_rows_along() -> None:
    old, free = state(*one(0)), state(*one(0)[:4])
    kept = keep((), withdrawn(old, free), free, NOW, PERIOD)
    assert len(lingering(free, kept).tables["endpoints"])
    theirs = [vpc(7, "red"), network(1, vpc="red"), endpoint(0, 1, 3, vpc="red")]
    taken = state(*one(0)[:4], *theirs)
    kept = keep(kept, withdrawn(free, taken), taken, NOW + 1, PERIOD)
    assert lingering(taken, kept) is taken
    again = keep(kept, withdrawn(taken, free), free, NOW + 2, PERIOD)
    assert set(lingering(free, again).vpcs) == set()
    texts = lingering(free, again).origins
    assert not [each for each in texts if "shop" in each], "what is over does not come back"


def test_rows_of_a_vni_that_nobody_can_name_are_not_kept() -> None:
    old, new = state(*one(0)), state(*one(1), name=HERE)
    nameless = replace(old, vpcs={})
    assert lingering(new, keep((), withdrawn(nameless, new), new, NOW, PERIOD)) is new


def test_a_network_that_lies_in_a_new_one_hides_nothing_of_it() -> None:
    old = state(host(0), vpc(), network(0), endpoint(0, 0, 0))
    new = state(host(0), vpc(), network(0, 1024, bouncers={"count": 2}))
    kept = keep((), withdrawn(old, new), new, NOW, PERIOD)
    found = lingering(new, kept).tables["networks"]
    assert found == new.tables["networks"]
    gone = state(host(0), vpc())
    kept = keep(kept, withdrawn(new, gone), gone, NOW + 1, PERIOD)
    assert lingering(gone, kept).tables["networks"] == new.tables["networks"]


def test_an_endpoint_that_came_back_is_where_the_commit_says() -> None:
    old, gone = state(*one(0)), state(*one(0, endpoints=1))
    back = state(*one(0, endpoints=1), endpoint(1, 0, 2))
    kept = follow([old, gone, back], [NOW, NOW + 1])
    assert lingering(back, kept).tables["endpoints"] == back.tables["endpoints"]


def test_a_clock_that_is_put_back_keeps_nothing_longer_than_twice_the_period() -> None:
    old, new = state(*one(0)), state(*one(1))
    kept = keep((), withdrawn(old, new), new, NOW, PERIOD)
    before = still(kept, NOW - 1e6, PERIOD)
    assert before
    assert max(each.until for each in before) == NOW - 1e6 + 2 * PERIOD
    assert still(before, NOW - 1e6 + 2 * PERIOD, PERIOD) == ()
    assert still(kept, NOW + 1, 0) == ()


def test_what_a_guard_has_to_count_is_what_leaves() -> None:
    old, new = state(*one(0)), state(*one(1))
    gone = withdrawn(old, new).rows.tables
    assert {name: len(each) for name, each in gone.items() if len(each)} == {
        "endpoints": 4,
        "networks": 2,
        "bouncers": 1,
        "dividers": 1,
    }
