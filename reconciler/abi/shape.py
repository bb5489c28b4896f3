"""Shape: what has to be equal for a map to be taken over as it is; two of them compared, in words.

Desired shapes are of the ABI with the host's capacities, live ones of the kernel's maps and their
own BTF. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reconciler.abi.spec import MapSpec, Ownership, Record

UNKNOWN = "?"  # the name of the only column where the kernel has no layout that we understand
LEARNED = (Ownership.DATA_PLANE, Ownership.COLLECTED, Ownership.SHARED)  # by programs, not commits


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """One map. Columns are texts: a name and a type, such as "host be32 ipv4", "seen u16".

    `behind` is of live ones only: what the map before it learned last has yet to be carried over,
    because the upgrade was cut short.
    """

    name: str
    kind: str
    key: tuple[str, ...]
    value: tuple[str, ...]
    flags: int
    capacity: int
    behind: bool = False
    ownership: str = field(default="", compare=False)
    key_size: int = field(default=0, compare=False)
    value_size: int = field(default=0, compare=False)

    @classmethod
    def of(cls, spec: MapSpec, capacity: int, *, behind: bool = False) -> Shape:
        """The shape of a map of this layout."""
        return cls(
            spec.name,
            spec.kind.name.lower(),
            columns(spec.key),
            columns(spec.value),
            spec.flags,
            capacity,
            behind,
            spec.ownership,
            spec.key.dtype.itemsize,
            spec.value.dtype.itemsize,
        )


def columns(record: Record) -> tuple[str, ...]:
    """The columns of a layout in order, each with its type and meaning."""
    found = []
    for name in record.dtype.names or ():
        meaning = record.meaning.get(name, "")
        found.append(f"{name} {_type(record.dtype[name])} {meaning}".rstrip())
    return tuple(found)


def _type(dtype: np.dtype[Any]) -> str:
    base, count = dtype.base, dtype.shape
    order = "be" if base.byteorder == ">" else "u"
    return f"{order}{base.itemsize * 8}" + (f"[{count[0]}]" if count else "")


def differences(live: Shape, wanted: Shape) -> tuple[str, ...]:
    """What differs, each a clause: "value is 8 bytes in the kernel, 16 expected"."""
    found = []
    if live.kind != wanted.kind:
        found.append(f"type is {live.kind} in the kernel, {wanted.kind} expected")
    for what, got, expected, sizes in (
        ("key", live.key, wanted.key, (live.key_size, wanted.key_size)),
        ("value", live.value, wanted.value, (live.value_size, wanted.value_size)),
    ):
        if sizes[0] != sizes[1]:
            found.append(f"{what} is {sizes[0]} bytes in the kernel, {sizes[1]} expected")
        if got != expected:
            found.append(f"{what} {_columns_differ(got, expected)}")
    if live.flags != wanted.flags:
        found.append(f"flags are {live.flags:#x} in the kernel, {wanted.flags:#x} expected")
    if live.capacity != wanted.capacity:
        found.append(f"capacity is {live.capacity} in the kernel, {wanted.capacity} expected")
    if live.behind:
        found.append("what the map before it learned is yet to be carried over")
    return tuple(found)


def _columns_differ(live: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    if live and live[0].startswith(UNKNOWN):
        return "has no layout that is known here"
    had, has = _by_name(live), _by_name(wanted)
    parts = [f"gains {name} ({kind})" for name, kind in has.items() if name not in had]
    parts += [f"lacks {name} ({kind}) here" for name, kind in had.items() if name not in has]
    parts += [
        f"has {name} as {had[name]} in the kernel, {kind} expected"
        for name, kind in has.items()
        if had.get(name, kind) != kind
    ]
    return ", ".join(parts) or "has its columns in another order"


def losses(live: Shape, wanted: Shape | None) -> tuple[str, ...]:
    """What only the data plane knows and this release cannot take over; () for owned maps."""
    if live.ownership not in LEARNED:
        return ()
    if wanted is None:
        return ("this release has no such map",)
    if wanted.ownership not in LEARNED:
        return ()
    if not convertible(live.key, wanted.key):
        return ("its keys mean nothing to this release",)
    if live.kind != wanted.kind and "percpu" in live.kind + wanted.kind:
        return (f"{live.kind} cannot become {wanted.kind}",)
    had, has = _by_name(live.value), _by_name(wanted.value)
    found = [f"column {name} is not known here" for name in had if name not in has]
    found += [
        f"column {name} is {had[name]} there and {has[name]} here"
        for name in had
        if name in has and not _fits(had[name], has[name])
    ]
    if live.capacity > wanted.capacity:
        found.append(f"{live.capacity} rows are to become {wanted.capacity}")
    return tuple(found)


def convertible(live: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether every key of the one layout is a key of the other, and no two become one."""
    had, has = _by_name(live), _by_name(wanted)
    return had.keys() == has.keys() and all(_fits(had[name], has[name]) for name in had)


def _by_name(texts: tuple[str, ...]) -> dict[str, str]:
    return {name: kind for name, _, kind in (text.partition(" ") for text in texts)}


def _fits(old: str, new: str) -> bool:
    """Whether every value of one type is one of the other."""
    (old_bits, old_count, old_meaning), (new_bits, new_count, new_meaning) = map(_parts, (old, new))
    return old_meaning == new_meaning and old_bits <= new_bits and old_count <= new_count


def _parts(kind: str) -> tuple[int, int, str]:
    """Bits, how many, meaning of "be32[8] ipv4"."""
    scalar, _, meaning = kind.partition(" ")
    bits, _, count = scalar.removeprefix("be").removeprefix("u").partition("[")
    return int(bits or 0) if bits.isdigit() else 0, int(count.rstrip("]") or 1), meaning
