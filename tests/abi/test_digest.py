"""A known table is recognised in shuffled rows, and what differs is merged into it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.abi.digest import Known, row_hashes
from reconciler.abi.generated import MAPS
from reconciler.abi.table import DuplicateKeyError, Rows, Table

SPEC = MAPS["endpoints"]


def rows(numbers: list[int], filling: int = 7) -> tuple[Rows, Rows]:
    """One row a number, the number in the key."""
    keys, values = np.zeros(len(numbers), SPEC.key.dtype), np.zeros(len(numbers), SPEC.value.dtype)
    keys["vni"] = numbers
    values["identity"] = filling
    return keys, values


def test_the_same_rows_in_another_order_are_the_known_table_itself() -> None:
    keys, values = rows(list(range(1000)))
    known = Known.of(Table.make(SPEC, keys, values))
    order = np.random.default_rng(3).permutation(1000)
    assert known.recognise(keys[order], values[order]).table is known.table


@given(
    st.sets(st.integers(0, 4000), min_size=200, max_size=400),
    st.sets(st.integers(0, 4000), max_size=8),
    st.sets(st.integers(0, 4000), max_size=8),
)
def test_recognised_rows_equal_sorted_ones(
    base: set[int], leave: set[int], change: set[int]
) -> None:
    known = Known.of(Table.make(SPEC, *rows(sorted(base))))
    keys, values = rows(sorted((base - leave) | change))
    values["identity"][np.isin(keys["vni"], sorted(change))] = 9
    order = np.random.default_rng(len(base)).permutation(len(keys))
    keys, values = keys[order], values[order]
    found, expected = known.recognise(keys, values), Table.make(SPEC, keys, values)
    assert found.table == expected
    assert set(found.fresh.keys["vni"].tolist()) >= change
    assert set(found.gone.keys["vni"].tolist()) >= (base - change) & leave


def test_a_row_that_occurs_twice_is_refused() -> None:
    known = Known.of(Table.make(SPEC, *rows(list(range(100)))))
    with pytest.raises(DuplicateKeyError):
        known.recognise(*rows([*range(100), 5]))
    keys, values = rows([*range(100), 5])
    values["identity"][-1] = 8
    with pytest.raises(DuplicateKeyError):
        known.recognise(keys, values)


def test_one_changed_bit_anywhere_changes_a_rows_hash() -> None:
    keys, values = rows([1])
    (before,) = row_hashes(keys, values)
    for part in (keys, values):
        octets = part.view(np.uint8)
        for bit in range(len(octets) * 8):
            octets[bit // 8] ^= 1 << bit % 8
            assert row_hashes(keys, values)[0] != before
            octets[bit // 8] ^= 1 << bit % 8


def test_no_rows_are_recognised_too() -> None:
    known = Known.of(Table.empty(SPEC))
    assert known.recognise(*rows([])).table is known.table
    assert known.recognise(*rows([3])).table == Table.make(SPEC, *rows([3]))
