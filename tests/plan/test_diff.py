"""The difference of two states: exactly the keys that differ, found by name or by bytes."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.abi.generated import MAPS
from reconciler.abi.merge import diff_tables
from reconciler.abi.table import Table, zeros
from reconciler.compile.state import AttachMode, HostState, Link, Program
from reconciler.plan.diff import Change, Counts, diff
from tests.plan.states import closed_states, endpoints, state, table

Rows = dict[int, int]


def numbers(rows: Rows) -> Table:
    """A small table with 4-byte keys."""
    return table("hosts", [({"address": key}, {"flags": value}) for key, value in rows.items()])


rows = st.dictionaries(st.integers(0, 2**32 - 1) | st.integers(0, 20), st.integers(0, 3))


@given(closed_states())
def test_a_state_does_not_differ_from_itself(one: HostState) -> None:
    found = diff(one, one)
    assert not found
    assert found.counts == Counts()
    assert found.counts_by_kind == {}


@given(closed_states())
def test_a_copy_of_a_state_does_not_differ(one: HostState) -> None:
    copies = {
        name: Table(each.spec, each.keys.copy(), each.values.copy(), each.origins)
        for name, each in one.tables.items()
    }
    assert not diff(one.with_tables(copies), one)


@settings(max_examples=300)
@given(rows, rows)
def test_the_changes_of_a_table_are_its_differing_keys(desired: Rows, live: Rows) -> None:
    found = diff(state(numbers(desired)), state(numbers(live))).tables.get("hosts")
    if desired == live:
        assert found is None
        return
    assert found is not None
    wanted, old = found.desired.keys["address"], found.live.keys["address"]
    assert set(wanted[found.creates].tolist()) == desired.keys() - live.keys()
    assert set(old[found.deletes].tolist()) == live.keys() - desired.keys()
    both = {key for key in desired.keys() & live.keys() if desired[key] != live[key]}
    assert set(wanted[found.updates].tolist()) == both
    assert wanted[found.updates].tolist() == old[found.replaced].tolist()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 900), st.sampled_from([0.0, 0.002, 0.1, 0.9, 1.0]))
def test_tables_of_many_blocks_are_merged_exactly(seed: int, size: int, share: float) -> None:
    """Rows missing, added and changed at random, so that blocks of both sides do not line up."""
    random = np.random.default_rng(seed)
    keys = random.choice(5000, size, replace=False).tolist()
    live = {key: 1 for key in keys if random.random() >= share}
    desired = {key: 1 + int(random.random() < share) for key in keys if random.random() >= share}
    found = diff_tables(numbers(desired), numbers(live))
    if desired == live:
        assert found is None
        return
    assert found is not None
    wanted, old = found.desired.keys["address"], found.live.keys["address"]
    assert wanted[found.creates].tolist() == sorted(desired.keys() - live.keys())
    assert old[found.deletes].tolist() == sorted(live.keys() - desired.keys())
    both = sorted(key for key in desired.keys() & live.keys() if desired[key] != live[key])
    assert wanted[found.updates].tolist() == old[found.replaced].tolist() == both


@given(closed_states(), closed_states())
def test_the_difference_turned_round_creates_what_it_deleted(a: HostState, b: HostState) -> None:
    there, back = diff(a, b).counts, diff(b, a).counts
    assert (there.add, there.change, there.delete) == (back.delete, back.change, back.add)


def test_keys_that_end_in_zeros_are_told_apart() -> None:
    """NumPy disregards zeros at the end of byte strings; keys of one width stay distinct."""
    spec = MAPS["endpoints"]
    keys = zeros(spec.key, 3)
    keys["vni"] = [1, 256, 1]
    keys["address"][2, 0] = 1
    found = diff_tables(Table.make(spec, keys, zeros(spec.value, 3)), Table.empty(spec))
    assert found is not None
    assert len(found.creates) == 3


def test_a_value_that_differs_in_its_last_byte_is_an_update() -> None:
    desired = endpoints(5)
    values = desired.values.copy()
    values["flags"][4] = 0x0100
    found = diff_tables(desired, Table(desired.spec, desired.keys, values, desired.origins))
    assert found is not None
    assert found.updates.tolist() == [4]


def test_a_value_in_one_state_only_does_not_hide_one_in_both() -> None:
    """A row added before others moves their indices."""
    found = diff_tables(endpoints(6), endpoints(5, first=1, identity=8))
    assert found is not None
    assert found.creates.tolist() == [0]
    assert found.updates.tolist() == [1, 2, 3, 4, 5]
    assert found.replaced.tolist() == [0, 1, 2, 3, 4]


def test_a_table_that_one_side_lacks_counts_as_empty() -> None:
    full = state(endpoints(3))
    without = HostState(full.host, {})
    assert diff(full, without).counts == Counts(add=3)
    assert diff(without, full).counts == Counts(delete=3)


def test_origins_are_no_difference() -> None:
    known = endpoints(3)
    known = Table(known.spec, known.keys, known.values, np.zeros(3, np.int32))
    assert not diff(replace(state(known), origins=("Endpoint shop/web",)), state(endpoints(3)))


def test_programs_links_and_interfaces_are_matched_by_name() -> None:
    old = state(
        programs=(Program("access", b"a"), Program("old", b"")),
        links=(Link("eth0", "transit"), Link("eth1", "transit")),
    )
    new = state(
        programs=(Program("access", b"b"), Program("new", b"")),
        links=(Link("eth0", "transit", AttachMode.GENERIC), Link("eth1", "transit")),
    )
    found = diff(new, old)
    assert [(each.change, each.item.name) for each in found.programs] == [  # type: ignore[union-attr]
        (Change.UPDATE, "access"),
        (Change.CREATE, "new"),
        (Change.DELETE, "old"),
    ]
    assert [(each.change, each.old, each.new) for each in found.links] == [
        (Change.UPDATE, old.links[0], new.links[0])
    ]
    assert found.counts_by_kind == {"programs": Counts(1, 1, 1), "links": Counts(0, 1, 0)}
