"""The maps of a host: one set shared by its programs, pinned, and adopted only if they fit the ABI.

Maps are created through a compiled object, so that the kernel has their BTF, and bpftool shows
their fields by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.abi.generated import MAPS
from reconciler.abi.spec import MapKind, MapSpec
from reconciler.datapath import libbpf
from reconciler.datapath.errors import HostError
from reconciler.datapath.libbpf import Fd, MapInfo, Object
from reconciler.datapath.pins import Pinned, Pins

Maps = dict[str, Fd]


class MapMismatchError(HostError):
    """Pinned maps are not what the ABI says; `differences` has every one, sorted."""

    def __init__(self, host: str, differences: Sequence[str]) -> None:
        self.differences = tuple(sorted(differences))
        remedy = (
            "another release pinned them; `reconciler host remove` takes them off the host, "
            "the next apply makes them anew (traffic stops meanwhile)"
        )
        lines = [f"host {host}: {each}" for each in self.differences]
        super().__init__("\n".join([*lines, f"host {host}: {remedy}"]))


def capacity(spec: MapSpec, chosen: Mapping[str, int]) -> int:
    """How many rows a map is to hold; `chosen` overrides the ABI by name."""
    return chosen.get(spec.name, spec.capacity)


def differences(info: MapInfo, spec: MapSpec, rows: int) -> list[str]:
    """What differs between a map in the kernel and what is expected, in words."""
    found = []
    if info.kind != spec.kind:
        found.append(f"type is {_kind(info.kind)} in the kernel, {_kind(spec.kind)} expected")
    for what, got, wanted in (
        ("key", info.key_size, spec.key.dtype.itemsize),
        ("value", info.value_size, spec.value.dtype.itemsize),
    ):
        if got != wanted:
            found.append(f"{what} is {got} bytes in the kernel, {wanted} expected")
    if info.flags != spec.flags:
        found.append(f"flags are {info.flags:#x} in the kernel, {spec.flags:#x} expected")
    if info.capacity != rows:
        found.append(f"capacity is {info.capacity} in the kernel, {rows} expected")
    return [f"map {spec.name}: {each}" for each in found]


def open_pinned(pins: Pins, host: str, chosen: Mapping[str, int]) -> Maps:
    """The maps that are pinned, all of them compared first; raises MapMismatchError."""
    found: Maps = {}
    wrong: list[str] = []
    for name, spec in MAPS.items():
        fd = pins.get(Pinned.MAP, name)
        if fd is not None:
            found[name] = fd
            wrong += differences(libbpf.map_info(fd), spec, capacity(spec, chosen))
    if wrong:
        close(found)
        raise MapMismatchError(host, wrong)
    return found


def create_missing(
    pins: Pins, maps: Maps, elfs: Iterable[bytes], chosen: Mapping[str, int]
) -> None:
    """Create and pin the maps of the ABI that `maps` lacks, as the objects `elfs` describe them."""
    for elf in elfs:
        if len(maps) < len(MAPS):
            _create_missing(pins, maps, elf, chosen)


def _create_missing(pins: Pins, maps: Maps, elf: bytes, chosen: Mapping[str, int]) -> None:
    with Object(elf, "maps") as described:
        missing = [name for name in described.maps() if name in MAPS and name not in maps]
        for program in described.programs():
            described.set_autoload(program, False)
        for name in described.maps():
            if name in maps:
                described.reuse_map(name, maps[name])
            elif name in MAPS:
                described.set_max_entries(name, capacity(MAPS[name], chosen))
        described.load()
        for name in missing:
            fd = described.map_fd(name)
            pins.put(Pinned.MAP, name, fd)
            maps[name] = fd


def close(maps: Maps) -> None:
    """Close every descriptor."""
    for fd in maps.values():
        fd.close()
    maps.clear()


def _kind(number: int) -> str:
    known = {int(each): each.name.lower() for each in MapKind}
    return known.get(number, f"map type {number}")
