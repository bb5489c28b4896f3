"""Another size, another program: a new set of maps beside the old, switched to without a loss."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconciler.abi.generated import MAPS
from reconciler.abi.shape import LEARNED, Shape
from reconciler.abi.spec import MapKind, Ownership
from reconciler.abi.table import Rows, raw
from reconciler.compile.state import HostState
from reconciler.datapath import carry, elements, libbpf, room, tables
from reconciler.datapath.kernel import KernelDatapath
from reconciler.datapath.libbpf import BpfError
from reconciler.datapath.maps import Layout, OpenMap
from reconciler.datapath.pins import Pinned
from reconciler.datapath.protocol import EndpointTraffic
from reconciler.datapath.room import NoMemoryError
from reconciler.plan import render
from reconciler.plan.diff import item_name
from reconciler.plan.guards import ANY_UPGRADE, Context
from reconciler.plan.plan import make_plan
from reconciler.source.package import object_path
from tests.datapath.place import Place
from tests.datapath.worlds import CAPACITIES, KernelWorld

LARGER = {name: 4 * rows for name, rows in CAPACITIES.items()}
CPUS = libbpf.possible_cpus()
POINTS = 40  # of a hundred or so, evenly; all of them take minutes


class Release:
    """Two of them: other capacities, and objects with other bytes."""

    def __init__(self, world: KernelWorld, folder: Path) -> None:
        self.world, self.folder = world, folder
        for name in ("access", "drops", "transit"):
            (folder / name).write_bytes(object_path(name).read_bytes() + b"\0")

    def first(self) -> None:
        self._start(CAPACITIES, object_path)

    def second(self) -> None:
        self._start(LARGER, lambda name: self.folder / name)

    def _start(self, capacities: dict[str, int], objects: Callable[[str], Path]) -> None:
        world = self.world
        world.config = replace(world.config, capacities=capacities, object_path=objects)
        world.restart()


@pytest.fixture
def world(place: Place) -> KernelWorld:
    return KernelWorld(place)


@pytest.fixture
def release(world: KernelWorld, tmp_path: Path) -> Release:
    return Release(world, tmp_path)


def learn(world: KernelWorld, numbers: range) -> None:
    """The data plane learns paths to a host that exists."""
    hosts, spec = world.datapath.read().tables["hosts"], MAPS["paths"]
    keys, values = np.zeros(len(numbers), spec.key.dtype), np.zeros(len(numbers), spec.value.dtype)
    keys["vni"] = numbers
    values["host"], values["host_slot"] = hosts.keys["address"][1], hosts.values["slot"][1]
    world.write("paths", keys, values)


def paths(world: KernelWorld) -> list[tuple[bytes, bytes]]:
    with world.map("paths") as fd:
        keys, values = tables.scan(fd, MAPS["paths"], LARGER["paths"])
    return sorted((key.tobytes(), value.tobytes()) for key, value in zip(keys, values, strict=True))


def count_reason(world: KernelWorld, number: int) -> None:
    """A verdict is counted, on every CPU."""
    values = np.full((CPUS, 2), number, np.uint64)
    with world.map("reasons") as fd:
        elements.update(fd, bytes(4), values.tobytes())


def settle(world: KernelWorld, desired: HostState) -> None:
    """As the agent does when an upgrade is asked for."""
    for _ in range(6):
        bound = world.bound(desired)
        plan = make_plan(bound.state, world.datapath.read(), context=Context(forced=ANY_UPGRADE))
        if plan.empty:
            return
        report = world.datapath.apply(plan)
        assert report.done, report.failures
    raise AssertionError("does not settle")


def map_ids(world: KernelWorld) -> dict[str, int]:
    found = {}
    for name in world.place.pins.names(Pinned.MAP):
        with world.map(name) as fd:
            found[name] = libbpf.map_info(fd).id
    return found


def sets(world: KernelWorld) -> list[str]:
    return [each.name for each in world.place.pins.root.iterdir() if each.name.isdigit()]


def test_every_map_can_be_made_larger_and_keeps_what_it_holds(
    world: KernelWorld, release: Release
) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11"])
    release.first()
    settle(world, desired)
    learn(world, range(1, 40))
    count_reason(world, 5)
    slot = int(world.datapath.read().tables["endpoints"].values["counter"].max())
    world.count(slot, EndpointTraffic(1, 2, 3, 4))
    before, known, ids = world.datapath.read(), paths(world), map_ids(world)
    release.second()
    world.settle(desired)
    assert world.converged(desired)
    assert world.datapath.read().tables == before.tables
    assert paths(world) == known
    traffic = world.datapath.traffic()
    assert traffic.reasons["passed"].packets == 5 * CPUS
    assert traffic.endpoints["shop/web-11"] == EndpointTraffic(1, 2, 3, 4)
    changed = {name for name, each in map_ids(world).items() if each != ids[name]}
    caches = {name for name, each in MAPS.items() if each.ownership is Ownership.CACHE}
    assert changed == CAPACITIES.keys() | caches
    assert len(sets(world)) == 1


def test_a_plan_says_in_words_that_the_datapath_is_upgraded(
    world: KernelWorld, release: Release
) -> None:
    release.first()
    world.settle(world.wanted())
    release.second()
    text = render.text(world.plan(world.wanted()))
    assert "Upgrades the datapath while packets go on; made anew and filled: maps" in text
    assert "~ map paths: capacity is 64 in the kernel, 256 expected" in text


def test_going_back_is_asked_for_where_something_could_be_lost_and_then_works(
    world: KernelWorld, release: Release
) -> None:
    release.first()
    desired = world.wanted()
    world.settle(desired)
    learn(world, range(1, 20))
    before, known = world.datapath.read(), paths(world)
    release.second()
    world.settle(desired)
    count_reason(world, 3)
    release.first()
    plan = world.plan(desired)
    assert "would be lost: map paths: 256 rows are to become 64" in plan.refusals[0].message
    settle(world, desired)
    assert world.datapath.read() == before
    assert paths(world) == known
    assert world.datapath.traffic().reasons["passed"].packets == 3 * CPUS


class _Deadline:
    """Kills the process at the n-th call that changes something."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, strike: Callable[[], None]) -> Iterator[None]:
    """`strike` is called before each write, pin, unpin, rename and switch."""

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            strike()
            return function(*given, **named)

        return called

    with monkeypatch.context() as patch:
        rows = "update", "delete", "update_batch", "update_words", "delete_batch"
        files = "rename", "symlink_to", "unlink", "rmdir", "mkdir"
        for owner, names in ((libbpf, ("pin", "update_link")), (elements, rows), (Path, files)):
            for name in names:
                patch.setattr(owner, name, before(getattr(owner, name)))
        yield


