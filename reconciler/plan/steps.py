"""Diff -> steps in the order of writes, each with the origin and the cause of what it writes.

A step is one batch: rows of one table, or one program, link or interface.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.merge import TableDiff, locate
from reconciler.abi.shape import Shape
from reconciler.abi.table import Table, raw
from reconciler.compile.state import HostState
from reconciler.plan import order
from reconciler.plan.diff import Change, Diff, Item, ItemChange, item_name


class Cause(StrEnum):
    """Why live differs: the commit changed, or it did not."""

    PENDING = "pending"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True, eq=False)
class RowStep:
    """Rows of one table to create, to overwrite or to delete.

    `rows` are as desired, those to delete as live; `replaced`, of updates only, what is live under
    the same keys. `drift` (n,) is the cause of each. `rows.origins` index `origins`, -1: unknown.
    """

    change: Change
    rows: Table
    replaced: Table | None
    drift: NDArray[np.bool_]
    origins: tuple[str, ...]

    def __len__(self) -> int:
        """Number of writes."""
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class ItemStep:
    """A program, link, interface or map to make, to change from `old` to `new`, or to take away."""

    change: Change
    old: Item | None
    new: Item | None
    drift: bool

    @property
    def item(self) -> Item:
        """The new one; of a deletion the old one."""
        item = self.old if self.new is None else self.new
        assert item is not None
        return item

    def __len__(self) -> int:
        """Number of writes: one."""
        return 1


Step = RowStep | ItemStep


def make_steps(diff: Diff, last: HostState | None) -> tuple[Step, ...]:
    """All writes in order; `last` is what the previous commit means for this host, now."""
    writes, deletions = set(order.WRITES), set(order.DELETIONS)
    unknown = diff.tables.keys() - (writes & deletions)
    assert not unknown, f"plan/order.py names no place for {sorted(unknown)}"
    return (
        *(step for what in order.WRITES for step in _writes(diff, what, last)),
        *(step for what in order.DELETIONS for step in _deletions(diff, what, last)),
    )


def _writes(diff: Diff, what: str, last: HostState | None) -> Iterator[Step]:
    for each in _items(diff, what):
        if each.change is not Change.DELETE:
            yield _item_step(each, last)
    table = diff.tables.get(what)
    if table is None:
        return
    for change, chosen in ((Change.CREATE, table.creates), (Change.UPDATE, table.updates)):
        if len(chosen):
            rows = table.desired.take(chosen)
            replaced = table.live.take(table.replaced) if change is Change.UPDATE else None
            yield RowStep(change, rows, replaced, _as_last(rows, last), diff.origins)


def _deletions(diff: Diff, what: str, last: HostState | None) -> Iterator[Step]:
    for each in _items(diff, what):
        if each.change is Change.DELETE:
            yield _item_step(each, last)
    table = diff.tables.get(what)
    if table is not None and len(table.deletes):
        yield _deletion(table, diff.live_origins, last)


def _deletion(table: TableDiff, origins: tuple[str, ...], last: HostState | None) -> RowStep:
    """Live rows know no origin; the last state tells it, and whether anybody ever wanted them."""
    rows = table.live.take(table.deletes)
    if last is None or rows.spec.name not in last.tables:
        return RowStep(Change.DELETE, rows, None, np.zeros(len(rows), np.bool_), origins)
    known = last.tables[rows.spec.name]
    place, present = locate(rows, known)
    found = np.full(len(rows), -1, np.int32)
    found[present] = known.origins[place[present]]
    rows = Table(rows.spec, rows.keys, rows.values, found)
    return RowStep(Change.DELETE, rows, None, ~present, last.origins)


def _as_last(rows: Table, last: HostState | None) -> NDArray[np.bool_]:
    """Which rows the last state wanted just so."""
    if last is None or rows.spec.name not in last.tables:
        return np.zeros(len(rows), np.bool_)
    known = last.tables[rows.spec.name]
    place, same = locate(rows, known)
    same[same] = raw(rows.values)[same] == raw(known.values)[place[same]]
    return same


def _items(diff: Diff, what: str) -> tuple[ItemChange, ...]:
    if what == order.INTERFACES:
        return diff.interfaces
    if what == order.MAPS:
        return diff.maps
    if what == order.PROGRAMS:
        return diff.programs
    return diff.links if what == order.LINKS else ()


def _item_step(each: ItemChange, last: HostState | None) -> ItemStep:
    drift = False
    # No commit says how maps are laid out, so none can differ from one.
    if last is not None and not isinstance(each.item, Shape):
        known: set[Item] = {*last.programs, *last.links, *last.interfaces}
        names = {(type(item), item_name(item)) for item in known}
        key = (type(each.item), item_name(each.item))
        drift = key not in names if each.new is None else each.new in known
    return ItemStep(each.change, each.old, each.new, drift)
