"""The difference of two host states: two commits, or a commit and a host.

A table's diff is a merge of two arrays sorted by key bytes; programs, links and interfaces are
matched by name. Comparison is of bytes, so a diff is empty exactly when the states are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.table import Rows, Table, raw
from reconciler.compile.state import HostName, HostState, Interface, Link, Program

Indices = NDArray[np.intp]
Item = Program | Link | Interface


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
    """A program, link or interface that differs; `old` is None if created, `new` if deleted."""

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
    programs: tuple[ItemChange, ...]
    links: tuple[ItemChange, ...]
    interfaces: tuple[ItemChange, ...]
    origins: tuple[str, ...]  # of the desired rows
    live_origins: tuple[str, ...]  # of the live rows, where they are known

    @property
    def counts_by_kind(self) -> dict[str, Counts]:
        """Writes by table name, then "programs", "links" and "interfaces"; only what differs."""
        counts = {f"table {name}": each.counts for name, each in sorted(self.tables.items())}
        for name, items in (
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
        return bool(self.tables or self.programs or self.links or self.interfaces)


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
        programs=_diff_items(desired.programs, live.programs),
        links=_diff_items(desired.links, live.links),
        interfaces=_diff_items(desired.interfaces, live.interfaces),
        origins=desired.origins,
        live_origins=live.origins,
    )


def diff_tables(desired: Table, live: Table) -> TableDiff | None:
    """The rows that differ, or None; costs two comparisons of memory when nothing does."""
    same_keys = _same(desired.keys, live.keys)
    if same_keys and _same(desired.values, live.values):
        return None
    nothing = np.zeros(0, np.intp)
    if same_keys:
        changed = np.flatnonzero(raw(desired.values) != raw(live.values))
        return TableDiff(desired, live, nothing, changed, changed, nothing)
    place, present = locate(desired, live)
    matched = np.flatnonzero(present)
    old = place[matched]
    differs = raw(desired.values)[matched] != raw(live.values)[old]
    gone = np.ones(len(live), np.bool_)
    gone[old] = False
    return TableDiff(
        desired,
        live,
        creates=np.flatnonzero(~present),
        updates=matched[differs],
        replaced=old[differs],
        deletes=np.flatnonzero(gone),
    )


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


def _same(left: Rows, right: Rows) -> bool:
    """Byte equality without a copy."""
    if len(left) != len(right):
        return False
    width = next(size for size in (8, 4, 2, 1) if left.dtype.itemsize % size == 0)
    word = np.dtype(f"u{width}")
    return bool(
        np.array_equal(
            np.ascontiguousarray(left).view(word), np.ascontiguousarray(right).view(word)
        )
    )


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
