"""Whether there is memory for maps that are to be made, before the first of them is.

What maps take is worked out after kernel/bpf/hashtab.c and arraymap.c; rows of a map that is not
preallocated count as many as it will hold at once. What there is, the kernel says.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from reconciler.abi.spec import MapKind, MapSpec
from reconciler.datapath import libbpf
from reconciler.datapath.errors import HostError

_BUCKET = 16  # bytes, struct bucket
_ELEMENT = 48  # bytes, struct htab_elem before key and value
_NODE = 80  # bytes, struct lpm_trie_node before the key; inner nodes are as many again
_PREALLOCATED = 1  # BPF_F_NO_PREALLOC turns it off
_RESERVE = 1 << 25  # bytes that are left to everybody else


class NoMemoryError(HostError):
    """There is not memory enough for the maps of a plan; nothing was written."""


def size(spec: MapSpec, capacity: int, rows: int) -> int:
    """Bytes of kernel memory that a map of `capacity` takes with `rows` rows in it, roughly."""
    key, value = (-(-each.dtype.itemsize // 8) * 8 for each in (spec.key, spec.value))
    if spec.kind is MapKind.ARRAY:
        return capacity * value
    if spec.kind is MapKind.PERCPU_ARRAY:
        return capacity * (8 + value * libbpf.possible_cpus())
    if spec.kind is MapKind.LPM_TRIE:
        return rows * 2 * (_NODE + key + value)
    buckets = 1 << max(capacity - 1, 1).bit_length()
    held = rows if spec.flags & _PREALLOCATED else capacity
    return buckets * _BUCKET + held * (_ELEMENT + key + value)


def check(host: str, needed: int) -> None:
    """NoMemoryError if so many bytes are not to be had."""
    there = available()
    if needed + _RESERVE > there:
        raise NoMemoryError(
            f"host {host}: maps that are made anew need {_mib(needed)} MiB beside those that are "
            f"there, {_mib(max(there - _RESERVE, 0))} MiB are free; free memory, or choose "
            f"smaller capacities"
        )


def available() -> int:
    """Bytes that this process may still take: of the machine's, and of each of its cgroups'."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min([*found, *_cgroups()], default=0)


def _cgroups() -> Iterable[int]:
    """What is left in each cgroup (version 2) of this process that has a limit."""
    root = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
        place = root / own.lstrip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(root):
                return
            with suppress(OSError, ValueError):
                limit = int((folder / "memory.max").read_text())
                yield max(limit - int((folder / "memory.current").read_text()), 0)


def _mib(count: int) -> int:
    return -(-count // (1 << 20))
