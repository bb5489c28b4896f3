"""Rows of one layout -> rows of another, column by column, by name. Pure.

Columns that only the new layout has are zero, those that only the old one has are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.spec import Record
from reconciler.abi.table import Rows


def convert(rows: Rows, new: Record) -> tuple[Rows, NDArray[np.bool_]]:
    """`rows` in the layout `new`, and which of them fit (n,): a number can be too large for it."""
    made = np.zeros(len(rows), new.dtype)
    fit = np.ones(len(rows), np.bool_)
    for name in new.dtype.names or ():
        if name in (rows.dtype.names or ()):
            fit &= _column(rows[name], made[name])
    return made, fit


def _column(old: NDArray[Any], new: NDArray[Any]) -> NDArray[np.bool_]:
    """Copy one column, or as many of its elements as there are in both; which rows of it fit."""
    source, target = (each if each.ndim > 1 else each[:, None] for each in (old, new))
    count = min(source.shape[1], target.shape[1])
    fit: NDArray[np.bool_] = np.logical_not(source[:, count:].any(axis=1))
    if source.dtype.itemsize > target.dtype.itemsize:
        fit &= (source[:, :count] <= np.iinfo(target.dtype).max).all(axis=1)
    target[:, :count] = source[:, :count]
    return fit
