"""Texts: many short texts as one object, since a million objects of 60 bytes each are too much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

_END = 10  # a line's end, which no name has


class Texts(Sequence[str]):
    """ASCII texts without line ends; each is made anew whenever it is asked for."""

    __slots__ = ("_data", "_ends")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """ValueError for texts of other characters."""
        found = list(texts)
        data = "\n".join([*found, ""]).encode("ascii")
        self._set(data)
        if len(self) != len(found):
            raise ValueError("a text has more than one line")

    @classmethod
    def of_bytes(cls, data: bytes) -> Texts:
        """Of what `bytes` gave."""
        made = cls.__new__(cls)
        made._set(data)
        return made

    def _set(self, data: bytes) -> None:
        self._data = data
        self._ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _END).astype(np.int32)

    def __bytes__(self) -> bytes:
        """All of them, each with a line end."""
        return self._data

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data.decode("ascii").split("\n")[:-1])

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Texts: ...
    def __getitem__(self, row: int | slice) -> str | Texts:
        """One text, or some."""
        if isinstance(row, slice):
            return self.take(np.arange(*row.indices(len(self))))
        if row < 0:
            row += len(self)
        begin = int(self._ends[row - 1]) + 1 if row else 0
        return self._data[begin : int(self._ends[row])].decode("ascii")

    def take(self, rows: NDArray[np.intp]) -> Texts:
        """Those of some rows, in the order in which they are given."""
        begins = np.append(np.int32(-1), self._ends)[rows] + 1
        lengths = self._ends[rows] - begins + 1
        ends = np.cumsum(lengths)
        count = int(ends[-1]) if len(ends) else 0
        places = np.arange(count) + np.repeat(begins - (ends - lengths), lengths)
        return Texts.of_bytes(np.frombuffer(self._data, np.uint8)[places].tobytes())

    def fixed(self) -> NDArray[np.bytes_]:
        """(n,) texts of one width, which NumPy sorts as Python does; zeros at the end."""
        begins = np.append(np.int32(-1), self._ends[:-1]) + 1 if len(self) else self._ends
        lengths = self._ends - begins
        width = int(lengths.max(initial=1))
        octets = np.zeros((len(self), width), np.uint8)
        data = np.frombuffer(self._data, np.uint8)
        octets[np.arange(width) < lengths[:, np.newaxis]] = data[data != _END]
        return octets.view(f"S{width}")[:, 0]


def joined(parts: Iterable[Texts]) -> Texts:
    """One after the other."""
    return Texts.of_bytes(b"".join(map(bytes, parts)))
