"""Groups: which of n things belong to each of k owners, as two arrays instead of k lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NONE: NDArray[np.intp] = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Owner k has members[starts[k]:starts[k + 1]], ascending."""

    members: NDArray[np.intp]
    starts: NDArray[np.intp]

    @classmethod
    def by(cls, owners: NDArray[np.int32], count: int) -> Groups:
        """Group the positions of `owners` (n,), each in range(count), by their value."""
        members = np.argsort(owners, kind="stable")
        starts = np.zeros(count + 1, np.intp)
        np.cumsum(np.bincount(owners, minlength=count), out=starts[1:])
        return cls(members, starts)

    @classmethod
    def inverse(cls, sets: Iterable[NDArray[np.int32]], count: int) -> Groups:
        """From the owners of each thing to the things of each of `count` owners."""
        sets = list(sets)
        owners = np.concatenate([np.zeros(0, np.int32), *sets])
        things = np.repeat(np.arange(len(sets)), [len(each) for each in sets])
        grouped = cls.by(owners, count)
        return cls(things[grouped.members], grouped.starts)

    def of(self, owner: int) -> NDArray[np.intp]:
        """The members of one owner."""
        return self.members[self.starts[owner] : self.starts[owner + 1]]

    def of_all(self, owners: NDArray[np.intp]) -> NDArray[np.intp]:
        """The members of several owners, one after the other."""
        return np.concatenate([NONE, *(self.of(int(owner)) for owner in owners)])
