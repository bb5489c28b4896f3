"""Table: the rows of one map as two NumPy structured arrays sorted by key bytes.

Desired and live tables are the same type; converged is byte equality. No object per row exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.spec import MapSpec, Record

Rows = NDArray[np.void]


class LayoutError(TypeError):
    """Rows are not laid out as their map is, for instance in another byte order."""


class DuplicateKeyError(ValueError):
    """Two rows of one table have the same key."""


def raw(rows: Rows) -> NDArray[np.bytes_]:
    """View structured rows as fixed-width byte strings, which NumPy orders as memcmp does."""
    return np.ascontiguousarray(rows).view(f"S{rows.dtype.itemsize}")


def pick(rows: Rows, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Rows:
    """`rows[chosen]`, some ten times as fast: NumPy copies structured rows column by column."""
    whole = np.ascontiguousarray(rows).view(f"V{rows.dtype.itemsize}")
    return whole[chosen].view(rows.dtype)


def _equal_bytes(left: Rows, right: Rows) -> bool:
    return left.dtype == right.dtype and left.tobytes() == right.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of `spec`: `keys` and `values` of shape (n,), sorted by key bytes, keys distinct.

    `origins` (int32, shape (n,)) index HostState.origins: the manifest that a row comes from, -1
    where that is unknown, as in every live table. Origins never take part in a comparison.
    """

    spec: MapSpec
    keys: Rows
    values: Rows
    origins: NDArray[np.int32]

    @classmethod
    def make(
        cls, spec: MapSpec, keys: Rows, values: Rows, origins: NDArray[np.int32] | None = None
    ) -> Table:
        """Sort rows given in any order. Zero rows of arrays are absent.

        Raises DuplicateKeyError, and LayoutError for rows of another layout or byte order.
        """
        if keys.dtype != spec.key.dtype or values.dtype != spec.value.dtype:
            raise LayoutError(f"{spec.name}: rows are {keys.dtype} and {values.dtype}")
        if origins is None:
            origins = np.full(len(keys), -1, np.int32)
        keys, values = np.ascontiguousarray(keys), np.ascontiguousarray(values)
        if spec.dense:
            used = raw(values) != b""  # a bytes comparison ignores trailing zeros: b"" is all zero
            keys, values, origins = pick(keys, used), pick(values, used), origins[used]
        names = raw(keys)
        if len(keys) > 1 and not bool(np.all(names[:-1] < names[1:])):
            order = np.argsort(names, kind="stable")
            keys, values, origins = pick(keys, order), pick(values, order), origins[order]
            names = names[order]
            same = np.flatnonzero(names[:-1] == names[1:])
            if len(same):
                raise DuplicateKeyError(f"{spec.name}: key {keys[same[0]].item()} occurs twice")
        return cls(spec, keys, values, origins)

    @classmethod
    def empty(cls, spec: MapSpec) -> Table:
        """No rows."""
        return cls.make(spec, np.zeros(0, spec.key.dtype), np.zeros(0, spec.value.dtype))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.keys)

    def __eq__(self, other: object) -> bool:
        """Byte equality of keys and values."""
        if other is self:
            return True
        if not isinstance(other, Table):
            return NotImplemented
        return (
            self.spec.name == other.spec.name
            and _equal_bytes(self.keys, other.keys)
            and _equal_bytes(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Table:
        """The chosen rows, by ascending index or mask."""
        keys, values = pick(self.keys, chosen), pick(self.values, chosen)
        return Table(self.spec, keys, values, self.origins[chosen])

    def insert(self, more: Table) -> Table:
        """With the rows of `more`, whose keys are not here; origins as they stand."""
        place = np.searchsorted(raw(self.keys), raw(more.keys))
        return Table(
            self.spec,
            _inserted(self.keys, place, more.keys),
            _inserted(self.values, place, more.values),
            np.insert(self.origins, place, more.origins),
        )

    def without_facts(self) -> Table:
        """A copy whose fact columns are zero: what two commits can be compared by."""
        values = self.values.copy()
        for name in self.spec.value.facts:
            values[name] = 0
        return Table(self.spec, self.keys, values, self.origins)


def _inserted(rows: Rows, place: NDArray[np.intp], more: Rows) -> Rows:
    """As whole rows: NumPy copies structured ones column by column."""
    whole = [np.ascontiguousarray(each).view(f"V{rows.dtype.itemsize}") for each in (rows, more)]
    return np.insert(whole[0], place, whole[1]).view(rows.dtype)


def join(record: Record, parts: Sequence[Rows]) -> Rows:
    """The rows of several arrays. (np.concatenate turns big-endian columns into native ones.)"""
    octets = [np.ascontiguousarray(each).view(np.uint8) for each in parts if len(each)]
    joined = np.concatenate([np.zeros(0, np.uint8), *octets])
    return joined.view(record.dtype)


def zeros(record: Record, count: int) -> Rows:
    """`count` all-zero rows of a layout."""
    return np.zeros(count, record.dtype)
