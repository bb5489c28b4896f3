"""What the control plane knows of a map without a kernel: its layout, capacity, and whose it is.

A MapSpec is deterministic on any machine; the map in this kernel is reconciler.datapath's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np

MMAPABLE = 1 << 10  # BPF_F_MMAPABLE


class MapKind(IntEnum):
    """Kernel numbers of `enum bpf_map_type` (include/uapi/linux/bpf.h)."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LPM_TRIE = 11


class Ownership(StrEnum):
    """Whose a map is, as its BTF declaration tag says (bpf/maps.h)."""

    OWNED = "owned"
    DATA_PLANE = "data-plane"
    COLLECTED = "collected"
    CACHE = "cache"  # data-plane, and need not be carried over when programs are replaced
    SHARED = "shared"  # by programs and by the agent while it runs; never a difference


@dataclass(frozen=True, slots=True)
class Record:
    """A key or value layout: a packed-by-construction dtype, what its bytes mean, and its facts.

    `meaning` maps a column to a typedef of abi.h that says how to print it: `ipv4`, `address`,
    `mac`; columns without one are integers in the byte order of the dtype.
    `facts` are the columns filled by bind; they are zero before.
    """

    dtype: np.dtype[np.void]
    meaning: Mapping[str, str]
    facts: frozenset[str]


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One map of bpf/maps.h."""

    name: str
    kind: MapKind
    key: Record
    value: Record
    capacity: int
    flags: int
    ownership: Ownership

    @property
    def dense(self) -> bool:
        """Whether every index exists, so that an absent row is an all-zero value."""
        return self.kind in (MapKind.ARRAY, MapKind.PERCPU_ARRAY)

    @property
    def words(self) -> bool:
        """Whether it is an array of 8-byte values that can be mapped into memory."""
        mapped = self.kind is MapKind.ARRAY and bool(self.flags & MMAPABLE)
        return mapped and self.value.dtype.itemsize == 8
