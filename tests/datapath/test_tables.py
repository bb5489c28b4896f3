import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from reconciler.abi.digest import Known
from reconciler.abi.generated import MAPS
from reconciler.abi.spec import MapSpec, Ownership
from reconciler.abi.table import Rows, Table, raw
from reconciler.datapath import elements, libbpf, tables
from reconciler.datapath.libbpf import Fd

NETWORKS, HOSTS, NEXT_HOPS = MAPS["networks"], MAPS["hosts"], MAPS["next_hops"]


def rows_of(spec: MapSpec, count: int, seed: int = 1) -> tuple[Rows, Rows]:
    """Distinct keys that fit the map, and values none of which is zero."""
    random = np.random.default_rng(seed)
    keys, values = np.zeros(count, spec.key.dtype), np.zeros(count, spec.value.dtype)
    if spec is NETWORKS:
        keys["prefix_length"] = 32 + 96 + 24
        keys["vni"] = 7
        keys["address"][:, 10:12] = 0xFF
        numbers = np.arange(count)
        keys["address"][:, 12] = numbers >> 16
        keys["address"][:, 13] = numbers >> 8 & 255
        keys["address"][:, 14] = numbers & 255
    else:
        keys[keys.dtype.names[0]] = np.arange(count)
    raw = values.view(np.uint8).reshape(count, spec.value.dtype.itemsize)
    raw[:] = random.integers(1, 255, raw.shape)
    return keys, values


def numbers_of(keys: Rows) -> NDArray[np.intp]:
    """The number that rows_of gave a network."""
    return keys["address"][:, 13].astype(np.intp) * 256 + keys["address"][:, 14]


@contextmanager
def made(spec: MapSpec, capacity: int) -> Iterator[Fd]:
    with libbpf.create_map(spec, capacity) as fd:
        yield fd


@pytest.mark.parametrize("name", ["bouncers", "endpoints", "hosts", "networks", "next_hops"])
@pytest.mark.parametrize("count", [0, 1, 999, 1000])
def test_what_was_written_is_read_back_sorted(name: str, count: int) -> None:
    spec = MAPS[name]
    keys, values = rows_of(spec, count)
    order = np.random.default_rng(2).permutation(count)
    with made(spec, 1000) as fd:
        assert tables.write_rows(fd, spec, keys[order], values[order]) == count
        assert tables.read_table(fd, spec, 1000) == Table.make(spec, keys, values)


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
@pytest.mark.parametrize("spec", [HOSTS, NETWORKS, NEXT_HOPS], ids=lambda spec: spec.name)
def test_a_bucket_that_does_not_fit_the_batch_makes_it_grow(spec: MapSpec, batch: int) -> None:
    keys, values = rows_of(spec, 500)
    with made(spec, 512) as fd:
        tables.write_rows(fd, spec, keys, values)
        assert tables.read_table(fd, spec, 512, batch=batch) == Table.make(spec, keys, values)


def test_more_rows_than_the_expected_capacity_are_not_taken_for_all() -> None:
    keys, values = rows_of(HOSTS, 100)
    with made(HOSTS, 200) as fd:
        tables.write_rows(fd, HOSTS, keys, values)
        with pytest.raises(tables.DisturbedError, match="more rows than it can hold"):
            tables.read_table(fd, HOSTS, 50, pause=lambda _: None)


def test_deleting_what_is_gone_is_success() -> None:
    keys, values = rows_of(HOSTS, 10)
    with made(HOSTS, 16) as fd:
        tables.write_rows(fd, HOSTS, keys, values)
        assert tables.delete_rows(fd, HOSTS, keys[2:5]) == 3
        assert tables.delete_rows(fd, HOSTS, keys) == 10
        assert len(tables.read_table(fd, HOSTS, 16)) == 0


def test_a_deleted_array_row_is_zero() -> None:
    keys, values = rows_of(NEXT_HOPS, 10)
    with made(NEXT_HOPS, 16) as fd:
        tables.write_rows(fd, NEXT_HOPS, keys, values)
        assert tables.delete_rows(fd, NEXT_HOPS, keys[3:4]) == 1
        left = np.arange(10) != 3
        assert tables.read_table(fd, NEXT_HOPS, 16) == Table.make(
            NEXT_HOPS, keys[left], values[left]
        )


def test_values_of_arrays_are_written_in_one_store() -> None:
    """Programs read them meanwhile, and no check of theirs tells half of one."""
    arrays = [each for each in MAPS.values() if each.dense and each.ownership is Ownership.OWNED]
    assert len(arrays) == 3
    assert all(each.words for each in arrays)


