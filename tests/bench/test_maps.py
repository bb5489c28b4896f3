"""Rows of a million-row map: read and compare, diff, write, against a C loop over the same map."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reconciler.abi.digest import Known
from reconciler.abi.generated import MAPS
from reconciler.abi.merge import diff_tables
from reconciler.abi.spec import MapSpec
from reconciler.abi.table import Rows, Table
from reconciler.datapath import libbpf, tables
from tests.bench.figures import QUICK, Report, paired

ROWS = 100_000 if QUICK else 1_000_000
CAPACITY = 1 << 20
SPEC = MAPS["endpoints"]
pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]


def make_rows(spec: MapSpec, count: int) -> tuple[Rows, Rows]:
    """Distinct random keys and random values, in a random order."""
    random = np.random.default_rng(1)
    keys, values = np.zeros(count, spec.key.dtype), np.zeros(count, spec.value.dtype)
    keys["vni"] = random.integers(1, 1000, count)
    keys["address"][:, 10:12] = 0xFF
    numbers = random.permutation(count).astype(">u4")
    keys["address"][:, 12:] = numbers.view(np.uint8).reshape(count, 4)
    size = spec.value.dtype.itemsize
    filling = random.integers(0, 256, (count, size), np.uint8)
    values[:] = filling.view(spec.value.dtype).reshape(count)
    return keys, values


@pytest.fixture
def pinned(tmp_path: Path) -> Iterator[tuple[libbpf.Fd, Path]]:
    """A map with the endpoints' layout, pinned for the C program."""
    folder = Path("/sys/fs/bpf") / f"bench-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        with libbpf.create_map(SPEC, CAPACITY) as fd:
            libbpf.pin(fd, folder / "map")
            yield fd, folder / "map"
    finally:
        (folder / "map").unlink(missing_ok=True)
        folder.rmdir()


def c_loop(reference: Path, verb: str, pin: Path, *more: object) -> float:
    """Seconds that the C program took."""
    sizes = [SPEC.key.dtype.itemsize, SPEC.value.dtype.itemsize]
    command = [str(each) for each in (reference, verb, pin, *sizes, *more)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[0]) / 1e9


def test_reading_and_writing_a_large_map(
    report: Report, reference: Path, pinned: tuple[libbpf.Fd, Path], tmp_path: Path
) -> None:
    fd, pin = pinned
    keys, values = make_rows(SPEC, ROWS)
    (tmp_path / "rows").write_bytes(keys.tobytes() + values.tobytes())

    def emptied() -> None:
        tables.delete_rows(fd, SPEC, keys)

    def c_write() -> float:
        took = c_loop(reference, "write", pin, tmp_path / "rows", ROWS)
        emptied()
        return took

    wrote: list[float] = []
    referred: list[float] = []
    for _ in range(3):
        ours, theirs = paired(lambda: tables.write_rows(fd, SPEC, keys, values), c_write, 1)
        wrote.append(ours)
        referred.append(theirs)
        if len(wrote) < 3:
            emptied()
    per_row = 1e9 / ROWS
    report.add(
        f"3 write {ROWS:,} rows into an empty map",
        float(np.median(wrote)) * per_row, "ns a row",
        reference=float(np.median(referred)) * per_row, at_most=1.2,
    )  # fmt: skip
    desired = Table.make(SPEC, keys, values)
    assert tables.read_table(fd, SPEC, CAPACITY) == desired


def test_reading_a_large_map_and_comparing_it(
    report: Report, reference: Path, pinned: tuple[libbpf.Fd, Path]
) -> None:
    fd, pin = pinned
    keys, values = make_rows(SPEC, ROWS)
    tables.write_rows(fd, SPEC, keys, values)
    desired = Table.make(SPEC, keys, values)
    known = Known.of(desired)
    per_row = 1e9 / ROWS

    def check() -> None:
        table = tables.read_table(fd, SPEC, CAPACITY, known=known)
        assert diff_tables(desired, table) is None

    ours, theirs = paired(check, lambda: c_loop(reference, "read", pin), 5)
    report.add(
        f"1 drift check of {ROWS:,} rows, nothing differs",
        ours * per_row, "ns a row", reference=theirs * per_row, at_most=1.4,
    )  # fmt: skip
    changed = np.random.default_rng(2).choice(ROWS, 1000, replace=False)
    damaged = values[changed]
    damaged["identity"] ^= 1
    tables.write_rows(fd, SPEC, keys[changed], damaged)

    def find() -> None:
        table = tables.read_table(fd, SPEC, CAPACITY, known=known)
        found = diff_tables(desired, table)
        assert found is not None
        assert len(found.updates) == len(changed)
        assert not len(found.creates) + len(found.deletes)

    ours, theirs = paired(find, lambda: c_loop(reference, "read", pin), 5)
    report.add(
        f"2 full diff of {ROWS:,} rows, 1,000 differ",
        ours * per_row, "ns a row", reference=theirs * per_row, at_most=2.2,
    )  # fmt: skip
    found = diff_tables(desired, tables.read_table(fd, SPEC, CAPACITY, known=known))
    assert found is not None
    wanted = desired.take(found.updates)
    written = tables.write_rows(fd, SPEC, wanted.keys, wanted.values)
    report.add(
        f"3 rows written to repair 1,000 of {ROWS:,}", written, "rows",
        at_most=1000, at_least=1000, absolute=True,
    )  # fmt: skip
    assert tables.read_table(fd, SPEC, CAPACITY, known=known) is desired
