"""Rows are replaced, deleted and made again on one processor while a program reads them on another:
every frame that leaves was made of one version of its own row.

A host's address, 100.I.ROW.VERSION, and its next hop's MAC, 02:bb:00:00:ROW:VERSION, are of two
words of a row; stress.bpf.c compares them in each frame, and with the row that it asked for.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS, Reason, Stage
from reconciler.abi.table import Rows, zeros
from reconciler.compile.check import fill_check
from reconciler.datapath import elements, libbpf, tables
from tests.bpf.built import altered, built
from tests.bpf.frames import BLUE, ME, MY_MAC, OTHER, WEB, B, datagram, tunnel
from tests.bpf.harness import INTERFACE, SELF, Bench, World, Xdp, address, clock, on_processor

pytestmark = pytest.mark.xdp("stress.bpf.c calls them; those of tc read rows in the same way")
ROWS, VERSIONS = 32, 256
CHUNK = 200_000  # frames a system call
HEADER = 160  # bytes of a frame that are given anew each time
MORE = bytes(HEADER)
SEEN = np.dtype([("sent", "<u8"), ("torn", "<u8"), ("foreign", "<u8"), ("example", "u1", 160)])
CHECK = "if ((__u32)((sum + rest) >> 32) == *(half_t *)copy)"
BELIEVE = (CHECK, CHECK[:-1] + " || row)")
COPY = "\t\trow_copy(copy, row, size);\n"
WAIT = (COPY, "\t\tfor (int i = 0; i < 8; i++)\n\t\t\tbpf_ktime_get_ns();\n" + COPY)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of the frames that left."""

    sent: int
    torn: int
    foreign: int
    dropped: int  # DROP_TORN
    example: str = field(repr=False)


class Rig:
    """A host whose programs read rows that somebody writes."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.bench = world, world.bench
        self.object = built("stress", folder)
        for uplink in range(4):
            world.uplink(uplink, ifindex=INTERFACE + 2, hardware=f"02:aa:00:00:00:{uplink:02x}")
        world.interface(BLUE, WEB)

    def every_next_hop(self) -> None:
        """Those of every row and version, on the first uplink."""
        keys, values = zeros(MAPS["next_hops"].key, ROWS * VERSIONS), hops(ROWS * VERSIONS)
        keys["index"] = np.arange(len(keys))
        values["mac"][:, 0], values["mac"][:, 1] = 0x02, 0xBB
        values["mac"][:, 4], values["mac"][:, 5] = keys["index"] >> 8, keys["index"] & 255
        tables.write_rows(self.bench.maps["next_hops"], MAPS["next_hops"], keys, values)

    def no_next_hop(self) -> None:
        """None, as other tests of the same maps expect."""
        keys, values = zeros(MAPS["next_hops"].key, ROWS * VERSIONS), hops(ROWS * VERSIONS)
        keys["index"] = np.arange(len(keys))
        tables.write_rows(self.bench.maps["next_hops"], MAPS["next_hops"], keys, values)

    def run(
        self, program: str, frames: list[bytes], write: Callable[[], None], chunks: int,
        of_next_hops: bool = False,
    ) -> Seen:  # fmt: skip
        """Read `chunks` times CHUNK rows while `write` is called again and again."""
        before = self.bench.reasons()
        with libbpf.Object.open(self.object) as opened:
            opened.set_initial_value(".rodata", of_next_hops.to_bytes(4, "little"))
            opened.load()
            stress, target = opened.program_fd("stress"), opened.map_fd("target")
            originals, seen = opened.map_fd("originals"), opened.map_fd("seen")
        for row, frame in enumerate(frames):
            value = len(frame).to_bytes(8, "little") + frame[:HEADER]
            elements.update(originals, row.to_bytes(4, "little"), value)
        elements.update(
            target, bytes(4), self.bench.programs[program].fileno().to_bytes(4, "little")
        )
        reader, writer = sorted(os.sched_getaffinity(0))[:2]
        with on_processor(reader), repeated(write, writer):
            for _ in range(chunks):
                verdict, _, _ = libbpf.test_run(stress, frames[0], repeat=CHUNK)
                assert verdict != Xdp.ABORTED
        raw = elements.lookup(seen, bytes(4), SEEN.itemsize)
        assert raw is not None
        found = np.frombuffer(raw, SEEN)[0]
        dropped = int((self.bench.reasons() - before)[Reason.DROP_TORN])
        counted = (int(found[name]) for name in ("sent", "torn", "foreign"))
        return Seen(*counted, dropped, found["example"].tobytes().hex())


@contextmanager
def repeated(work: Callable[[], None], processor: int) -> Iterator[None]:
    """Another thread does it, over and over, on another processor; once before anything else."""
    begun, stop = threading.Event(), threading.Event()
    rounds = 0

    def go() -> None:
        nonlocal rounds
        with on_processor(processor):
            while not stop.is_set():
                work()
                rounds += 1
                begun.set()

    thread = threading.Thread(target=go)
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        stop.set()
        thread.join()
    assert rounds > 1, "nobody wrote"


def hops(count: int) -> Rows:
    return zeros(MAPS["next_hops"].value, count)


def row_and_version() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Every version of every row, the rows in turn."""
    number = np.arange(ROWS * VERSIONS, dtype=np.uint32)
    return number % ROWS, number // ROWS


