import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reconciler.abi.table import Table
from reconciler.compile.facts import Device
from reconciler.compile.state import Interface
from reconciler.datapath.errors import HostError, TransientError, WriteError
from reconciler.datapath.memory import MemoryDatapath
from reconciler.plan.diff import Change, Item
from reconciler.plan.steps import RowStep
from tests.datapath.place import Place
from tests.datapath.worlds import UPLINK, MemoryWorld


class Faulty(MemoryDatapath):
    """The fake, with faults that a test puts in: a table that takes only some rows, items."""

    table, rows, code = "", 0, errno.E2BIG
    broken: frozenset[str] = frozenset()
    error: type[Exception] = HostError

    def write(self, rows: Table) -> None:
        if rows.spec.name == self.table:
            super().write(rows.take(np.arange(self.rows)))
            raise WriteError(self.rows, self.code, "no room")
        super().write(rows)

    def put(self, item: Item) -> str:
        name = item.interface if hasattr(item, "interface") else item.name
        if isinstance(item, Interface) and name in self.broken:
            raise self.error("cannot be made")
        return super().put(item)


@pytest.fixture
def world(place: Place) -> MemoryWorld:
    made = MemoryWorld(place)
    made.datapath = made.memory = Faulty(made.host, made.around)
    return made


def faulty(world: MemoryWorld) -> Faulty:
    assert isinstance(world.memory, Faulty)
    return world.memory


@pytest.mark.parametrize("code", [errno.E2BIG, errno.ENOMEM])
def test_a_table_that_fails_half_way_stops_what_follows_it(world: MemoryWorld, code: int) -> None:
    world.settle(world.wanted(others=1))
    desired = world.wanted(others=6)
    datapath = faulty(world)
    datapath.table, datapath.rows, datapath.code = "hosts", 2, code
    plan = world.plan(desired)
    report = datapath.apply(plan)
    (failure,) = report.failures
    assert str(failure) == "table hosts: 2 of 5 rows written, then: no room"
    assert failure.again is (code == errno.ENOMEM)
    assert report.hopeless is (code == errno.E2BIG)
    assert report.partly
    assert report.written["table hosts"].add == 2
    assert report.counts.total + report.skipped + 3 == plan.counts.total
    tables = [each.rows.spec.name for each in plan.steps if isinstance(each, RowStep)]
    for name in tables[tables.index("hosts") + 1 :]:
        assert f"table {name}" not in report.written
    datapath.table = ""
    world.settle(desired)
    assert world.converged(desired)


def test_nothing_is_deleted_after_a_table_failed(world: MemoryWorld) -> None:
    world.settle(world.wanted(others=6))
    before = len(world.memory.read().tables["hosts"])
    datapath = faulty(world)
    changed = world.wanted(others=2, interface="other0")
    world.around.devices["other0"] = Device(9, b"\2\0\0\0\0\xcc", 1400, True)
    datapath.table = "uplinks"
    plan = world.plan(changed)
    assert any(step.change is Change.DELETE for step in plan.steps)
    datapath.apply(plan)
    assert len(world.memory.read().tables["hosts"]) == before
    assert [link.interface for link in world.memory.read().links] == [UPLINK]


@pytest.mark.parametrize("error", [HostError, TransientError])
def test_an_interface_that_fails_is_not_attached_and_others_go_on(
    world: MemoryWorld, error: type[Exception]
) -> None:
    for name in ("web-11", "web-12"):
        world.add_netns(name)
    desired = world.wanted(["web-11", "web-12"])
    broken, whole = (each.name for each in desired.interfaces)
    datapath = faulty(world)
    datapath.broken, datapath.error = frozenset({broken}), error
    plan = world.plan(desired)
    report = datapath.apply(plan)
    (failure,) = report.failures
    assert str(failure) == f"interface {broken}: cannot be made"
    assert failure.again is (error is TransientError)
    assert report.skipped == 1
    assert {each.interface for each in datapath.read().links} == {whole, UPLINK}
    datapath.broken = frozenset()
    world.settle(desired)
    assert world.converged(desired)


def test_the_fake_needs_neither_bpf_nor_netlink(tmp_path: Path) -> None:
    """It is for machines without either: nothing that it imports may need them."""
    script = tmp_path / "fake.py"
    script.write_text(
        "import sys\n"
        "for name in ('bcc', 'pyroute2'):\n"
        "    sys.modules[name] = None\n"
        "from reconciler.compile.state import HostName\n"
        "from reconciler.datapath.memory import MemoryDatapath\n"
        "MemoryDatapath(HostName('edge-1')).read()\n"
    )
    subprocess.run([sys.executable, script], check=True)
