"""Journal: how one last good state differs from the one before it, as a line of a file, and back.

So keeping a state costs what a commit changed, however large the repository is. Lines are checked
by a digest; one that was cut short by a crash is the last, and counts as never written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

import numpy as np

from reconciler.abi.generated import MAPS
from reconciler.abi.merge import locate
from reconciler.abi.shape import Shape
from reconciler.abi.table import Table, join, raw
from reconciler.agent.good import LastGood
from reconciler.compile import serial
from reconciler.compile.linger import Kept
from reconciler.compile.state import HostState
from reconciler.model.claims import Names
from reconciler.plan.diff import Item, ItemChange, diff, item_name
from reconciler.plan.guards import Inventory

_ITEMS = ("programs", "links", "interfaces")


def line(old: LastGood, new: LastGood) -> bytes | None:
    """What makes `new` of `old`; None where that is not known row by row."""
    if old.state.host != new.state.host or (old.names is None) != (new.names is None):
        return None
    found = diff(new.state, old.state)
    body = {
        "revision": new.revision,
        "applied": new.applied,
        "tables": _tables(old.state, new.state),
        "items": {name: _items(getattr(found, name)) for name in _ITEMS if getattr(found, name)},
        "names": _names(old.names or {}, new.names or {}),
        "vpcs": [[vni, new.state.vpcs[vni]] for vni in sorted(new.state.vpcs)]
        if new.state.vpcs != old.state.vpcs
        else None,
        "kept": _kept(old.kept, new.kept) if new.kept is not old.kept else None,
    }
    text = json.dumps(body, separators=(",", ":")).encode()
    return _digest(text) + b" " + text + b"\n"


def replayed(good: LastGood, data: bytes) -> LastGood:
    """The last state that `data` leads to; a last line that is not whole counts for nothing.

    ValueError, KeyError or TypeError if something other than its end is damaged.
    """
    lines = data.split(b"\n")
    lines.pop()  # nothing, or what a crash left
    for number, each in enumerate(lines):
        digest, _, text = each.partition(b" ")
        if digest != _digest(text):
            if number < len(lines) - 1:
                raise ValueError(f"line {number + 1} is damaged")
            return good
        good = _replay(good, json.loads(text))
    return good


def _kept(old: tuple[Kept, ...], new: tuple[Kept, ...]) -> list[Any]:
    """What is kept: the place among those before, or all of it."""
    places = {id(each): place for place, each in enumerate(old)}
    return [places.get(id(each)) if id(each) in places else show_kept(each) for each in new]


def show_kept(kept: Kept) -> list[Any]:
    """Its JSON form."""
    return [kept.until, serial.dump(kept.rows)]


def read_kept(body: Any) -> Kept:
    """The opposite; raises ValueError, TypeError."""
    until, rows = body
    return Kept(serial.load(rows), float(until))


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()


def _tables(old: HostState, new: HostState) -> dict[str, Any]:
    """Keys that are gone, and rows that are other or come from elsewhere."""
    places = {text: number for number, text in enumerate(old.origins)}
    moved = np.array([*(places.get(text, -2) for text in new.origins), -1], np.int32)
    found = {}
    for name, table in new.tables.items():
        before = old.tables[name]
        same_origins = new.origins is old.origins and np.array_equal(table.origins, before.origins)
        if same_origins and table == before:
            continue
        place, present = locate(table, before)
        rows = ~present
        at = np.flatnonzero(present)
        if len(at):
            was = place[at]
            differs = raw(table.values)[at] != raw(before.values)[was]
            rows[at] = differs | (moved[table.origins[at]] != before.origins[was])
        _, kept = locate(before, table)
        chosen, gone = table.take(rows), before.take(~kept)
        if len(chosen) or len(gone):
            origins = [new.origins[each] if each >= 0 else "" for each in chosen.origins.tolist()]
            found[name] = {
                "gone": gone.keys.tobytes().hex(),
                "keys": chosen.keys.tobytes().hex(),
                "values": chosen.values.tobytes().hex(),
                "origins": origins,
            }
    return found


def _items(changes: Iterable[ItemChange]) -> dict[str, Any]:
    changes = tuple(changes)
    new = (each.new for each in changes if each.new is not None)
    return {
        "gone": [item_name(each.item) for each in changes if each.new is None],
        "put": [serial.show_item(each) for each in new if not isinstance(each, Shape)],
    }


def _names(old: Inventory, new: Inventory) -> dict[str, Any]:
    found = {}
    for kind in sorted({*old, *new}):
        before, after = old.get(kind, frozenset()), new.get(kind, frozenset())
        if before is not after:
            gone, came = sorted(before - after), sorted(after - before)
            if gone or came or (kind in old) != (kind in new):
                found[kind] = [gone, came]
    return found


def _replay(good: LastGood, body: Mapping[str, Any]) -> LastGood:
    state, texts = good.state, list(good.state.origins)
    numbers = {text: number for number, text in enumerate(texts)}
    tables = dict(state.tables)
    for name, change in body["tables"].items():
        tables[name] = _changed(tables[name], change, texts, numbers)
    items: dict[str, Any] = {
        name: _put(getattr(state, name), name, each) for name, each in body["items"].items()
    }
    state = _settled(replace(state, tables=tables, **items), texts)
    names = None if good.names is None else _renamed(good.names, body["names"])
    if body["vpcs"] is not None:
        state = replace(state, vpcs=dict(body["vpcs"]))
    kept = good.kept
    if body["kept"] is not None:
        kept = tuple(kept[e] if isinstance(e, int) else read_kept(e) for e in body["kept"])
    return LastGood(body["revision"], state, names, body["applied"], kept)


def _changed(
    table: Table, change: Mapping[str, Any], texts: list[str], numbers: dict[str, int]
) -> Table:
    spec = MAPS[table.spec.name]
    gone = np.frombuffer(bytes.fromhex(change["gone"]), spec.key.dtype)
    keys = np.frombuffer(bytes.fromhex(change["keys"]), spec.key.dtype)
    values = np.frombuffer(bytes.fromhex(change["values"]), spec.value.dtype)
    origins = []
    for text in change["origins"]:
        if text and text not in numbers:
            numbers[text] = len(texts)
            texts.append(text)
        origins.append(numbers[text] if text else -1)
    rest = table.take(~np.isin(raw(table.keys), np.concatenate([raw(gone), raw(keys)])))
    return Table.make(
        spec,
        join(spec.key, [rest.keys, keys]),
        join(spec.value, [rest.values, values]),
        np.concatenate([rest.origins, np.array(origins, np.int32)]),
    )


def _put(items: tuple[Item, ...], kind: str, change: Mapping[str, Any]) -> tuple[Item, ...]:
    found = {item_name(each): each for each in items}
    for name in change["gone"]:
        del found[name]
    for each in change["put"]:
        item = serial.read_item(kind, each)
        found[item_name(item)] = item
    return tuple(found[name] for name in sorted(found))


def _settled(state: HostState, texts: list[str]) -> HostState:
    """Origins that index the texts in use, sorted, as HostState has them."""
    used = {each for table in state.tables.values() for each in table.origins.tolist()} - {-1}
    order = sorted(used, key=texts.__getitem__)
    rank = np.full(len(texts) + 1, -1, np.int32)
    rank[order] = np.arange(len(order))
    tables = {
        name: replace(table, origins=rank[table.origins]) for name, table in state.tables.items()
    }
    return replace(state, tables=tables, origins=tuple(texts[each] for each in order))


def _renamed(names: Inventory, change: Mapping[str, Any]) -> Inventory:
    found: dict[str, Set[str]] = dict(names)
    for kind, (gone, came) in change.items():
        before = found.get(kind, frozenset())
        found[kind] = (
            before.replaced(gone, came)
            if isinstance(before, Names)
            else (before - frozenset(gone)) | frozenset(came)
        )
    return found
