"""What the data plane learned and counted, from the maps before an upgrade into those after it.

Twice: everything before programs are switched, and afterwards what the old ones did meanwhile. The
second time the new programs write as well, so that only what they have not touched is written.
Per-CPU counters cannot be added to while a CPU counts, so the sums of the old map are kept beside
the new one, in a map that nothing else writes. All of it may be done again after a crash.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from reconciler.abi.convert import convert
from reconciler.abi.merge import diff_tables
from reconciler.abi.shape import LEARNED
from reconciler.abi.spec import MapKind, MapSpec
from reconciler.abi.table import Rows, Table, pick, raw
from reconciler.datapath import elements, tables
from reconciler.datapath.libbpf import BpfError, Fd
from reconciler.datapath.maps import Maps, OpenMap, converted

_NEW_ONLY = 1  # BPF_NOEXIST
_PER_CPU = (MapKind.PERCPU_ARRAY,)


@dataclass(frozen=True, slots=True)
class Pair:
    """A map and the one that takes its place; both layouts are known."""

    old: OpenMap
    new: OpenMap
    source: MapSpec
    target: MapSpec

    @property
    def per_cpu(self) -> bool:
        """Whether sums are carried instead of rows."""
        return self.source.kind in _PER_CPU or self.target.kind in _PER_CPU


def pairs(old: Maps, new: Maps) -> Iterator[Pair]:
    """The maps that were made anew and have something to take over."""
    for name, after in sorted(new.items()):
        before = old.get(name)
        if before is None or before.info.id == after.info.id:
            continue
        source, target = before.spec, after.spec
        if source is None or target is None or target.ownership not in LEARNED:
            continue
        if source.ownership in LEARNED and (source.kind in _PER_CPU) == (target.kind in _PER_CPU):
            yield Pair(before, after, source, target)


def rows(pair: Pair) -> Table:
    """What the old map holds, in the layout of the new one."""
    keys, values = tables.scan(pair.old.fd, pair.source, pair.source.capacity)
    keys, values = converted(pair.source, keys, values, pair.target)
    used = np.ones(len(keys), np.bool_)
    if pair.target.dense:
        used = (raw(values) != b"") & (keys["index"] < pair.target.capacity)
    keys, values = keys[used], values[used]
    # Read while it is written, a map may show a key twice.
    _, once = np.unique(raw(keys), return_index=True)
    return Table(
        pair.target, pick(keys, once), pick(values, once), np.full(len(once), -1, np.int32)
    )


def first(pair: Pair) -> Table:
    """Copy all rows into the new map, which nobody uses yet; what was copied."""
    copied = rows(pair)
    tables.write_rows(pair.new.fd, pair.target, copied.keys, copied.values)
    return copied


def again(pair: Pair, copied: Table | None) -> None:
    """Carry over what changed in the old map since, unless the new programs know better.

    `copied` is None after a crash; then only rows that the new map lacks are carried over.
    """
    found = rows(pair)
    before = Table.empty(pair.target) if copied is None else copied
    differs = diff_tables(found, before)
    if differs is None:
        return
    created, updated = found.take(differs.creates), found.take(differs.updates)
    replaced, gone = before.take(differs.replaced), before.take(differs.deletes)
    for key, value in _pairs(created):
        if _now(pair, key) is None:
            _write(pair, key, value, new_only=not pair.target.dense)
    for (key, value), (_, old) in zip(_pairs(updated), _pairs(replaced), strict=True):
        if _now(pair, key) == old:
            _write(pair, key, value, new_only=False)
    for key, old in _pairs(gone):
        if _now(pair, key) == old:
            _forget(pair, key, len(old))


def _now(pair: Pair, key: bytes) -> bytes | None:
    """What the new map has of a key; an array's zeros are nothing."""
    found = elements.lookup(pair.new.fd, key, pair.target.value.dtype.itemsize)
    return None if found is not None and pair.target.dense and not any(found) else found


def _write(pair: Pair, key: bytes, value: bytes, *, new_only: bool) -> None:
    try:
        elements.update(pair.new.fd, key, value, _NEW_ONLY if new_only else 0)
    except BpfError as error:
        if error.errno != errno.EEXIST:  # just now a new program learned it
            raise


def _forget(pair: Pair, key: bytes, size: int) -> None:
    if pair.target.dense:
        elements.update(pair.new.fd, key, bytes(size))
    else:
        elements.delete(pair.new.fd, key)


def _pairs(table: Table) -> Iterator[tuple[bytes, bytes]]:
    for key, value in zip(table.keys, table.values, strict=True):
        yield key.tobytes(), value.tobytes()


def sums(live: OpenMap, carried: Fd | None, spec: MapSpec, capacity: int) -> Rows:
    """A per-CPU map summed over the CPUs, (capacity,) rows of `spec`, with what was carried."""
    total = np.zeros(capacity, spec.value.dtype)
    if live.spec is not None:
        _add(total, tables.read_sums(live.fd, live.spec, live.spec.capacity), spec)
        if carried is not None:
            _add(total, _read_carried(carried, live.spec), spec)
    return total


def _add(total: Rows, more: Rows, spec: MapSpec) -> None:
    """Add rows of another layout to the first rows of `total`; those that do not fit are lost."""
    count = min(len(total), len(more))
    made, fit = convert(more[:count], spec.value)
    made[~fit] = 0
    for column in spec.value.dtype.names or ():
        total[column][:count] += made[column]


def added(one: Rows, other: Rows) -> Rows:
    """Both, column by column."""
    total = one.copy()
    for column in total.dtype.names or ():
        total[column] += other[column]
    return total


def carried_spec(spec: MapSpec) -> MapSpec:
    """The map beside a per-CPU one: an array of the same rows."""
    return replace(spec, kind=MapKind.ARRAY, flags=0)


def _read_carried(fd: Fd, spec: MapSpec) -> Rows:
    keys, values = tables.scan(fd, carried_spec(spec), spec.capacity)
    made = np.zeros(spec.capacity, spec.value.dtype)
    made[keys["index"]] = values
    return made


def write_carried(fd: Fd, spec: MapSpec, rows: Rows) -> None:
    """Replace what is kept beside a per-CPU map."""
    keys = np.zeros(len(rows), spec.key.dtype)
    keys["index"] = np.arange(len(rows))
    tables.write_rows(fd, carried_spec(spec), keys, rows)
