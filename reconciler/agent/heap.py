"""Heap: give memory that is free back to the kernel, which the C library alone would keep."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """After much was allocated and freed. Nothing where the C library is not glibc."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
