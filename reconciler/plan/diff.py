"""The difference of two host states: two commits, or a commit and a host.

A table's diff is a merge of two arrays sorted by key bytes; programs, links and interfaces are
matched by name. Comparison is of bytes, so a diff is empty exactly when the states are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reconciler.abi.merge import TableDiff, diff_tables
from reconciler.abi.shape import Shape
from reconciler.abi.table import Table
from reconciler.compile.state import HostName, HostState, Interface, Link, Program

Item = Program | Link | Interface | Shape


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
        counts = {f"table {name}": _rows(each) for name, each in sorted(self.tables.items())}
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


def _rows(each: TableDiff) -> Counts:
    return Counts(len(each.creates), len(each.updates), len(each.deletes))


def _count(changes: Iterable[Change]) -> Counts:
    seen = list(changes)
    return Counts(*(seen.count(each) for each in (Change.CREATE, Change.UPDATE, Change.DELETE)))
