"""Maps in the kernel <-> Table: reading and writing in batches, straight from and to NumPy arrays.

A read that a writer disturbed is repeated; a batch that stops half-way goes on row by row.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.digest import Known, Recognised
from reconciler.abi.generated import Generation
from reconciler.abi.spec import MapKind, MapSpec
from reconciler.abi.table import DuplicateKeyError, Rows, Table, raw
from reconciler.datapath import elements, libbpf
from reconciler.datapath.errors import TransientError, WriteError
from reconciler.datapath.libbpf import BpfError, Fd

BATCH = 1 << 16  # rows a system call
FEW = 1 << 13  # rows that are looked up one by one, a microsecond each, rather than all read again
READS = 8  # how often a disturbed read is repeated
WRITES = 8  # how often a write that the kernel could not do just now is repeated
BUSY = (errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM)  # of a row; soon it may be done


class DisturbedError(TransientError):
    """A map changed under every attempt to read it."""


class _Disturbed(Exception):
    """One attempt to read a map is worth nothing."""


def read_table(
    fd: Fd,
    spec: MapSpec,
    capacity: int,
    *,
    known: Known | None = None,
    batch: int = BATCH,
    pause: Callable[[float], None] = time.sleep,
) -> Table:
    """All rows of a map, sorted, once two reads in a row agree; `known` counts as a read.

    One read may mix what was before a write with what was after it, and of a trie's key that is
    deleted meanwhile it may give the value of a shorter prefix (kernel/bpf/lpm_trie.c). Where a
    few rows of a hash map are not as known, only they are read again. `batch` is how many rows to
    ask for at once, to begin with. Raises DisturbedError when a writer gets in the way again and
    again.
    """
    reason, before = "", known
    for attempt in range(READS):
        try:
            keys, values = _present(spec, *_read(fd, spec, capacity, batch))
            if before is None:
                table = Table.make(spec, keys, values)
            else:
                found = before.recognise(keys, values)
                table = found.table
                if table is before.table or (not attempt and _stands(fd, spec, found)):
                    return table
        except (_Disturbed, DuplicateKeyError) as disturbed:
            reason = str(disturbed)
        else:
            before, reason = Known.of(table), "two reads differ"
        if attempt:
            pause(0.001 * 2**attempt)
    raise DisturbedError(f"map {spec.name}: changed during each of {READS} reads ({reason})")


def scan(fd: Fd, spec: MapSpec, capacity: int) -> tuple[Rows, Rows]:
    """Keys and values of a map that others may write meanwhile, in no order, read once."""
    for _ in range(READS):
        try:
            return _read(fd, spec, capacity, BATCH)
        except _Disturbed:
            continue
    raise DisturbedError(f"map {spec.name}: changed during each of {READS} reads")


def _present(spec: MapSpec, keys: Rows, values: Rows) -> tuple[Rows, Rows]:
    """Without an array's rows of zeros, which are absent."""
    if not spec.dense:
        return keys, values
    used = raw(values) != b""
    return keys[used], values[used]


def _stands(fd: Fd, spec: MapSpec, found: Recognised) -> bool:
    """Whether the few rows that were not as known are still as they were read.

    A lookup in a trie finds shorter prefixes as well, so it cannot tell.
    """
    if spec.kind is MapKind.LPM_TRIE or len(found.fresh) + len(found.gone) > FEW:
        return False
    values, present = read_rows(fd, spec, found.fresh.keys)
    if not bool(present.all()) or bool((raw(values) != raw(found.fresh.values)).any()):
        return False
    _, present = read_rows(fd, spec, found.gone.keys)
    return not bool(np.any(present & ~np.isin(raw(found.gone.keys), raw(found.fresh.keys))))


def _read(fd: Fd, spec: MapSpec, capacity: int, batch: int) -> tuple[Rows, Rows]:
    if spec.words:
        values = np.frombuffer(elements.read_words(fd), spec.value.dtype)
        return np.arange(len(values), dtype=np.uint32).view(spec.key.dtype), values
    # Never touched pages of an empty array cost nothing, so there is room for every row.
    keys, values = np.empty(capacity, spec.key.dtype), np.empty(capacity, spec.value.dtype)
    read, token = 0, None
    while True:
        asked = min(batch, capacity - read)
        if asked == 0:
            asked = 1  # a full map says where it ends only when it is asked for more
            more = np.empty(1, spec.key.dtype), np.empty(1, spec.value.dtype)
            count, token, code = elements.lookup_batch(fd, token, *more, asked)
            if code == errno.ENOENT and count == 0:
                return keys, values
            raise _Disturbed("more rows than it can hold")
        count, token, code = elements.lookup_batch(fd, token, keys[read:], values[read:], asked)
        read += count
        if code == errno.ENOENT:
            return keys[:read], values[:read]
        if code == errno.ENOSPC:  # the next bucket holds more rows than were asked for
            if asked < batch:
                raise _Disturbed("more rows than it can hold")
            batch *= 2
        elif code in (errno.EINTR, errno.EAGAIN):  # a trie's key was deleted under the walk
            raise _Disturbed(errno.errorcode[code])
        elif code:
            raise BpfError(f"reading map {spec.name}", code)


