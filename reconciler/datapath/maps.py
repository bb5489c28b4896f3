"""The maps of a host: one set shared by its programs, pinned, each read as its own BTF lays it out.

Maps are created through a compiled object, so that the kernel has their BTF. That is how a release
reads what another one pinned, and bpftool shows fields by name.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from reconciler.abi.btf import LayoutError, Reader
from reconciler.abi.convert import convert
from reconciler.abi.generated import ABI, MAPS
from reconciler.abi.shape import UNKNOWN, Shape, columns, convertible
from reconciler.abi.spec import MapKind, MapSpec
from reconciler.abi.table import Rows, Table
from reconciler.compile.check import fill_check
from reconciler.datapath import libbpf
from reconciler.datapath.libbpf import BpfError, Fd, MapInfo, Object
from reconciler.datapath.pins import Noted, Pinned, Pins

LAYOUT = "layout"  # the note of a set that says which ABI its maps have


@dataclass(frozen=True, slots=True)
class Layout:
    """How a map in the kernel is laid out: `spec` with its own capacity, None if we cannot tell.

    `today`: as this release would, whatever the capacity.
    """

    spec: MapSpec | None
    shape: Shape
    today: bool


@dataclass(frozen=True, slots=True)
class OpenMap:
    """A map that is there."""

    name: str
    fd: Fd
    info: MapInfo
    layout: Layout

    @property
    def spec(self) -> MapSpec | None:
        """Its own layout and capacity; None if we cannot tell."""
        return self.layout.spec

    @property
    def shape(self) -> Shape:
        """To be compared with what is wanted."""
        return self.layout.shape

    @property
    def today(self) -> bool:
        """Whether it is laid out as this release would, whatever its capacity."""
        return self.layout.today


Maps = dict[str, OpenMap]


class Layouts:
    """Layouts by the BTF that maps were made with; each is read and understood once.

    The kernel shows BTF to CAP_SYS_ADMIN alone. Without it, a map is laid out as today's where its
    set is noted to be of today's ABI, and nobody can tell otherwise.
    """

    def __init__(self) -> None:
        self._readers: dict[int, Reader | None] = {}
        self._layouts: dict[tuple[str, MapInfo, str], Layout] = {}

    def open(self, name: str, fd: Fd, abi: str) -> OpenMap:
        """A map as it is; the descriptor is the result's from now on. `abi`: see release()."""
        info = libbpf.map_info(fd)
        kind = name, replace(info, id=0), abi
        if kind not in self._layouts:
            self._layouts[kind] = self._layout(name, info, abi)
        return OpenMap(name, fd, info, self._layouts[kind])

    def _layout(self, name: str, info: MapInfo, abi: str) -> Layout:
        try:
            reader = self._reader(info.btf_id)
            spec = reader.map(name) if reader is not None else None
        except BpfError as error:
            if error.errno != errno.EPERM:
                raise
            spec = MAPS.get(name) if abi == ABI else None
        if spec is not None:
            spec = replace(spec, capacity=info.capacity, flags=info.flags)
            sizes = spec.key.dtype.itemsize, spec.value.dtype.itemsize
            if (spec.kind, *sizes) != (info.kind, info.key_size, info.value_size):
                spec = None
        shape = _unknown(name, info) if spec is None else Shape.of(spec, info.capacity)
        today = name in MAPS and shape == Shape.of(MAPS[name], info.capacity)
        return Layout(spec, shape, today)

    def _reader(self, number: int) -> Reader | None:
        if number not in self._readers:
            try:
                self._readers[number] = Reader.of_btf(libbpf.btf(number)) if number else None
            except LayoutError:  # not as clang writes it today
                self._readers[number] = None
        return self._readers[number]


def _unknown(name: str, info: MapInfo) -> Shape:
    """Of a map whose columns nobody can tell."""
    kinds = {int(each): each.name.lower() for each in MapKind}
    return Shape(
        name,
        kinds.get(info.kind, f"map type {info.kind}"),
        (f"{UNKNOWN} {info.key_size} bytes",),
        (f"{UNKNOWN} {info.value_size} bytes",),
        info.flags,
        info.capacity,
        ownership=MAPS[name].ownership if name in MAPS else "",
        key_size=info.key_size,
        value_size=info.value_size,
    )


def capacity(spec: MapSpec, chosen: Mapping[str, int]) -> int:
    """How many rows a map is to hold; `chosen` overrides the ABI by name."""
    return chosen.get(spec.name, spec.capacity)


def wanted(chosen: Mapping[str, int]) -> tuple[Shape, ...]:
    """The shape of every map of this release, sorted."""
    return tuple(Shape.of(spec, capacity(spec, chosen)) for _, spec in sorted(MAPS.items()))


def release(pins: Pins) -> str:
    """The ABI that a set was made with, '' if that is not noted."""
    return str((pins.read_note(Noted.SET, LAYOUT) or {}).get("abi", ""))


def open_pinned(pins: Pins, layouts: Layouts, kind: Pinned = Pinned.MAP) -> Maps:
    """Every map of a set."""
    found: Maps = {}
    abi = release(pins)
    for name in pins.names(kind):
        fd = pins.get(kind, name)
        if fd is not None:
            found[name] = layouts.open(name, fd, abi)
    return found


def create(elfs: Iterable[bytes], kept: Maps, layouts: Layouts, chosen: Mapping[str, int]) -> Maps:
    """The maps of the ABI that `kept` lacks, new and empty, as the objects `elfs` describe them."""
    made: Maps = {}
    for elf in elfs:
        with Object(elf, "maps") as described:
            names = [name for name in described.maps() if name in MAPS]
            for program in described.programs():
                described.set_autoload(program, False)
            for name in described.maps():
                if name in kept or name in made:
                    described.reuse_map(name, (kept.get(name) or made[name]).fd)
                elif name in MAPS:
                    described.set_max_entries(name, capacity(MAPS[name], chosen))
            described.load()
            for name in names:
                if name not in kept and name not in made:
                    made[name] = layouts.open(name, described.map_fd(name), ABI)
    return made


def converted(spec: MapSpec | None, keys: Rows, values: Rows, new: MapSpec) -> tuple[Rows, Rows]:
    """Rows laid out as `spec` in the layout of `new`; those that do not fit are left out."""
    if spec is None or not convertible(columns(spec.key), columns(new.key)):
        return np.zeros(0, new.key.dtype), np.zeros(0, new.value.dtype)
    if spec.key.dtype == new.key.dtype and spec.value.dtype == new.value.dtype:
        return keys, values
    (keys, good), (values, fit) = convert(keys, new.key), convert(values, new.value)
    good &= fit
    return keys[good], values[good]


def converted_table(table: Table, new: MapSpec) -> Table:
    """A live table in another layout, its checks right; columns that are new are zero."""
    keys, values = converted(table.spec, table.keys, table.values, new)
    if "check" in new.value.facts:
        values = fill_check(keys, values)
    return Table.make(new, keys, values)


def close(maps: Maps) -> None:
    """Close every descriptor."""
    for each in maps.values():
        each.fd.close()
    maps.clear()


def descriptors(maps: Maps) -> dict[str, Fd]:
    """For programs to be loaded on."""
    return {name: each.fd for name, each in maps.items()}


def alike(maps: Maps, chosen: Mapping[str, int]) -> Iterator[str]:
    """Names of maps that can be taken over as they are."""
    for each in wanted(chosen):
        if each.name in maps and maps[each.name].shape == each:
            yield each.name
