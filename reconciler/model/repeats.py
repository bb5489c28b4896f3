"""Repeats: what is given more than once in columns, found by one sort."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def repeats(keys: Sequence[NDArray[Any]]) -> Iterator[tuple[int, int]]:
    """(row, first row) for each row whose keys all equal an earlier row's; keys are columns."""
    order = np.lexsort(keys)  # stable, so equal rows stay in order
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for key in keys:
        ordered = key[order]
        same &= ordered[1:] == ordered[:-1]
    begins = np.where(same, 0, np.arange(1, len(order)))
    first = np.maximum.accumulate(begins)
    yield from zip(order[1:][same].tolist(), order[first[same]].tolist(), strict=True)
