"""What a guard refuses, with which figures, and what an operator can say about it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.abi.generated import MAPS
from reconciler.abi.shape import Shape
from reconciler.abi.table import Table
from reconciler.compile.state import HostState, Interface, InterfaceKind
from reconciler.manifest.document import Document
from reconciler.plan import codes
from reconciler.plan.guards import ANY_UPGRADE, Context, Inventory, Limits, inventory
from reconciler.plan.plan import Plan, make_plan
from tests.plan.states import HOST, endpoints, state, table

EMPTY = state()


def names(endpoints: int, hosts: tuple[str, ...] = (HOST,), prefix: str = "shop/web") -> Inventory:
    found = {"Endpoint": frozenset(f"{prefix}-{each}" for each in range(endpoints))}
    return {**found, "Host": frozenset(hosts)}


def judged(
    before: Inventory | None,
    after: Inventory | None,
    desired: HostState = EMPTY,
    live: HostState = EMPTY,
    **context: object,
) -> Plan:
    return make_plan(
        desired,
        live,
        context=Context(before=before, after=after, **context),  # type: ignore[arg-type]
    )


def refused(plan: Plan) -> list[str]:
    return [each.code for each in plan.refusals]


def ends(count: int) -> HostState:
    """A host with endpoints' interfaces, and no rows."""
    return state(
        interfaces=tuple(
            Interface(f"rv{each}", f"shop/web-{each}", InterfaceKind.VETH, 1, 1)
            for each in range(count)
        )
    )


def test_a_commit_like_the_last_one_is_not_refused() -> None:
    assert not judged(names(20), names(20), state(endpoints(20)), state(endpoints(20))).refused


@pytest.mark.parametrize("before", [None, names(3), names(20)])
def test_a_commit_without_manifests_is_refused(before: Inventory | None) -> None:
    plan = judged(before, {}, live=state(endpoints(3)))
    assert codes.EMPTY_SOURCE in refused(plan)


def test_a_commit_without_manifests_is_refused_on_an_empty_host_too() -> None:
    assert refused(judged(None, {})) == [codes.EMPTY_SOURCE]


def test_a_commit_without_manifests_that_was_forced_once_is_kept_without_another_word() -> None:
    assert not judged({}, {}).refused


def test_a_commit_without_this_host_is_refused() -> None:
    plan = judged(names(3), names(3, hosts=("edge-2",)), live=state(endpoints(3)))
    assert refused(plan) == [codes.HOST_MISSING]
    assert "no Host edge-1; it has 1 other host" in plan.refusals[0].message


def test_a_host_name_that_no_commit_ever_had_is_refused() -> None:
    assert refused(judged(None, names(3, hosts=("edge-2",)))) == [codes.HOST_MISSING]


def test_a_host_that_was_given_up_by_force_stays_so() -> None:
    gone = names(3, hosts=("edge-2",))
    assert not judged(gone, gone).refused


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (10, 7, []),  # 30 % is not more than 30 %
        (10, 6, [codes.KIND_SHARE]),
        (9, 1, []),  # from ten up
        (100, 70, []),
        (100, 69, [codes.KIND_SHARE]),
    ],
)
def test_more_than_30_percent_of_a_kind_from_ten_up_is_refused(
    before: int, after: int, wanted: list[str]
) -> None:
    assert refused(judged(names(before), names(after))) == wanted


def test_each_kind_is_measured_by_itself() -> None:
    before = {**names(100), "Network": frozenset(f"shop/n{each}" for each in range(10))}
    after = {**names(100), "Network": frozenset(f"shop/n{each}" for each in range(5))}
    (refusal,) = judged(before, after).refusals
    assert refusal.figures == {"kind": "Network", "deleted": 5, "before": 10}
    assert "shop/n5, shop/n6, shop/n7, ..." in refusal.message


def test_renaming_is_deleting() -> None:
    after = names(20, prefix="shop/api")
    assert refused(judged(names(20), after)) == [codes.KIND_SHARE]


def test_additions_do_not_make_up_for_deletions() -> None:
    after = {**names(0), "Endpoint": frozenset(f"shop/other-{each}" for each in range(1000))}
    assert refused(judged(names(20), after)) == [codes.KIND_SHARE]


