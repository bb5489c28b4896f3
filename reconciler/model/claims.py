"""Claims: numbers of which no two may be equal, and names; changed at the cost of the change.

Both are cut into shards by value, so that a change copies a thousandth of what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
BITS = 10
SHARDS = 1 << BITS


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """Distinct 64-bit numbers; `shards` by the highest bits, each ascending."""

    shards: tuple[Numbers, ...]

    @classmethod
    def of(cls, numbers: Numbers) -> Claims | None:
        """None if two are equal."""
        ordered = np.sort(numbers)
        if np.any(ordered[1:] == ordered[:-1]):
            return None
        bounds = np.searchsorted(ordered, np.arange(1, SHARDS, dtype=np.uint64) << (64 - BITS))
        return cls(tuple(np.split(ordered, bounds)))

    def replaced(self, old: Numbers, new: Numbers) -> Claims | None:
        """Without `old`, with `new`; None if an old one is not there, or a new one is."""
        going, coming = np.setdiff1d(old, new), np.setdiff1d(new, old)
        if len(np.unique(new)) != len(new) or len(np.unique(old)) != len(old):
            return None
        shards = list(self.shards)
        for shard, numbers in _by_shard(going):
            kept = np.setdiff1d(shards[shard], numbers, assume_unique=True)
            if len(kept) + len(numbers) != len(shards[shard]):
                return None
            shards[shard] = kept
        for shard, numbers in _by_shard(coming):
            grown = np.union1d(shards[shard], numbers)
            if len(grown) != len(shards[shard]) + len(numbers):
                return None
            shards[shard] = grown
        return Claims(tuple(shards))


def _by_shard(numbers: Numbers) -> Iterator[tuple[int, Numbers]]:
    """Ascending numbers, grouped."""
    found, starts = np.unique(numbers >> np.uint64(64 - BITS), return_index=True)
    yield from zip(found.tolist(), np.split(numbers, starts[1:]), strict=True) if len(found) else ()


class Names(Set[str]):
    """A set of names; those without a change are shared with the set that it was made from."""

    __slots__ = ("_count", "_shards")

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Any names; equal ones count once."""
        shards: list[set[str]] = [set() for _ in range(SHARDS)]
        for name in names:
            shards[hash(name) % SHARDS].add(name)
        self._shards = tuple(map(frozenset, shards))
        self._count = sum(map(len, shards))

    def replaced(self, old: Iterable[str], new: Iterable[str]) -> Names:
        """Without `old`, with `new`."""
        shards = list(self._shards)
        for name in old:
            shards[hash(name) % SHARDS] -= {name}
        for name in new:
            shards[hash(name) % SHARDS] |= {name}
        made = Names.__new__(Names)
        made._shards = tuple(shards)
        made._count = sum(map(len, shards))
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._shards[hash(name) % SHARDS]

    def __iter__(self) -> Iterator[str]:
        return (name for shard in self._shards for name in shard)

    def __len__(self) -> int:
        return self._count

    def __sub__(self, other: Set[str]) -> frozenset[str]:
        """What only this has; costs what is not shared, if `other` is of this type."""
        if not isinstance(other, Names):
            return frozenset(name for name in self if name not in other)
        pairs = zip(self._shards, other._shards, strict=True)
        return frozenset(name for one, two in pairs if one is not two for name in one - two)
