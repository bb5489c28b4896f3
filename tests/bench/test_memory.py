"""Kernel memory of a host: before its first endpoint, and for each further one."""

from __future__ import annotations

import ctypes as ct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reconciler.abi.generated import MAPS, EndpointFlag
from reconciler.abi.table import Table, join
from reconciler.compile.check import fill_check
from reconciler.compile.state import HostState
from reconciler.datapath import bindings, libbpf
from reconciler.datapath.libbpf import Fd
from reconciler.datapath.pins import Pinned
from reconciler.plan.plan import make_plan
from tests.bench.figures import Report
from tests.datapath.place import Place, entered
from tests.datapath.worlds import UNLIMITED, KernelWorld

ENDPOINTS = 10_000
MIZAR_NODE, MIZAR_ENDPOINT, MIZAR_MS = 521, 2.8 * 1024, 12  # MiB, KiB: measured on kernel 6.18
MIB, PAGE = 1 << 20, 4096


@pytest.fixture
def world() -> Iterator[KernelWorld]:
    """A host with maps of the sizes that a real one has."""
    place = Place()
    try:
        with entered(place.netns("host")):
            made = KernelWorld(place)
            made.config = replace(made.config, capacities={})
            made.restart()
            yield made
    finally:
        place.clear()


def charged(fd: Fd) -> int:
    """Bytes that the kernel says a map or a program takes."""
    lines = Path(f"/proc/self/fdinfo/{fd.fileno()}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("memlock:"))


def machine_code(program: Fd) -> int:
    """Bytes of a program as the processor runs it, which `memlock` leaves out; in whole pages."""
    info, size = bindings.ProgramInfo(), ct.c_uint32(ct.sizeof(bindings.ProgramInfo))
    assert bindings.obj_info(program.fileno(), ct.byref(info), ct.byref(size)) == 0
    return -(-int(info.jited_prog_len) // PAGE) * PAGE


def programs_of(place: Place) -> dict[int, int]:
    """Bytes of every program of the host, by id: pinned ones, and those that links hold."""
    found: dict[int, int] = {}
    for kind in (Pinned.PROGRAM, Pinned.LINK, Pinned.TRACEPOINT):
        for name in place.pins.names(kind):
            with libbpf.get(place.pins.path(kind, name)) as fd:
                linked = kind is not Pinned.PROGRAM
                number = libbpf.link_info(fd).program_id if linked else libbpf.program_info(fd).id
            with libbpf.program_by_id(number) as program:
                found[number] = charged(program) + machine_code(program)
    return found


def maps_of(place: Place) -> dict[str, int]:
    """Bytes of every map of the host, by name: pinned ones, and its programs' own."""
    numbers = set()
    for number in programs_of(place):
        with libbpf.program_by_id(number) as program:
            numbers.update(libbpf.program_info(program).map_ids)
    for name in place.pins.names(Pinned.MAP):
        with libbpf.get(place.pins.path(Pinned.MAP, name)) as fd:
            numbers.add(libbpf.map_info(fd).id)
    found: dict[str, int] = {}
    for number in numbers:
        with libbpf.map_by_id(number) as fd:
            name = libbpf.map_info(fd).name
            found[name] = found.get(name, 0) + charged(fd)
    return found


def with_endpoints(state: HostState, count: int) -> HostState:
    """The state with as many local endpoints more, of two addresses and an interface each."""
    spec, rank = MAPS["endpoints"], np.arange(count, dtype=np.uint32)
    keys, values = np.zeros(2 * count, spec.key.dtype), np.zeros(2 * count, spec.value.dtype)
    keys["vni"] = 7
    address = keys["address"]
    address[:count, 10:12] = 0xFF  # IPv4 is mapped
    address[count:, :4] = (0x20, 0x01, 0x0D, 0xB8)
    address[:, 12:16] = np.tile(rank + (10 << 24), 2).astype(">u4").view(np.uint8).reshape(-1, 4)
    values["flags"] = EndpointFlag.LOCAL
    values["ifindex"] = np.tile(rank + 1000, 2)
    values["counter"] = np.tile(rank + 1, 2)
    values["network"] = 1
    fill_check(keys, values)
    ports = MAPS["interfaces"]
    own_keys, own = np.zeros(count, ports.key.dtype), np.zeros(count, ports.value.dtype)
    own_keys["ifindex"], own["vni"], own["network"] = rank + 1000, 7, 1
    more = {"endpoints": (keys, values), "interfaces": (own_keys, own)}
    tables = {}
    for name, (new_keys, new_values) in more.items():
        before = state.tables[name]
        joined = join(before.spec.key, [before.keys, new_keys])
        tables[name] = Table.make(
            before.spec, joined, join(before.spec.value, [before.values, new_values])
        )
    return state.with_tables(tables)


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_kernel_memory_of_a_host(report: Report, world: KernelWorld) -> None:
    world.settle(world.wanted())
    maps, programs = maps_of(world.place), programs_of(world.place)
    largest = sorted(maps, key=lambda name: -maps[name])[:4]
    note = ", ".join(f"{name} {maps[name] / MIB:.1f}" for name in largest)
    report.add(
        "kernel memory of a host before its first endpoint",
        (sum(maps.values()) + sum(programs.values())) / MIB,
        "MiB",
        reference=MIZAR_NODE,
        at_most=64,
        absolute=True,
        note=f"{len(maps)} maps, {len(programs)} programs, {libbpf.possible_cpus()} CPUs: {note}; "
        "reference: Mizar, maps only",
    )
    live = world.datapath.read()
    plan = make_plan(with_endpoints(live, ENDPOINTS), live, limits=UNLIMITED)
    begin = time.perf_counter()
    assert world.datapath.apply(plan).done
    taken = time.perf_counter() - begin
    assert len(world.datapath.read().tables["interfaces"]) == ENDPOINTS
    assert programs_of(world.place) == programs
    after = maps_of(world.place)
    report.add(
        "kernel memory of a further endpoint, maps only",
        (sum(after.values()) - sum(maps.values())) / 1024 / ENDPOINTS,
        "KiB",
        reference=MIZAR_ENDPOINT,
        at_most=1,
        absolute=True,
        note=f"of {ENDPOINTS:,} on their host, two addresses each; no program was loaded; "
        "reference: Mizar, with programs",
    )
    report.add(
        "rows of a further endpoint written",
        taken * 1000 / ENDPOINTS,
        "ms",
        reference=MIZAR_MS,
        note="in one apply, read back; reference: Mizar's program load",
    )
