"""The `check` column: a digest of a row's key and value that the data plane verifies after copying.

The formula is stated beside its C twin in bpf/row.h; packets in tests/bpf show that they agree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.table import Rows

_MASK = (1 << 64) - 1


def multipliers(count: int) -> NDArray[np.uint64]:
    """The first `count` outputs of splitmix64 seeded with 0, made odd (Steele, Lea, Flood 2014)."""
    state, found = 0, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        found.append((z ^ (z >> 31)) | 1)
    return np.array(found, np.uint64)


def fill_check(keys: Rows, values: Rows) -> Rows:
    """A copy of `values` with `check` set.

    High 32 bits of the sum modulo 2^64 of w_i * K_i over the little-endian 64-bit words w_i of key
    and value (check zero), padded with zeros; K_i as `multipliers`.
    """
    filled = values.copy()
    filled["check"] = 0
    count, key_size, value_size = len(keys), keys.dtype.itemsize, values.dtype.itemsize
    words = -(-(key_size + value_size) // 8)
    rows = np.zeros((count, words * 8), np.uint8)
    rows[:, :key_size] = np.ascontiguousarray(keys).view(np.uint8).reshape(count, key_size)
    rows[:, key_size : key_size + value_size] = filled.view(np.uint8).reshape(count, value_size)
    products = rows.view("<u8") * multipliers(words)
    filled["check"] = (products.sum(axis=1, dtype=np.uint64) >> np.uint64(32)).astype(np.uint32)
    return filled
