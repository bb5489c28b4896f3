"""What BPF maps hold: read and written by one key, by batches, or in mapped memory.

Keys and values are bytes or rows of numpy arrays as the kernel has them. See libbpf.py for the maps
themselves, and tables.py for what copes with a map that changes meanwhile.
"""

from __future__ import annotations

import ctypes as ct
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import PAGESIZE, mmap

from reconciler.abi.table import Rows
from reconciler.datapath import bindings as c
from reconciler.datapath import libbpf


def lookup(fd: libbpf.Fd, key: bytes, value_size: int) -> bytes | None:
    """The value of one key, or None. Per-CPU maps give 8-byte aligned values, one per CPU."""
    value = ct.create_string_buffer(value_size)
    result = c.lookup(fd.fileno(), key, value)
    if result == -errno.ENOENT:
        return None
    libbpf.checked(result, "reading a map")
    return value.raw


def update(fd: libbpf.Fd, key: bytes, value: bytes, flags: int = 0) -> None:
    """Write one row."""
    libbpf.checked(c.update(fd.fileno(), key, value, flags), "writing a map")


def delete(fd: libbpf.Fd, key: bytes) -> bool:
    """Delete one row; False if it was not there."""
    result = c.delete(fd.fileno(), key)
    if result != -errno.ENOENT:
        libbpf.checked(result, "deleting from a map")
    return bool(result == 0)


def _pointer(rows: Rows) -> int:
    if not rows.flags.c_contiguous:
        raise ValueError("rows must be contiguous")
    return rows.ctypes.data


def lookup_batch(
    fd: libbpf.Fd, token: bytes | None, keys: Rows, values: Rows, count: int
) -> tuple[int, bytes, int]:
    """Read up to `count` rows into the arrays, going on from `token` (None: from the start).

    Returns how many were read, the next token, and 0 or an errno: ENOENT is the end of the map
    (rows may come with it), ENOSPC a bucket that holds more than `count` rows.
    """
    number = ct.c_uint32(count)
    following = ct.create_string_buffer(max(keys.dtype.itemsize, 8))
    result = c.lookup_batch(
        fd.fileno(), token, following, _pointer(keys), _pointer(values), ct.byref(number), None
    )
    read = 0 if result == -errno.EFAULT else min(number.value, count)
    return read, following.raw, -result


def update_batch(fd: libbpf.Fd, keys: Rows, values: Rows, flags: int = 0) -> tuple[int, int]:
    """Write rows in order; returns how many were written, and 0 or the errno of the next one."""
    number = ct.c_uint32(len(keys))
    options = libbpf.opts(c.BatchOpts, elem_flags=flags)
    result = c.update_batch(
        fd.fileno(), _pointer(keys), _pointer(values), ct.byref(number), ct.byref(options)
    )
    return (0 if result == -errno.EFAULT else number.value), -result


def update_words(fd: libbpf.Fd, keys: Rows, values: Rows) -> tuple[int, int]:
    """update_batch() for an array of 8-byte values that can be mapped: each value in one store.

    The kernel's own update copies bytes (`rep movsb` where the processor has FSRM), which nothing
    says to be atomic: a test saw a frame with the MAC of one row and the uplink of the one before.
    """
    indices, words = keys["index"].tolist(), values.view("u8").tolist()
    with _words(fd) as rows:
        for done, (index, word) in enumerate(zip(indices, words, strict=True)):
            if index >= len(rows):
                return done, errno.E2BIG
            rows[index] = word
    return len(keys), 0


def read_words(fd: libbpf.Fd) -> bytes:
    """All values of an array of 8-byte values that can be mapped, at the cost of a copy."""
    with _words(fd) as rows:
        return rows.tobytes()


@contextmanager
def _words(fd: libbpf.Fd) -> Iterator[memoryview]:
    capacity = libbpf.map_info(fd).capacity
    with (
        mmap(fd.fileno(), -(-capacity * 8 // PAGESIZE) * PAGESIZE) as memory,
        memoryview(memory) as octets,
        octets[: capacity * 8].cast("Q") as rows,
    ):
        yield rows


def delete_batch(fd: libbpf.Fd, keys: Rows) -> tuple[int, int]:
    """Delete rows in order; returns how many were deleted, and 0 or the errno of the next one."""
    number = ct.c_uint32(len(keys))
    result = c.delete_batch(fd.fileno(), _pointer(keys), ct.byref(number), None)
    return (0 if result == -errno.EFAULT else number.value), -result
