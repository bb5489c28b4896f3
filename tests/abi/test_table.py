"""Rows are sorted by key bytes, distinct, and compared byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from reconciler.abi.generated import MAPS
from reconciler.abi.table import DuplicateKeyError, LayoutError, Table, join, raw

HOSTS, HOPS = MAPS["hosts"], MAPS["next_hops"]


def test_rows_are_sorted_as_memcmp_sorts_their_keys() -> None:
    keys = np.zeros(4, HOSTS.key.dtype)
    keys["address"] = [0xFF000000, 0x00000001, 0x01000000, 0x00FF0000]
    table = Table.make(HOSTS, keys, np.zeros(4, HOSTS.value.dtype))
    assert [int(each) for each in table.keys["address"]] == [
        0x00000001,
        0x00FF0000,
        0x01000000,
        0xFF000000,
    ]


def test_origins_follow_their_rows_and_are_never_compared() -> None:
    keys = np.zeros(2, HOSTS.key.dtype)
    keys["address"] = [2, 1]
    values = np.zeros(2, HOSTS.value.dtype)
    table = Table.make(HOSTS, keys, values, np.array([7, 8], np.int32))
    assert table.origins.tolist() == [8, 7]
    assert table == Table.make(HOSTS, keys, values)


def test_two_rows_of_one_key_are_refused() -> None:
    with pytest.raises(DuplicateKeyError, match="hosts"):
        Table.make(HOSTS, np.zeros(2, HOSTS.key.dtype), np.zeros(2, HOSTS.value.dtype))


def test_a_zero_row_of_an_array_is_absent() -> None:
    keys, values = np.zeros(3, HOPS.key.dtype), np.zeros(3, HOPS.value.dtype)
    keys["index"] = [0, 1, 2]
    values["uplink"] = [0, 5, 0]
    assert Table.make(HOPS, keys, values).keys["index"].tolist() == [1]


def test_rows_of_another_byte_order_are_refused() -> None:
    native = np.zeros(1, [("address", "<u4")])
    with pytest.raises(LayoutError, match="hosts"):
        Table.make(HOSTS, native, np.zeros(1, HOSTS.value.dtype))


def test_rows_that_end_in_zeros_differ_from_shorter_ones() -> None:
    keys = np.zeros(2, HOSTS.key.dtype)
    keys["address"] = [0x01000000, 0x01000001]
    first, second = raw(keys)
    assert first != second


def test_joined_rows_keep_their_byte_order() -> None:
    keys = np.zeros(1, HOSTS.key.dtype)
    keys["address"] = 0x0A000001
    both = join(HOSTS.key, (keys, keys))
    assert both.dtype == HOSTS.key.dtype
    assert both.tobytes() == keys.tobytes() * 2