def read_sums(fd: Fd, spec: MapSpec, capacity: int) -> Rows:
    """A per-CPU array as (capacity,) rows, summed over the CPUs."""
    cpus = libbpf.possible_cpus()
    keys = np.empty(capacity, spec.key.dtype)
    values = np.empty((capacity, cpus), spec.value.dtype)  # values are whole 8-byte words
    read, token = 0, None
    while read < capacity:
        count, token, code = elements.lookup_batch(
            fd, token, keys[read:], values[read:], min(BATCH, capacity - read)
        )
        read += count
        if code == errno.ENOENT:
            break
        if code:
            raise BpfError(f"reading map {spec.name}", code)
    sums = np.zeros(capacity, spec.value.dtype)
    for column in spec.value.dtype.names or ():
        sums[column][:read] = values[column][:read].sum(axis=1)
    return sums


def tell_written(fd: Fd) -> None:
    """Make what the data plane remembers of flows stale, after a write; `fd` is `generations`."""
    key = Generation.WRITTEN.to_bytes(4, "little")
    elements.update(fd, key, time.monotonic_ns().to_bytes(8, "little"))


def zero_sums(fd: Fd, spec: MapSpec, index: int) -> None:
    """Reset one row of a per-CPU array on every CPU."""
    size = spec.value.dtype.itemsize * libbpf.possible_cpus()
    elements.update(fd, index.to_bytes(4, "little"), bytes(size))


def read_rows(fd: Fd, spec: MapSpec, keys: Rows) -> tuple[Rows, NDArray[np.bool_]]:
    """The values of some keys, and which of them are there; an array's zeros are not.

    Not for tries, where a lookup finds the longest prefix and not the key.
    """
    values = np.zeros(len(keys), spec.value.dtype)
    present = np.zeros(len(keys), np.bool_)
    size = spec.value.dtype.itemsize
    for row, key in enumerate(keys):
        found = elements.lookup(fd, key.tobytes(), size)
        if found is not None and not (spec.dense and found == bytes(size)):
            values[row] = np.frombuffer(found, spec.value.dtype)[0]
            present[row] = True
    return values, present


def write_rows(
    fd: Fd, spec: MapSpec, keys: Rows, values: Rows, pause: Callable[[float], None] = time.sleep
) -> int:
    """Write rows in order; how many were written: all, or WriteError."""
    keys, values = np.ascontiguousarray(keys), np.ascontiguousarray(values)
    update = elements.update_words if spec.words else elements.update_batch

    def write(start: int) -> tuple[int, int]:
        end = start + BATCH
        return update(fd, keys[start:end], values[start:end])

    def write_one(row: int) -> None:
        elements.update(fd, keys[row].tobytes(), values[row].tobytes())

    return _all_rows(len(keys), write, write_one, pause)


def delete_rows(
    fd: Fd, spec: MapSpec, keys: Rows, pause: Callable[[float], None] = time.sleep
) -> int:
    """Delete rows in order; a row that is gone counts as deleted. Arrays are set to zero."""
    if spec.dense:
        return write_rows(fd, spec, keys, np.zeros(len(keys), spec.value.dtype), pause)
    keys = np.ascontiguousarray(keys)

    def delete(start: int) -> tuple[int, int]:
        return elements.delete_batch(fd, keys[start : start + BATCH])

    def delete_one(row: int) -> None:
        elements.delete(fd, keys[row].tobytes())

    return _all_rows(len(keys), delete, delete_one, pause)


def _all_rows(
    count: int,
    batch: Callable[[int], tuple[int, int]],
    single: Callable[[int], None],
    pause: Callable[[float], None],
) -> int:
    done = 0
    while done < count:
        moved, code = batch(done)
        done += moved
        if code and done < count:
            _retried(single, done, pause)
            done += 1
    return done


def _retried(single: Callable[[int], None], row: int, pause: Callable[[float], None]) -> None:
    for attempt in range(WRITES):
        try:
            single(row)
            return
        except BpfError as error:
            if error.errno not in BUSY or attempt == WRITES - 1:
                raise WriteError(row, error.errno, error.reason) from error
        pause(0.001 * 2**attempt)
