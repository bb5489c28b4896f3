"""A plan: in an order that never leaves a dangling entry, with a stable digest and causes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from hypothesis import given, settings

from reconciler.abi.generated import MAPS
from reconciler.compile.bind import Waiting
from reconciler.compile.state import OWNED_MAPS, HostState, Program
from reconciler.plan import order
from reconciler.plan.diff import Change, diff
from reconciler.plan.effect import apply_steps, apply_to
from reconciler.plan.guards import Context
from reconciler.plan.plan import make_plan
from reconciler.plan.steps import ItemStep, RowStep, Step
from tests.plan.states import HOST, closed_states, dangling, endpoints, state


def single_writes(steps: tuple[Step, ...]) -> Iterator[Step]:
    """The same writes one by one, as a kill in the middle of a batch would cut them."""
    for step in steps:
        if isinstance(step, ItemStep):
            yield step
            continue
        for row in range(len(step)):
            one = np.array([row])
            replaced = None if step.replaced is None else step.replaced.take(one)
            yield RowStep(step.change, step.rows.take(one), replaced, step.drift[one], step.origins)


@settings(max_examples=100)
@given(closed_states(), closed_states())
def test_applying_a_plan_gives_the_desired_state(desired: HostState, live: HostState) -> None:
    plan = make_plan(desired, live)
    assert not diff(apply_to(plan, live), desired)
    assert make_plan(desired, apply_to(plan, live)).empty


@given(closed_states(), closed_states())
def test_a_then_b_then_a_gives_the_bytes_of_a(a: HostState, b: HostState) -> None:
    there = apply_to(make_plan(b, a), a)
    assert apply_to(make_plan(a, there), there) == a


@given(closed_states(), closed_states())
def test_a_plan_writes_once_for_each_difference(desired: HostState, live: HostState) -> None:
    plan = make_plan(desired, live)
    assert sum(map(len, plan.steps)) == diff(desired, live).counts.total == plan.counts.total


@settings(max_examples=100, deadline=None)
@given(closed_states(), closed_states())
def test_every_prefix_of_a_plan_leaves_no_entry_that_refers_to_a_missing_one(
    desired: HostState, live: HostState
) -> None:
    assert not list(dangling(desired))
    assert not list(dangling(live))
    done = live
    for write in single_writes(make_plan(desired, live).steps):
        done = apply_steps([write], done)
        assert not list(dangling(done)), write


@settings(max_examples=50)
@given(closed_states(), closed_states())
def test_a_plan_killed_anywhere_is_completed_by_the_next(
    desired: HostState, live: HostState
) -> None:
    steps = make_plan(desired, live).steps
    for cut in range(len(steps) + 1):
        found = apply_steps(steps[:cut], live)
        assert not diff(apply_to(make_plan(desired, found), found), desired)


@given(closed_states(), closed_states())
def test_applying_a_plan_twice_is_applying_it_once(desired: HostState, live: HostState) -> None:
    plan = make_plan(desired, live)
    once = apply_to(plan, live)
    assert apply_to(plan, once) == once


def test_every_owned_map_has_a_place_in_the_order() -> None:
    named = {*OWNED_MAPS, order.MAPS, order.PROGRAMS, order.LINKS, order.INTERFACES}
    assert set(order.WRITES) == set(order.DELETIONS) == named
    assert len(order.WRITES) == len(order.DELETIONS) == len(named)


def test_deletions_come_after_all_other_writes() -> None:
    live = state(endpoints(4), programs=(Program("old", b""),))
    steps = make_plan(state(endpoints(4, first=2), programs=(Program("new", b""),)), live).steps
    deletes = [step.change is Change.DELETE for step in steps]
    assert deletes == sorted(deletes)


def test_the_digest_does_not_depend_on_the_order_of_tables() -> None:
    one, live = state(endpoints(3)), state(endpoints(3, first=1))
    turned = HostState(HOST, dict(reversed(one.tables.items())))
    assert make_plan(one, live).digest == make_plan(turned, live).digest


def test_the_digest_names_what_is_written_what_it_replaces_and_the_host() -> None:
    desired, live = state(endpoints(3)), state(endpoints(3, identity=1))
    digests = {
        make_plan(desired, live).digest,
        make_plan(desired, state(endpoints(3, identity=2))).digest,
        make_plan(state(endpoints(3, counter=1)), live).digest,
        make_plan(replace(desired, programs=(Program("access", b""),)), live).digest,
        make_plan(live, desired).digest,
        make_plan(replace(desired, host="edge-2"), live).digest,
    }
    assert len(digests) == 6


def test_the_digest_is_of_the_changes_only() -> None:
    desired, live = state(endpoints(3)), state(endpoints(2))
    context = Context(commit="abc", after={"Host": frozenset()}, last=desired)
    waits = (Waiting("Endpoint shop/web-1", "interface eth0"),)
    assert make_plan(desired, live).digest == make_plan(desired, live, waits, context).digest


def test_a_change_is_drift_where_the_last_commit_wanted_the_same() -> None:
    last = state(endpoints(4))
    desired = state(endpoints(5))
    live = state(endpoints(3))
    plan = make_plan(desired, live, context=Context(last=last))
    (step,) = plan.steps
    assert isinstance(step, RowStep)
    assert step.drift.tolist() == [True, False]
    assert (plan.drift, plan.pending) == (1, 1)


def test_a_row_that_nobody_wanted_is_drift_and_one_that_was_wanted_is_pending() -> None:
    last = state(endpoints(3))
    plan = make_plan(state(endpoints(2)), state(endpoints(6)), context=Context(last=last))
    (step,) = plan.steps
    assert isinstance(step, RowStep)
    assert step.change is Change.DELETE
    assert step.drift.tolist() == [False, True, True, True]


def test_a_damaged_row_is_drift_although_the_commit_is_the_same() -> None:
    wanted = state(endpoints(3))
    plan = make_plan(wanted, state(endpoints(3, identity=9)), context=Context(last=wanted))
    assert (plan.drift, plan.pending) == (3, 0)


def test_without_a_last_state_everything_is_pending() -> None:
    plan = make_plan(state(endpoints(3)), state(endpoints(2, identity=1)))
    assert (plan.drift, plan.pending) == (0, 3)


def test_programs_are_drift_or_pending_as_rows_are() -> None:
    old, new = Program("access", b"1"), Program("access", b"2")
    pending = make_plan(
        state(programs=(new,)), state(programs=(old,)), context=Context(last=state(programs=(old,)))
    )
    drift = make_plan(state(programs=(new,)), state(), context=Context(last=state(programs=(new,))))
    stray = make_plan(state(), state(programs=(old,)), context=Context(last=state()))
    assert [plan.drift for plan in (pending, drift, stray)] == [0, 1, 1]


def test_a_deleted_row_keeps_the_origin_that_the_last_state_knew() -> None:
    known = endpoints(2)
    known = replace(known, origins=np.array([0, 1], np.int32))
    last = replace(state(known), origins=("Endpoint shop/a", "Endpoint shop/b"))
    plan = make_plan(state(endpoints(1)), state(endpoints(2)), context=Context(last=last))
    (step,) = plan.steps
    assert isinstance(step, RowStep)
    assert [step.origins[each] for each in step.rows.origins] == ["Endpoint shop/b"]


def test_a_plan_with_nothing_to_write_may_still_wait() -> None:
    waits = (Waiting("Endpoint shop/web-1", "interface tap0"),)
    plan = make_plan(state(), state(), waits)
    assert plan.empty
    assert plan.waiting == waits


def test_writes_keep_the_byte_order_of_their_columns() -> None:
    """The pure model must not turn big-endian columns into native ones."""
    done = apply_to(
        make_plan(state(endpoints(2, host=1)), state(endpoints(1))), state(endpoints(1))
    )
    assert done.tables["endpoints"].values.dtype == MAPS["endpoints"].value.dtype
