"""The difference of two host states: two commits, or a commit and a host.

A table's diff is a merge of two arrays sorted by key bytes; programs, links and interfaces are
matched by name. Comparison is of bytes, so a diff is empty exactly when the states are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.shape import Shape
from reconciler.abi.table import Rows, Table, pick, raw
from reconciler.compile.state import HostName, HostState, Interface, Link, Program

Indices = NDArray[np.intp]
Item = Program | Link | Interface | Shape
BLOCK = 128  # rows; measured at a million: 64 to 256 are equally good


class Change(StrEnum):
    """One write."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many writes, by what they do."""

    add: int = 0
    change: int = 0
    delete: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(self.add + other.add, self.change + other.change, self.delete + other.delete)

    @property
    def total(self) -> int:
        """All writes."""
        return self.add + self.change + self.delete


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A program, link, interface or map that differs; a created one has no `old`, a deleted one no
    `new`."""

    old: Item | None
    new: Item | None

    @property
    def change(self) -> Change:
        """What has to be done."""
        if self.old is None:
            return Change.CREATE
        return Change.DELETE if self.new is None else Change.UPDATE

    @property
    def item(self) -> Item:
        """The new one; of a deletion the old one."""
        item = self.old if self.new is None else self.new
        assert item is not None
        return item


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

    @property
    def counts(self) -> Counts:
        """Rows by change."""
        return Counts(len(self.creates), len(self.updates), len(self.deletes))


@dataclass(frozen=True, slots=True, eq=False)
class Diff:
    """Everything that differs between two states of `host`; `tables` has only those that differ."""

    host: HostName
    tables: Mapping[str, TableDiff]
    maps: tuple[ItemChange, ...]
    programs: tuple[ItemChange, ...]
    links: tuple[ItemChange, ...]
    interfaces: tuple[ItemChange, ...]
    origins: tuple[str, ...]  # of the desired rows
    live_origins: tuple[str, ...]  # of the live rows, where they are known
    wanted_maps: tuple[Shape, ...] = ()  # all of them, also those that do not differ

    @property
    def counts_by_kind(self) -> dict[str, Counts]:
        """Writes by table name, then "maps", "programs", "links", "interfaces"; what differs."""
        counts = {f"table {name}": each.counts for name, each in sorted(self.tables.items())}
        for name, items in (
            ("maps", self.maps),
            ("programs", self.programs),
            ("links", self.links),
            ("interfaces", self.interfaces),
        ):
            if items:
                counts[name] = _count(each.change for each in items)
        return counts

    @property
    def counts(self) -> Counts:
        """All writes."""
        return sum(self.counts_by_kind.values(), Counts())

    def __bool__(self) -> bool:
        """Whether anything differs."""
        items = self.maps or self.programs or self.links or self.interfaces
        return bool(self.tables or items)


def diff(desired: HostState, live: HostState) -> Diff:
    """What must be written so that `live` becomes `desired`; a missing table counts as empty."""
    tables = {}
    for name in sorted({*desired.tables, *live.tables}):
        wanted, found = desired.tables.get(name), live.tables.get(name)
        present = wanted if wanted is not None else found
        assert present is not None
        nothing = Table.empty(present.spec)
        each = diff_tables(
            nothing if wanted is None else wanted, nothing if found is None else found
        )
        if each is not None:
            tables[name] = each
    return Diff(
        host=desired.host,
        tables=tables,
        maps=_diff_items(desired.maps, live.maps),
        programs=_diff_items(desired.programs, live.programs),
        links=_diff_items(desired.links, live.links),
        interfaces=_diff_items(desired.interfaces, live.interfaces),
        origins=desired.origins,
        live_origins=live.origins,
        wanted_maps=desired.maps,
    )


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


def item_name(item: Item) -> str:
    """What tells it from others of its type: a link has its interface's name."""
    return item.interface if isinstance(item, Link) else item.name


def _diff_items(desired: Sequence[Item], live: Sequence[Item]) -> tuple[ItemChange, ...]:
    if desired == live:
        return ()
    wanted = {item_name(each): each for each in desired}
    found = {item_name(each): each for each in live}
    return tuple(
        ItemChange(found.get(key), wanted.get(key))
        for key in sorted({*wanted, *found})
        if wanted.get(key) != found.get(key)
    )


def _count(changes: Iterable[Change]) -> Counts:
    seen = list(changes)
    return Counts(*(seen.count(each) for each in (Change.CREATE, Change.UPDATE, Change.DELETE)))