def test_moving_manifests_to_other_files_deletes_nothing() -> None:
    def documents(path: str) -> list[Document]:
        host = Document("Host", "", HOST, path, 0, {})
        points = [Document("Endpoint", "shop", f"web-{n}", path, n, {}) for n in range(20)]
        return [host, *points]

    before, after = inventory(documents("a.yaml")), inventory(reversed(documents("b.yaml")))
    assert before == after
    assert not judged(before, after).refused


def test_deleting_in_several_commits_is_allowed() -> None:
    sizes = [100, 70, 49, 35, 25, 18, 13, 10, 7, 0]
    assert not any(judged(names(a), names(b)).refused for a, b in pairwise(sizes))


def test_a_refused_commit_does_not_become_the_measure_of_the_next() -> None:
    """The context compares with what was applied here, so a second commit cannot slip through."""
    applied, second = names(100), names(40)
    assert refused(judged(applied, second)) == [codes.KIND_SHARE]


@pytest.mark.parametrize(
    ("live", "left", "wanted"),
    [(10, 7, []), (10, 6, [codes.ROW_SHARE]), (9, 0, []), (1000, 699, [codes.ROW_SHARE])],
)
def test_more_than_30_percent_of_the_rows_from_ten_up_is_refused(
    live: int, left: int, wanted: list[str]
) -> None:
    plan = make_plan(state(endpoints(left)), state(endpoints(live)))
    assert refused(plan) == wanted


def test_rows_of_all_tables_count_together() -> None:
    hosts = table("hosts", [({"address": each}, {"slot": each}) for each in range(1, 31)])
    plan = make_plan(state(hosts), state(hosts, endpoints(12)))
    assert not plan.refused
    plan = make_plan(state(hosts), state(hosts, endpoints(13)))
    assert [dict(each.figures) for each in plan.refusals] == [{"deleted": 13, "before": 43}]


def test_new_rows_do_not_make_up_for_deleted_ones() -> None:
    plan = make_plan(state(endpoints(500, first=100)), state(endpoints(20)))
    assert refused(plan) == [codes.ROW_SHARE]


def test_rows_that_no_commit_wanted_are_removed_without_asking() -> None:
    """Somebody filled a map by hand: to heal it deletes nothing that was meant."""
    wanted = state(endpoints(5))
    plan = make_plan(wanted, state(endpoints(500)), context=Context(last=wanted))
    assert plan.counts.delete == 495
    assert not plan.refused


def test_strange_rows_do_not_hide_the_deletion_of_wanted_ones() -> None:
    last, live = state(endpoints(20)), state(endpoints(500))
    plan = make_plan(state(endpoints(10)), live, context=Context(last=last))
    assert [dict(each.figures) for each in plan.refusals] == [{"deleted": 10, "before": 20}]


def test_rows_that_lost_their_interface_go_without_asking() -> None:
    """The last commit, bound with the facts of now, does not want them either."""
    bound = state(endpoints(2))
    plan = make_plan(bound, state(endpoints(20)), context=Context(last=bound))
    assert not plan.refused


def test_without_a_last_state_every_deletion_counts() -> None:
    assert refused(make_plan(EMPTY, state(endpoints(20)))) == [codes.ROW_SHARE]


# Rows that other hosts may still use


def of(rows: Table, prefix: str = "Endpoint shop/web") -> HostState:
    """A state of these rows alone, each from a manifest of its own."""
    texts = tuple(f"{prefix}-{each:02}" for each in range(len(rows)))
    numbered = replace(rows, origins=np.arange(len(rows), dtype=np.int32))
    return replace(state(numbered), origins=texts)


def padded(count: int) -> Inventory:
    return {
        "Endpoint": frozenset(f"shop/web-{each:02}" for each in range(count)),
        "Host": frozenset([HOST]),
    }


def test_rows_that_leave_count_though_they_are_kept_for_a_while() -> None:
    live, leaving = of(endpoints(20)), of(endpoints(8))
    plan = judged(padded(20), padded(20), live, live, own=EMPTY, last=live)
    assert plan.empty
    assert not plan.refused
    held = judged({}, {"Host": {HOST}}, live, live, own=EMPTY, last=live, leaving=leaving)
    assert held.empty
    assert held.leaves == 8
    assert refused(held) == [codes.ROW_SHARE]
    assert held.refusals[0].figures == {"deleted": 8, "before": 20}
    assert held.digest != plan.digest, "so that the one may be forced without the other"


