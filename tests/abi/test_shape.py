"""What is said of two shapes of a map, and how rows get from one layout to another."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reconciler.abi.convert import convert
from reconciler.abi.generated import MAPS
from reconciler.abi.shape import Shape, convertible, differences, losses
from reconciler.abi.spec import MapKind, MapSpec, Ownership, Record

KEY = Record(
    np.dtype([("vni", "<u4"), ("address", "u1", (16,))]), {"address": "address"}, frozenset()
)


def value(*fields: tuple[Any, ...]) -> Record:
    return Record(np.dtype(list(fields)), {}, frozenset())


OLD = value(("host", ">u4"), ("seen", "<u2"), ("slot", "<u2"))
NEW = value(("host", ">u4"), ("seen", "<u4"), ("slot", "<u2"), ("class", "<u2"))


def spec(record: Record = OLD, **changed: Any) -> MapSpec:
    made = MapSpec("paths", MapKind.LRU_HASH, KEY, record, 64, 0, Ownership.COLLECTED)
    return replace(made, **changed)


def shape(record: Record = OLD, **changed: Any) -> Shape:
    made = spec(record, **changed)
    return Shape.of(made, made.capacity)


def test_every_difference_is_named_at_once() -> None:
    assert differences(shape(), shape(NEW, capacity=256, flags=1, kind=MapKind.HASH)) == (
        "type is lru_hash in the kernel, hash expected",
        "value is 8 bytes in the kernel, 12 expected",
        "value gains class (u16), has seen as u16 in the kernel, u32 expected",
        "flags are 0x0 in the kernel, 0x1 expected",
        "capacity is 64 in the kernel, 256 expected",
    )


def test_what_is_alike_differs_in_nothing() -> None:
    for each in MAPS.values():
        assert Shape.of(each, each.capacity) == Shape.of(each, each.capacity)
        assert not differences(Shape.of(each, 7), Shape.of(each, 7))


def test_another_order_of_equal_columns_is_a_difference() -> None:
    turned = value(("host", ">u4"), ("slot", "<u2"), ("seen", "<u2"))
    assert differences(shape(), shape(turned)) == ("value has its columns in another order",)


def test_a_column_more_or_a_larger_one_loses_nothing() -> None:
    assert not losses(shape(), shape(NEW, capacity=256))


@pytest.mark.parametrize(
    ("wanted", "lost"),
    [
        (shape(value(("host", ">u4"))), {"seen is not known", "slot is not known"}),
        (shape(capacity=8), {"64 rows are to become 8"}),
        (None, {"this release has no such map"}),
        (shape(kind=MapKind.PERCPU_ARRAY), {"lru_hash cannot become percpu_array"}),
        (shape(key=value(("vni", "<u4"))), {"its keys mean nothing"}),
    ],
)
def test_what_cannot_be_taken_over_is_named(wanted: Shape | None, lost: set[str]) -> None:
    said = " and ".join(losses(shape(), wanted))
    assert all(each in said for each in lost), said


def test_a_narrower_column_is_a_loss() -> None:
    assert losses(shape(NEW), shape()) == (
        "column class is not known here",
        "column seen is u32 there and u16 here",
    )


@pytest.mark.parametrize("whose", [Ownership.OWNED, Ownership.CACHE])
def test_owned_maps_and_caches_lose_nothing(whose: Ownership) -> None:
    assert not losses(shape(ownership=whose), None)
    assert not losses(shape(ownership=whose), shape(value(("host", ">u4")), ownership=whose))


def test_keys_convert_only_if_no_two_can_become_one() -> None:
    assert convertible(("vni u32", "address u8[16] address"), ("address u8[16] address", "vni u32"))
    assert not convertible(("vni u32", "address u8[16] address"), ("address u8[16] address",))
    assert not convertible(("vni u32",), ("vni u16",))


def test_columns_are_converted_by_name() -> None:
    rows = np.array([(0x0A000001, 7, 9), (0x0A000002, 8, 10)], OLD.dtype)
    made, fit = convert(rows, NEW)
    assert made.tolist() == [(0x0A000001, 7, 9, 0), (0x0A000002, 8, 10, 0)]
    assert fit.all()
    back, fit = convert(made, OLD)
    assert back.tobytes() == rows.tobytes()
    assert fit.all()


def test_a_number_that_does_not_fit_is_told() -> None:
    _, fit = convert(np.array([(1, 70000, 1, 1), (1, 7, 1, 1)], NEW.dtype), OLD)
    assert fit.tolist() == [False, True]


def test_arrays_grow_with_zeros_and_shrink_where_they_are_empty() -> None:
    short, long = (value(("host", ">u4", (count,))) for count in (2, 4))
    rows = np.array([([1, 2],), ([3, 4],)], short.dtype)
    made, fit = convert(rows, long)
    assert made["host"].tolist() == [[1, 2, 0, 0], [3, 4, 0, 0]]
    made["host"][1, 3] = 5
    _, fit = convert(made, short)
    assert fit.tolist() == [True, False]
