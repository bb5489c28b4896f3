"""The rows in which two tables differ: a merge of two arrays sorted by key bytes.

Comparison is of bytes; what costs is what differs, in blocks of some hundred rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.table import Rows, Table, pick, raw

Indices = NDArray[np.intp]
BLOCK = 128  # rows; measured at a million: 64 to 256 are equally good


@dataclass(frozen=True, slots=True, eq=False)
class TableDiff:
    """The rows that differ, as ascending indices.

    `creates` and `updates` index `desired`, `deletes` indexes `live`; `replaced`, as long as
    `updates`, has the rows of `live` that the updates overwrite.
    """

    desired: Table
    live: Table
    creates: Indices
    updates: Indices
    replaced: Indices
    deletes: Indices


def diff_tables(desired: Table, live: Table) -> TableDiff | None:
    """The rows that differ, or None.

    Costs a comparison of memory where nothing does; otherwise only the blocks that differ, of some
    hundred rows each, are merged.
    """
    if desired is live:
        return None
    if _same(desired.keys, live.keys) and _same(desired.values, live.values):
        return None
    if _same(desired.keys, live.keys):
        nothing, changed = np.zeros(0, np.intp), _differing_rows(desired.values, live.values)
        return TableDiff(desired, live, nothing, changed, changed, nothing)
    rows, others = _differing_blocks(desired, live)
    wanted, found = desired.take(rows), live.take(others)
    place, present = locate(wanted, found)
    matched = np.flatnonzero(present)
    old = place[matched]
    differs = _differing_rows(pick(wanted.values, matched), pick(found.values, old))
    gone = np.ones(len(found), np.bool_)
    gone[old] = False
    return TableDiff(
        desired,
        live,
        creates=rows[~present],
        updates=rows[matched[differs]],
        replaced=others[old[differs]],
        deletes=others[gone],
    )


def _differing_blocks(desired: Table, live: Table) -> tuple[Indices, Indices]:
    """The rows of both, ascending, that are in blocks which are not byte-equal.

    Every BLOCK-th desired key is looked up in `live`; what lies between two of them holds the same
    span of keys on both sides, so that rows of different blocks never belong together.
    """
    starts = np.arange(0, max(len(desired), 1), BLOCK)
    ours = np.append(starts, len(desired))
    theirs = np.append(np.searchsorted(raw(live.keys), raw(desired.keys)[starts[1:]]), len(live))
    theirs = np.append(0, theirs)
    differs = [
        b - a != d - c or x != y
        for a, b, c, d, x, y in zip(
            *(each.tolist() for each in (ours[:-1], ours[1:], theirs[:-1], theirs[1:])),
            _cut(desired, ours),
            _cut(live, theirs),
            strict=True,
        )
    ]
    rows, others = (np.repeat(differs, np.diff(bounds)) for bounds in (ours, theirs))
    return np.flatnonzero(rows), np.flatnonzero(others)


def locate(wanted: Table, table: Table) -> tuple[Indices, NDArray[np.bool_]]:
    """Where in `table` each key of `wanted` is, and whether it is there at all; both (n,).

    Keys of one map have one width, so NumPy's comparison of byte strings, which disregards
    trailing zeros, is exact.
    """
    if not len(table):
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), np.bool_)
    names, keys = raw(table.keys), raw(wanted.keys)
    place = np.minimum(np.searchsorted(names, keys), len(table) - 1)
    return place, names[place] == keys


def _cut(table: Table, bounds: Indices) -> Iterator[tuple[bytes, bytes]]:
    """The bytes of keys and values between each bound and the next."""
    return zip(*(_pieces(rows, bounds) for rows in (table.keys, table.values)), strict=True)


def _pieces(rows: Rows, bounds: Indices) -> Iterator[bytes]:
    octets = np.ascontiguousarray(rows).view(np.uint8).data
    return (bytes(octets[a:b]) for a, b in pairwise((bounds * rows.dtype.itemsize).tolist()))


def _same(left: Rows, right: Rows) -> bool:
    """Byte equality without a copy."""
    return len(left) == len(right) and bool(np.array_equal(_words(left), _words(right)))


def _differing_rows(left: Rows, right: Rows) -> Indices:
    """The indices at which two arrays of one length differ."""
    words = np.flatnonzero(_words(left) != _words(right))
    rows = words // max(len(_words(left)) // max(len(left), 1), 1)
    first = np.ones(len(rows), np.bool_)
    first[1:] = rows[1:] != rows[:-1]
    return rows[first]


def _words(rows: Rows) -> NDArray[np.unsignedinteger[Any]]:
    """The bytes as the largest integers that divide a row: they compare fastest."""
    width = next(size for size in (8, 4, 2, 1) if rows.dtype.itemsize % size == 0)
    return np.ascontiguousarray(rows).view(f"u{width}")