def hosts_of(row: NDArray[np.uint32], version: NDArray[np.uint32], at: int = 0) -> Rows:
    """Their addresses; `at` tells the members of a set apart."""
    found: Rows = (100 << 24) | (at << 16) | (row << 8) | version
    return found


def endpoint_rows() -> tuple[Rows, Rows]:
    """Remote endpoints 10.0.1.ROW."""
    row, version = row_and_version()
    spec = MAPS["endpoints"]
    keys, values = zeros(spec.key, len(row)), zeros(spec.value, len(row))
    keys["vni"], keys["address"] = BLUE, address("10.0.1.0")
    keys["address"][:, 15] = row
    values["host"], values["host_slot"] = hosts_of(row, version), row << 8 | version
    return keys, fill_check(keys, values)


def set_rows(name: str, **key: int) -> tuple[Rows, Rows]:
    """Sets of eight hosts; the key's last column is the row."""
    row, version = row_and_version()
    spec = MAPS[name]
    keys, values = zeros(spec.key, len(row)), zeros(spec.value, len(row))
    for column in spec.key.dtype.names or ():
        keys[column] = key.get(column, row)
    values["count"] = 8
    for at in range(8):
        values["host"][:, at] = hosts_of(row, version, at)
        values["host_slot"][:, at] = row << 8 | version
    return keys, fill_check(keys, values)


def path_rows() -> tuple[Rows, Rows]:
    """Direct paths to 10.0.1.ROW."""
    keys, endpoints = endpoint_rows()
    values = zeros(MAPS["paths"].value, len(keys))
    for column in ("host", "host_slot"):
        values[column] = endpoints[column]
    values["seen"] = clock() & 0xFFFF
    return keys, values