def test_rows_whose_time_is_over_count_neither_as_deleted_nor_as_part_of_the_whole() -> None:
    live, kept = endpoints(40), endpoints(20)
    names = {"Host": frozenset([HOST])}
    gone = state(endpoints(20, first=20))
    own = of(live)
    assert refused(judged(names, names, gone, own, own=gone, last=own)) == [codes.ROW_SHARE]
    assert not judged(names, names, gone, own, own=gone, last=own, beside=of(kept)).refused
    more = state(endpoints(13, first=27))
    plan = judged(names, names, more, own, own=more, last=own, beside=of(kept))
    assert refused(plan) == [codes.ROW_SHARE]
    assert plan.refusals[0].figures == {"deleted": 7, "before": 20}


def test_rows_of_a_manifest_that_the_host_has_nothing_to_do_with_any_more_are_not_lost() -> None:
    live = of(endpoints(20))
    assert not judged(padded(20), padded(20), EMPTY, live, last=live).refused
    assert refused(judged(padded(20), padded(13), EMPTY, live, last=live))[-1] == codes.ROW_SHARE


def test_rows_that_are_replaced_by_others_of_the_same_manifest_count() -> None:
    """As when the VNI of their VPC is another one."""
    live, desired = of(endpoints(20)), of(endpoints(20, vni=2))
    plan = judged(padded(20), padded(20), desired, live, last=live)
    assert refused(plan) == [codes.ROW_SHARE]


def test_the_first_plan_of_an_empty_host_is_not_refused() -> None:
    assert not judged(None, names(50), state(endpoints(50))).refused


@pytest.mark.parametrize(
    ("live", "left", "wanted"), [(10, 7, []), (10, 6, [codes.INTERFACE_SHARE]), (9, 0, [])]
)
def test_more_than_30_percent_of_the_interfaces_from_ten_up_is_refused(
    live: int, left: int, wanted: list[str]
) -> None:
    """Another attachment for every endpoint deletes no manifest and no row."""
    assert refused(make_plan(ends(left), ends(live))) == wanted


def test_the_limits_can_be_set() -> None:
    assert not make_plan(EMPTY, state(endpoints(20)), limits=Limits(percent=100)).refused
    assert make_plan(EMPTY, state(endpoints(2)), limits=Limits(percent=0, least=1)).refused


def test_a_map_too_small_is_refused_with_its_figures() -> None:
    capacity = MAPS["dividers"].capacity
    full = table("dividers", [({"vni": each}, {}) for each in range(capacity)])
    other = table("dividers", [({"vni": each}, {}) for each in range(1, capacity + 1)])
    plan = make_plan(state(other), state(full))
    (refusal,) = plan.refusals
    assert refusal.code == codes.CAPACITY
    assert (refusal.figures["peak"], refusal.figures["final"]) == (capacity + 1, capacity)
    assert "delete first" in refusal.message


def test_a_full_map_that_is_only_rewritten_is_not_too_small() -> None:
    keys = [{"vni": each} for each in range(MAPS["dividers"].capacity)]
    old = table("dividers", [(each, {"count": 1}) for each in keys])
    new = table("dividers", [(each, {"count": 2}) for each in keys])
    assert not make_plan(state(new), state(old)).refused


def test_an_index_beyond_an_array_is_refused() -> None:
    beyond = table("uplinks", [({"index": MAPS["uplinks"].capacity}, {"ifindex": 1})])
    within = table("uplinks", [({"index": MAPS["uplinks"].capacity - 1}, {"ifindex": 1})])
    assert refused(make_plan(state(beyond), EMPTY)) == [codes.CAPACITY]
    assert not make_plan(state(within), EMPTY).refused


def test_the_plan_of_the_digest_that_is_named_is_allowed_and_says_so() -> None:
    live = state(endpoints(20))
    digest = judged(names(20), {}, live=live).digest
    plan = judged(names(20), {}, live=live, forced=digest)
    assert not plan.refused
    assert [each.code for each in plan.forced] == [
        codes.EMPTY_SOURCE,
        codes.KIND_SHARE,
        codes.ROW_SHARE,
    ]


