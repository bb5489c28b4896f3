"""Steps -> entries: one change as cells that people and programs read, with origin and cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconciler.abi.generated import VniMark
from reconciler.abi.shape import Shape, differences
from reconciler.abi.table import Table
from reconciler.compile import cells
from reconciler.compile.origins import ENDPOINT
from reconciler.compile.serial import show_item
from reconciler.compile.state import Interface, Link, Program
from reconciler.plan.diff import Change, Item, item_name
from reconciler.plan.steps import Cause, ItemStep, RowStep, Step

Cells = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """`what` is a table's name, or "map", "program", "link" or "interface", whose name is the key.

    `old` is None for a creation, `new` for a deletion. `origin` is a manifest, or ''. `why` says
    in words what differs, where cells would say little.
    """

    change: Change
    what: str
    key: Cells
    old: Cells | None
    new: Cells | None
    origin: str
    cause: Cause
    why: str = ""

    @property
    def changed(self) -> tuple[str, ...]:
        """The columns in which an update differs."""
        if self.old is None or self.new is None:
            return ()
        old, new = self.old, self.new
        return tuple(name for name in new if old.get(name) != new[name])


def entries(step: Step, limit: int | None = None) -> Iterator[Entry]:
    """The entries of a step, at most `limit` of them."""
    if isinstance(step, RowStep):
        yield from _row_entries(step, limit)
    else:
        yield _item_entry(step)


def _row_entries(step: RowStep, limit: int | None) -> Iterator[Entry]:
    chosen = np.arange(len(step) if limit is None else min(limit, len(step)))
    rows = step.rows.take(chosen)
    keys, values = _keys(rows), _values(rows)
    old = [None] * len(rows) if step.replaced is None else _values(step.replaced.take(chosen))
    for number, origin in enumerate(rows.origins.tolist()):
        deleted = step.change is Change.DELETE
        yield Entry(
            step.change,
            rows.spec.name,
            keys[number],
            values[number] if deleted else old[number],
            None if deleted else values[number],
            step.origins[origin] if origin >= 0 else "",
            Cause.DRIFT if step.drift[number] else Cause.PENDING,
        )


def _keys(rows: Table) -> list[dict[str, Any]]:
    """With what is above the VNI in a word of its own."""
    shown = cells.show(rows.spec.key, rows.keys)
    if rows.spec.name == "endpoints":
        for key in shown:
            if key["vni"] & VniMark.FORMER:
                key.update(vni=key["vni"] & ~VniMark.FORMER, former=True)
    return shown


def _values(rows: Table) -> list[dict[str, Any]]:
    return cells.show(rows.spec.value, rows.values)


def _item_entry(step: ItemStep) -> Entry:
    item = step.item
    origin = f"{ENDPOINT}{item.endpoint}" if isinstance(item, Interface) else ""
    return Entry(
        step.change,
        item_kind(item),
        {"name": item_name(item)},
        _cells(step.old),
        _cells(step.new),
        origin,
        Cause.DRIFT if step.drift else Cause.PENDING,
        _why(step),
    )


def _why(step: ItemStep) -> str:
    if isinstance(step.old, Shape) and isinstance(step.new, Shape):
        return "; ".join(differences(step.old, step.new))
    return ""


def item_kind(item: Item) -> str:
    """Its word in output."""
    if isinstance(item, Program):
        return "program"
    if isinstance(item, Shape):
        return "map"
    return "link" if isinstance(item, Link) else "interface"


def _cells(item: Item | None) -> Cells | None:
    """Without what the key says already."""
    if item is None:
        return None
    if isinstance(item, Shape):
        layout = {"key": list(item.key), "value": list(item.value)}
        return {"type": item.kind, "capacity": item.capacity, "flags": item.flags, **layout}
    shown = show_item(item)
    del shown["interface" if isinstance(item, Link) else "name"]
    return shown
