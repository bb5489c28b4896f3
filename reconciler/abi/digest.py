"""Recognising a table that is known in rows that come in another order, without sorting them.

A hash map is read in the order of its buckets. 64-bit hashes of whole rows are cheap to make and
to sort, so a map that holds what it should is found equal at a few per cent of the cost of reading
it, and one that differs a little is merged with what is known instead of being sorted from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.table import DuplicateKeyError, Rows, Table, raw

Hashes = NDArray[np.uint64]
Indices = NDArray[np.intp]
_BLOCK = 8192  # rows hashed at a time, so that they stay in the processor's cache
_FEW = 16  # at most one row in so many differs, or sorting is as cheap


def _factors(count: int) -> list[np.uint64]:
    """Odd 64-bit numbers without a pattern: splitmix64 (Steele, Lea, Flood 2014), seeded with 1."""
    mask, state, found = (1 << 64) - 1, 1, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        found.append(np.uint64((z ^ (z >> 31)) | 1))
    return found


def _words(rows: Rows) -> NDArray[np.unsignedinteger]:
    """The rows as (n, words) unsigned integers, as wide as their size allows."""
    size = rows.dtype.itemsize
    width = next(each for each in (8, 4, 2, 1) if size % each == 0)
    octets = np.ascontiguousarray(rows).view(np.uint8)
    return octets.view(f"<u{width}").reshape(len(rows), size // width)


def row_hashes(keys: Rows, values: Rows) -> Hashes:
    """(n,) 64-bit hashes of key and value together.

    A multilinear sum over the words (Lemire and Kaser 2014), then a finaliser. Two different rows
    have one hash with a probability of about 2^-64. Nothing here defends against who can choose
    them: who writes the maps is root already.
    """
    parts = (_words(keys), _words(values))
    factors = _factors(2 * sum(part.shape[1] for part in parts) + 2)
    hashes = np.empty(len(keys), np.uint64)
    for start in range(0, len(keys), _BLOCK):
        block = slice(start, start + _BLOCK)
        total = np.zeros(len(hashes[block]), np.uint64)
        at = 0
        for part in parts:
            for column in part[block].T:
                total += (column.astype(np.uint64) + factors[at]) * factors[at + 1]
                at += 2
        total ^= total >> np.uint64(32)
        total *= factors[at]
        total ^= total >> np.uint64(29)
        hashes[block] = total * factors[at + 1]
    return hashes


def _absent(wanted: Hashes, present: Hashes) -> Hashes:
    """The members of one sorted array that are not in the other, also sorted."""
    if not len(present):
        return wanted
    place = np.minimum(np.searchsorted(present, wanted), len(present) - 1)
    absent: Hashes = wanted[present[place] != wanted]
    return absent


@dataclass(frozen=True, slots=True, eq=False)
class Recognised:
    """A table, its rows that were not known as they are, and those that were known otherwise."""

    table: Table
    fresh: Table
    gone: Table


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A table with the hashes of its rows, in its own order and sorted."""

    table: Table
    hashes: Hashes
    ordered: Hashes

    @classmethod
    def of(cls, table: Table) -> Known:
        """Hash every row once."""
        hashes = row_hashes(table.keys, table.values)
        return cls(table, hashes, np.sort(hashes))

    def recognise(self, keys: Rows, values: Rows) -> Recognised:
        """The table of rows given in any order: `self.table` itself if they are its rows.

        Raises DuplicateKeyError. Absent rows of arrays must have been left out.
        """
        spec = self.table.spec
        hashes = row_hashes(keys, values)
        ordered = np.sort(hashes)
        if len(ordered) == len(self.ordered) and bool(np.array_equal(ordered, self.ordered)):
            nothing = Table.empty(spec)
            return Recognised(self.table, nothing, nothing)
        fresh, gone = _absent(ordered, self.ordered), _absent(self.ordered, ordered)
        if (len(fresh) + len(gone)) * _FEW > len(keys):
            table = Table.make(spec, keys, values)
            return Recognised(table, table, self.table)
        new, lost = _members(hashes, fresh), _members(self.hashes, gone)
        added = Table.make(spec, keys[new], values[new])
        removed = self.table.take(lost)
        if len(self.table) - len(lost) + len(added) != len(keys):
            raise DuplicateKeyError(f"{spec.name}: a row occurs twice")
        return Recognised(_replaced(self.table, lost, added), added, removed)


def _members(hashes: Hashes, few: Hashes) -> Indices:
    """Where, ascending, hashes are that are among a few sorted ones; their low bits sift first."""
    low = np.zeros(1 << 16, np.bool_)
    low[few.astype(np.uint16)] = True
    maybe = np.flatnonzero(low[hashes.astype(np.uint16)])
    if not len(few):
        return maybe
    place = np.minimum(np.searchsorted(few, hashes[maybe]), len(few) - 1)
    found: Indices = maybe[few[place] == hashes[maybe]]
    return found


def _replaced(table: Table, lost: Indices, added: Table) -> Table:
    """`table` with `added` in place of the rows `lost`; raises DuplicateKeyError."""
    spec = table.spec
    if np.array_equal(raw(table.keys[lost]), raw(added.keys)):
        values = table.values.copy()
        values[lost] = added.values
        return Table(spec, table.keys, values, table.origins)
    kept = np.delete(raw(table.keys), lost)
    names = raw(added.keys)
    place = np.searchsorted(kept, names)
    if len(kept) and bool(np.any(kept[np.minimum(place, len(kept) - 1)] == names)):
        raise DuplicateKeyError(f"{spec.name}: a key occurs twice")
    values = np.insert(np.delete(_opaque(table.values), lost), place, _opaque(added.values))
    return Table(
        spec,
        np.insert(kept, place, names).view(spec.key.dtype),
        values.view(spec.value.dtype),
        np.insert(np.delete(table.origins, lost), place, np.int32(-1)),
    )


def _opaque(rows: Rows) -> Rows:
    """Rows as single items, which are copied faster than structures."""
    return np.ascontiguousarray(rows).view(f"V{rows.dtype.itemsize}")