def test_another_plan_is_not_allowed_by_that_digest() -> None:
    digest = judged(names(20), {}, live=state(endpoints(20))).digest
    assert judged(names(20), {}, live=state(endpoints(21)), forced=digest).refused


@given(st.text(max_size=20))
def test_nothing_but_the_whole_digest_forces(forced: str) -> None:
    plan = make_plan(EMPTY, state(endpoints(20)), context=Context(forced=forced))
    assert plan.refused == (forced != plan.digest)


def test_a_map_too_small_cannot_be_forced() -> None:
    beyond = state(table("uplinks", [({"index": 4}, {"ifindex": 1})]))
    live = state(endpoints(20))
    digest = make_plan(beyond, live).digest
    plan = make_plan(beyond, live, context=Context(forced=digest))
    assert refused(plan) == [codes.CAPACITY]
    assert [each.code for each in plan.forced] == [codes.ROW_SHARE]


def test_every_refusal_has_an_explanation() -> None:
    given_codes = {value for name, value in vars(codes).items() if str(value).startswith("GRD")}
    assert given_codes == set(codes.GUARDS)


def test_a_plan_of_another_host_has_another_digest() -> None:
    live = state(endpoints(20))
    here = make_plan(EMPTY, live)
    there = make_plan(replace(EMPTY, host="edge-2"), replace(live, host="edge-2"))
    assert here.digest != there.digest


def shaped(capacity: int = 64, column: str = "") -> Shape:
    """`paths` of another capacity, with a column that this release lacks."""
    made = Shape.of(MAPS["paths"], capacity)
    return replace(made, value=(*made.value, f"{column} u32"), value_size=12) if column else made


def upgraded(live: Shape, wanted: Shape | None, **context: str) -> Plan:
    """A plan that makes a map anew."""
    desired = state(maps=(wanted,) if wanted else ())
    return make_plan(desired, state(maps=(live,)), context=Context(**context))


def test_an_upgrade_that_loses_nothing_goes_ahead_unless_it_is_to_be_asked_for() -> None:
    assert not upgraded(shaped(64), shaped(256)).refused
    asked = Limits(upgrades=False)
    plan = make_plan(state(maps=(shaped(256),)), state(maps=(shaped(64),)), limits=asked)
    assert refused(plan) == [codes.UPGRADE]
    assert "map paths: capacity is 64 in the kernel, 256 expected" in plan.refusals[0].message
    assert "`reconciler apply --upgrade`" in plan.refusals[0].message
    assert not make_plan(state(maps=(shaped(64),)), EMPTY, limits=asked).refused  # the first time


@pytest.mark.parametrize(
    ("live", "wanted", "lost"),
    [
        (shaped(column="class"), shaped(), "would be lost: map paths: column class is not known"),
        (shaped(256), shaped(64), "would be lost: map paths: 256 rows are to become 64"),
        (shaped(), None, "would be lost: map paths: this release has no such map"),
    ],
)
def test_an_upgrade_that_loses_what_was_learned_is_held_until_it_is_asked_for(
    live: Shape, wanted: Shape | None, lost: str
) -> None:
    plan = upgraded(live, wanted)
    assert refused(plan) == [codes.UPGRADE]
    assert lost in plan.refusals[0].message
    assert refused(upgraded(live, wanted, forced=plan.digest)) == [codes.UPGRADE]
    asked = upgraded(live, wanted, forced=ANY_UPGRADE)
    assert not asked.refused
    assert [each.code for each in asked.forced] == [codes.UPGRADE]


def test_asking_for_an_upgrade_allows_nothing_else() -> None:
    live = replace(state(endpoints(20)), maps=(shaped(256),))
    plan = make_plan(state(maps=(shaped(64),)), live, context=Context(forced=ANY_UPGRADE))
    assert refused(plan) == [codes.ROW_SHARE]


def test_a_map_is_not_made_too_small_for_what_it_holds() -> None:
    small = Shape.of(MAPS["endpoints"], 4)
    live = state(endpoints(8), maps=(Shape.of(MAPS["endpoints"], 8),))
    assert refused(make_plan(replace(live, maps=(small,)), live)) == [codes.CAPACITY]
