"""mix64: a bijection of 64-bit numbers whose every output bit depends on every input bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mix64(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014), modulo 2^64."""
    z = numbers
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