@pytest.mark.parametrize("spec", [HOSTS, NETWORKS, NEXT_HOPS], ids=lambda spec: spec.name)
def test_a_write_that_stops_half_way_says_how_much_was_written(spec: MapSpec) -> None:
    keys, values = rows_of(spec, 20)
    with made(spec, 8) as fd:
        with pytest.raises(tables.WriteError) as stopped:
            tables.write_rows(fd, spec, keys, values)
        assert stopped.value.written == 8
        assert stopped.value.errno in (errno.E2BIG, errno.ENOSPC)
        assert tables.read_table(fd, spec, 8) == Table.make(spec, keys[:8], values[:8])


def test_chosen_rows_are_read_back_and_missing_ones_are_known() -> None:
    keys, values = rows_of(HOSTS, 10)
    with made(HOSTS, 16) as fd:
        tables.write_rows(fd, HOSTS, keys[::2], values[::2])
        found, present = tables.read_rows(fd, HOSTS, keys)
    assert present.tolist() == [True, False] * 5
    assert found[::2].tobytes() == values[::2].tobytes()


def test_counters_are_summed_over_the_cpus() -> None:
    spec = MAPS["reasons"]
    cpus = libbpf.possible_cpus()
    with libbpf.create_map(spec) as fd:
        each = np.zeros(cpus, spec.value.dtype)
        each["packets"], each["bytes"] = np.arange(cpus) + 1, 100
        elements.update(fd, (3).to_bytes(4, "little"), each.tobytes())
        sums = tables.read_sums(fd, spec, spec.capacity)
        assert sums["packets"][3] == cpus * (cpus + 1) // 2
        assert sums["bytes"].tolist() == [0] * 3 + [100 * cpus] + [0] * (spec.capacity - 4)
        tables.zero_sums(fd, spec, 3)
        assert not tables.read_sums(fd, spec, spec.capacity)["packets"].any()


@contextmanager
def writing(fd: Fd, *states: Table) -> Iterator[Callable[[], int]]:
    """A thread that turns a map from one table into the next, over and over; gives how often."""
    stop, rounds = threading.Event(), 0

    def run() -> None:
        nonlocal rounds
        for gone, new in pairwise(cycle(states)):
            if stop.is_set():
                return
            tables.delete_rows(fd, gone.spec, gone.keys[~np.isin(raw(gone.keys), raw(new.keys))])
            tables.write_rows(fd, new.spec, new.keys, new.values)
            rounds += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield lambda: rounds
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("spec", [HOSTS, NETWORKS], ids=lambda spec: spec.name)
def test_a_map_that_changes_while_it_is_read_is_read_again(spec: MapSpec) -> None:
    keys, values = rows_of(spec, 300)
    # So many that what was is not soon again: two reads of that would agree by accident.
    states = [Table.make(spec, keys, rows_of(spec, 300, seed)[1]) for seed in range(1, 51)]
    values_of = np.array([raw(each.values) for each in states])
    reads, again = 0, 0

    def count(_: float) -> None:
        nonlocal again
        again += 1

    with made(spec, 512) as fd:
        tables.write_rows(fd, spec, keys, values)
        with writing(fd, *states):
            while reads < 20 or again < 20:
                try:
                    table = tables.read_table(fd, spec, 512, pause=count)
                except tables.DisturbedError:
                    continue
                reads += 1
                assert table.keys.tobytes() == states[0].keys.tobytes()
                found = values_of == raw(table.values)
                assert found.any(axis=0).all()
                # The writer goes in the order of keys, so at no time do two states alternate.
                assert np.count_nonzero(np.diff(found.argmax(axis=0))) <= 1


@pytest.mark.parametrize("spec", [HOSTS, NETWORKS], ids=lambda spec: spec.name)
def test_rows_that_nobody_touches_are_never_missed(spec: MapSpec) -> None:
    keys, values = rows_of(spec, 600)
    every = Table.make(spec, keys, values)
    few = Table.make(spec, keys[:300], values[:300])
    reads = 0
    with made(spec, 1024) as fd:
        tables.write_rows(fd, spec, keys, values)
        with writing(fd, few, every) as rounds:
            while reads < 20 or rounds() < 100:
                try:
                    table = tables.read_table(fd, spec, 1024, batch=64, pause=lambda _: None)
                except tables.DisturbedError:
                    continue
                reads += 1
                kept = np.isin(raw(table.keys), raw(few.keys))
                assert table.take(kept) == few
        tables.write_rows(fd, spec, keys, values)
        assert tables.read_table(fd, spec, 1024) == every


def test_a_table_that_is_as_it_was_known_is_read_once() -> None:
    keys, values = rows_of(HOSTS, 10)
    known = Known.of(Table.make(HOSTS, keys, values))
    with made(HOSTS, 16) as fd:
        tables.write_rows(fd, HOSTS, keys, values)
        stop = pytest.fail
        table = tables.read_table(fd, HOSTS, 16, known=known, pause=lambda _: stop("again"))
        assert table is known.table
