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
    """A set of names; those without a change are shared with the set that it was made from.

    A shard is its names in order, each between line ends, so that none is an object of its own.
    """

    __slots__ = ("_count", "_shards")

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Any names; equal ones count once."""
        shards: list[set[str]] = [set() for _ in range(SHARDS)]
        for name in names:
            shards[hash(name) % SHARDS].add(name)
        self._shards = tuple(map(_packed, shards))
        self._count = sum(map(len, shards))

    def replaced(self, old: Iterable[str], new: Iterable[str]) -> Names:
        """Without `old`, with `new`."""
        touched: dict[int, set[str]] = {}
        for names, change in ((old, set.discard), (new, set.add)):
            for name in names:
                shard = hash(name) % SHARDS
                if shard not in touched:
                    touched[shard] = _unpacked(self._shards[shard])
                change(touched[shard], name)
        shards, count = list(self._shards), self._count
        for shard, members in touched.items():
            count += len(members) - len(_unpacked(shards[shard]))
            shards[shard] = _packed(members)
        made = Names.__new__(Names)
        made._shards, made._count = tuple(shards), count
        return made

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and f"\n{name}\n".encode() in self._shards[hash(name) % SHARDS]

    def __iter__(self) -> Iterator[str]:
        return (name for shard in self._shards for name in _unpacked(shard))

    def __len__(self) -> int:
        return self._count

    def __sub__(self, other: Set[str]) -> frozenset[str]:
        """What only this has; costs what is not shared, if `other` is of this type."""
        if not isinstance(other, Names):
            return frozenset(name for name in self if name not in other)
        pairs = zip(self._shards, other._shards, strict=True)
        return frozenset(
            name
            for one, two in pairs
            if one is not two and one != two
            for name in _unpacked(one) - _unpacked(two)
        )


def _packed(names: Iterable[str]) -> bytes:
    return "\n".join(["", *sorted(names), ""]).encode()


def _unpacked(shard: bytes) -> set[str]:
    return set(shard.decode().split("\n")[1:-1])