def dies(work: Callable[[], object]) -> bool:
    """Whether a child process that does it is killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def upgrade(world: KernelWorld, desired: HostState) -> None:
    bound = world.bound(desired)
    context = Context(forced=ANY_UPGRADE)
    plan = make_plan(bound.state, world.datapath.read(), bound.waiting, context)
    world.datapath.apply(plan)


@pytest.mark.timeout(900)
def test_an_upgrade_killed_at_any_write_is_completed_or_undone_by_the_next_run(
    world: KernelWorld, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_netns("web-11")
    one, other = world.wanted(["web-11"]), world.wanted(["web-11"], others=3)
    release.first()
    settle(world, one)
    learn(world, range(1, 8))
    count_reason(world, 2)
    before, known = world.datapath.read(), paths(world)

    def is_whole(desired: HostState, point: int) -> None:
        settle(world, desired)
        assert world.converged(desired), point
        assert paths(world) == known, point
        assert world.datapath.traffic().reasons["passed"].packets == 2 * CPUS, point
        assert not world.place.pins.before(), point

    release.second()
    strikes = multiprocessing.Value("i", 0)

    def strike() -> None:
        strikes.value += 1

    with watched(monkeypatch, strike):
        assert not dies(lambda: upgrade(world, other))
    is_whole(other, -1)
    # Every point of one way; of the way back, which is the same path, none.
    points = range(strikes.value)
    assert len(points) > 60
    for point in points[:: 1 + len(points) // POINTS]:
        release.first()
        is_whole(one, point)
        assert world.datapath.read() == before, point
        assert len(sets(world)) == 1, point  # leftovers go with the next apply
        release.second()
        with watched(monkeypatch, _Deadline(point)):
            assert dies(lambda: upgrade(world, other)), point
        is_whole(other, point)


def test_a_set_that_was_cut_short_shows_as_a_difference_and_its_counters_are_whole(
    world: KernelWorld, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired = world.wanted()
    release.first()
    settle(world, desired)
    count_reason(world, 2)
    release.second()
    monkeypatch.setattr(libbpf, "quiesce", lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert dies(lambda: upgrade(world, desired))
    monkeypatch.undo()
    release.second()
    plan = world.plan(desired)
    said = {item_name(each.item) for each in plan.diff.maps}
    assert {"paths", "counters", "reasons"} - said == {"reasons"}  # reasons fit, and were kept
    count_reason(world, 3)
    assert world.datapath.traffic().reasons["passed"].packets == 3 * CPUS
    settle(world, desired)
    assert not world.place.pins.before()


class Two:
    """An old map and a new one of four times the size."""

    def __init__(self, larger: int = 256) -> None:
        self.spec = MAPS["paths"]
        self.old, self.new = self.made(64), self.made(larger)
        self.pair = self.to(self.old)

    def made(self, capacity: int) -> OpenMap:
        spec = replace(self.spec, capacity=capacity)
        fd = libbpf.create_map(spec)
        return OpenMap(
            "paths", fd, libbpf.map_info(fd), Layout(spec, Shape.of(spec, capacity), True)
        )

    def to(self, old: OpenMap) -> carry.Pair:
        assert old.spec is not None
        assert self.new.spec is not None
        return carry.Pair(old, self.new, old.spec, self.new.spec)

    def rows(self, **columns: Any) -> tuple[Rows, Rows]:
        count = len(columns["vni"])
        keys, values = np.zeros(count, self.spec.key.dtype), np.zeros(count, self.spec.value.dtype)
        keys["vni"], values["host"] = columns["vni"], columns["host"]
        return keys, values

    def write(self, where: Any, vni: list[int], host: list[int]) -> None:
        tables.write_rows(where.fd, self.spec, *self.rows(vni=vni, host=host))

    def forget(self, where: Any, vni: int) -> None:
        elements.delete(where.fd, self.rows(vni=[vni], host=[0])[0].tobytes())

    def held(self) -> dict[int, int]:
        keys, values = tables.scan(self.new.fd, self.spec, 256)
        return dict(zip(keys["vni"].tolist(), values["host"].tolist(), strict=True))


def test_what_old_programs_do_until_the_switch_is_carried_over() -> None:
    two = Two()
    two.write(two.old, [1, 2, 3], [10, 20, 30])
    copied = carry.first(two.pair)
    two.write(two.old, [2, 4], [21, 40])  # changed, learned
    two.forget(two.old, 3)
    carry.again(two.pair, copied)
    assert two.held() == {1: 10, 2: 21, 4: 40}


def test_what_new_programs_did_since_the_switch_stands() -> None:
    two = Two()
    two.write(two.old, [1, 2, 3, 5], [10, 20, 30, 50])
    copied = carry.first(two.pair)
    two.write(two.old, [1, 2, 4], [11, 21, 40])
    two.forget(two.old, 5)
    two.write(two.new, [1, 4, 5], [12, 42, 52])
    two.forget(two.new, 2)  # a path that was found to be stale
    carry.again(two.pair, copied)
    assert two.held() == {1: 12, 3: 30, 4: 42, 5: 52}


def test_after_a_crash_only_what_is_missing_is_carried_over() -> None:
    two = Two()
    two.write(two.old, [1, 2], [10, 20])
    two.write(two.new, [2, 3], [22, 33])
    carry.again(two.pair, None)
    assert two.held() == {1: 10, 2: 22, 3: 33}
    carry.again(two.pair, None)
    assert two.held() == {1: 10, 2: 22, 3: 33}


def test_a_full_map_of_learned_rows_is_carried_over_whole() -> None:
    two = Two(larger=1 << 16)
    full = two.made(1 << 14)
    two.write(full, list(range(1 << 14)), list(range(1 << 14)))
    held = len(tables.scan(full.fd, two.spec, 1 << 14)[0])
    carry.first(two.to(full))
    found, _ = tables.scan(two.new.fd, two.spec, 1 << 16)
    assert len(found) == held > 1 << 13


def test_kinds_of_maps_that_only_the_data_plane_writes_can_all_be_carried_over() -> None:
    carried = {MapKind.HASH, MapKind.LRU_HASH, MapKind.ARRAY, MapKind.PERCPU_ARRAY}
    for spec in MAPS.values():
        if spec.ownership in LEARNED:
            assert spec.kind in carried, f"{spec.name}: datapath/carry.py does not know its kind"


def test_a_program_that_does_not_load_leaves_what_is_live_alone(
    world: KernelWorld, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired = world.wanted()
    release.first()
    settle(world, desired)
    before, ids = world.datapath.read(), map_ids(world)
    release.second()

    def refuse(*_: object) -> None:
        raise BpfError("loading object transit", 13)

    monkeypatch.setattr("reconciler.datapath.objects.Objects.load", refuse)
    report = world.datapath.apply(world.plan(desired))
    assert {each.step.split()[0] for each in report.failures} == {"map"}
    assert map_ids(world) == ids
    release.first()
    assert world.datapath.read() == before


def test_without_memory_for_the_new_maps_nothing_is_written(
    world: KernelWorld, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.first()
    settle(world, world.wanted())
    ids = map_ids(world)
    release.second()
    monkeypatch.setattr(room, "available", lambda: 1 << 20)
    with pytest.raises(NoMemoryError, match=r"need [0-9]+ MiB beside those that are there"):
        world.datapath.apply(world.plan(world.wanted()))
    assert map_ids(world) == ids
    assert len(sets(world)) == 1


@pytest.mark.parametrize("name", ["endpoints", "paths", "next_hops", "counters"])
def test_the_memory_that_maps_take_is_estimated_well(name: str) -> None:
    """Against what the kernel says in fdinfo."""
    spec, capacity = MAPS[name], 1 << 14
    with libbpf.create_map(spec, capacity) as fd:
        info = Path(f"/proc/self/fdinfo/{fd.fileno()}").read_text()
    taken = int(info.partition("memlock:")[2].split()[0])
    assert (
        0.8 * taken <= room.size(spec, capacity, 0 if spec.flags else capacity) <= 2 * taken + 65536
    )


def test_a_map_that_somebody_unpinned_is_made_again_under_its_programs(
    world: KernelWorld,
) -> None:
    desired = world.wanted()
    world.settle(desired)
    world.place.pins.remove(Pinned.MAP, "hosts")
    world.restart()
    settle(world, desired)
    assert world.converged(desired)
    with libbpf.get(world.place.pins.path(Pinned.PROGRAM, "transit")) as program:
        assert map_ids(world)["hosts"] in libbpf.program_info(program).map_ids


def test_a_map_whose_layout_nobody_knows_is_filled_from_what_is_wanted(world: KernelWorld) -> None:
    desired = world.wanted()
    world.settle(desired)
    spec = replace(MAPS["hosts"], value=MAPS["endpoints"].value)
    with libbpf.create_map(spec, CAPACITIES["hosts"]) as fd:
        elements.update(fd, raw(np.zeros(1, spec.key.dtype)).tobytes() or bytes(4), bytes(32))
        world.place.pins.put(Pinned.MAP, "hosts", fd)
    world.restart()
    plan = world.plan(desired)
    assert not plan.diff.tables["hosts"].deletes.size
    settle(world, desired)
    assert world.converged(desired)


def test_another_process_reads_while_the_set_is_replaced(
    world: KernelWorld, release: Release
) -> None:
    desired = world.wanted()
    release.first()
    settle(world, desired)
    reader = KernelDatapath(world.host, world.config)
    before = reader.read()
    release.second()
    settle(world, desired)
    assert reader.read().tables == before.tables