def writer(fd: libbpf.Fd, keys: Rows, values: Rows) -> Callable[[], None]:
    """Every version of every row; then half of the rows are taken away and made again."""
    half = np.ascontiguousarray(keys[: ROWS // 2])
    first = np.ascontiguousarray(values[: ROWS // 2])

    def write() -> None:
        assert elements.update_batch(fd, keys, values) == (len(keys), 0)
        for _ in range(16):
            assert elements.delete_batch(fd, half) == (len(half), 0)
            assert elements.update_batch(fd, half, first) == (len(half), 0)

    return write


Case = tuple[str, str, list[bytes], tuple[Rows, Rows]]


def case(rig: Rig, name: str) -> Case:
    """What is written, who reads it, for which frames."""
    world = rig.world
    rig.every_next_hop()
    match name:
        case "bouncers":
            for row in range(ROWS):
                world.local(BLUE, f"10.0.0.{row}", MY_MAC, network=row)
            frames = [datagram(f"10.0.0.{row}", OTHER) / MORE for row in range(ROWS)]
            return name, "access", [bytes(f) for f in frames], set_rows(name, vni=BLUE)
        case "dividers":
            inner = datagram(ME, OTHER) / MORE
            relayed = [tunnel(inner, Stage.BOUNCER, vni=row, sender=B) for row in range(ROWS)]
            return name, "transit", [bytes(f) for f in relayed], set_rows(name)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    frames = [datagram(ME, f"10.0.1.{row}") / MORE for row in range(ROWS)]
    rows = endpoint_rows() if name == "endpoints" else path_rows()
    return name, "access", [bytes(f) for f in frames], rows


def stress(rig: Rig, name: str, chunks: int) -> Seen:
    table, program, frames, rows = case(rig, name)
    seen = rig.run(program, frames, writer(rig.bench.maps[table], *rows), chunks)
    elements.delete_batch(rig.bench.maps[table], np.ascontiguousarray(rows[0][:ROWS]))
    print(f"\n{name}: {seen}")
    return seen


@pytest.fixture
def rig(world: World, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(world, tmp_path)
    yield made
    made.no_next_hop()


@pytest.fixture(scope="module")
def hesitant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The same programs, which wait a little between finding a row and copying it."""
    loaded = Bench(objects=altered(tmp_path_factory.mktemp("hesitant"), "row.h", WAIT))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Those, believing whatever they read."""
    loaded = Bench(objects=altered(tmp_path_factory.mktemp("careless"), "row.h", WAIT, BELIEVE))
    yield loaded
    loaded.close()


CHECKED = pytest.mark.parametrize("name", ["endpoints", "bouncers", "dividers"])


@CHECKED
def test_no_frame_is_made_of_two_versions_or_of_another_row(rig: Rig, name: str) -> None:
    right(stress(rig, name, 5))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@CHECKED
def test_nor_in_twenty_million(rig: Rig, name: str) -> None:
    right(stress(rig, name, 100))


@pytest.mark.slow
@CHECKED
def test_nor_if_there_is_time_for_a_row_to_change_under_its_reader(
    hesitant: Bench, tmp_path: Path, name: str
) -> None:
    with alone(hesitant) as world:
        right(stress(Rig(world, tmp_path), name, 5))


def test_without_the_check_such_frames_are_seen(careless: Bench, tmp_path: Path) -> None:
    """So the tests above can fail."""
    with alone(careless) as world:
        for _ in range(20):  # the first is enough, unless the machine has no second processor free
            seen = stress(Rig(world, tmp_path), "endpoints", 5)
            if seen.torn + seen.foreign:
                break
    assert seen.torn + seen.foreign > 0
    assert seen.dropped == 0


def right(seen: Seen) -> None:
    """Every frame that left was; few did not for being read twice in vain."""
    assert (seen.torn, seen.foreign) == (0, 0), seen.example
    assert seen.sent > CHUNK / 2
    assert seen.dropped < seen.sent / 1000


@contextmanager
def alone(bench: Bench) -> Iterator[World]:
    """A world of other programs."""
    world = World(bench)
    try:
        yield world.uplink().host(SELF).host(B)
    finally:
        world.clear()


def test_no_frame_has_half_of_a_next_hop(rig: Rig) -> None:
    """An array's row is overwritten in place; its eight bytes are written and read at once."""
    row, version = row_and_version()
    keys, values = zeros(MAPS["next_hops"].key, len(row)), hops(len(row))
    keys["index"] = row
    values["mac"], values["uplink"] = version[:, np.newaxis], version & 3
    values["mac"][:, 0] = 0x02
    rig.world.local(BLUE, ME, MY_MAC, network=WEB)
    for each in range(ROWS):
        rig.world.remote(BLUE, f"10.0.1.{each}", B, host_slot=each)
    frames = [bytes(datagram(ME, f"10.0.1.{each}") / MORE) for each in range(ROWS)]
    fd = rig.bench.maps["next_hops"]

    def write() -> None:
        assert tables.write_rows(fd, MAPS["next_hops"], keys, values) == len(keys)

    seen = rig.run("access", frames, write, 5, of_next_hops=True)
    assert (seen.torn, seen.dropped) == (0, 0), seen.example
    assert seen.sent > CHUNK
