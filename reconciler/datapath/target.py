"""The target of a plan's steps: maps, programs, links and interfaces of this kernel."""

from __future__ import annotations

from reconciler.abi.table import Table
from reconciler.compile.programs import DROPS
from reconciler.compile.state import Interface, Link, Program
from reconciler.datapath import rtnetlink as rt
from reconciler.datapath import tables
from reconciler.datapath.apply import Progress, step_name
from reconciler.datapath.devices import Devices
from reconciler.datapath.errors import HostError, TransientError
from reconciler.datapath.links import Links
from reconciler.datapath.maps import Maps
from reconciler.datapath.netlink import attempting, net_device
from reconciler.datapath.objects import Objects
from reconciler.datapath.tracepoints import Tracepoints
from reconciler.plan.diff import Item
from reconciler.plan.plan import Plan


class KernelTarget:
    """The target of a plan's steps: maps, links and interfaces of this kernel."""

    def __init__(
        self,
        maps: Maps,
        links: Links,
        tracepoints: Tracepoints,
        devices: Devices,
        objects: Objects,
    ) -> None:
        self._maps, self._links, self._devices, self._objects = maps, links, devices, objects
        self._tracepoints = tracepoints
        self._ends: list[Interface] = []  # whose inner end is to be seen to, when all else is done

    def write(self, rows: Table) -> None:
        """See Target."""
        tables.write_rows(self._maps[rows.spec.name], rows.keys, rows.values)
        tables.tell_written(self._maps["generations"])

    def delete(self, rows: Table) -> None:
        """See Target."""
        tables.delete_rows(self._maps[rows.spec.name], rows.spec, rows.keys)
        tables.tell_written(self._maps["generations"])

    def put(self, item: Item) -> str:
        """See Target."""
        if isinstance(item, Program) and item.name == DROPS:
            return self._tracepoints.put(item, self._objects.elf(DROPS), self._maps)
        if isinstance(item, Program):
            with self._objects.load(item.name, item.constants, self._maps) as loaded:
                self._links.put_program(item, loaded)
            return ""
        if isinstance(item, Link):
            with attempting(f"interface {item.interface}"), rt.Socket() as route:
                device = net_device(route, item.interface)
                return self._links.attach(item, {item.interface: device} if device else {})
        self._devices.ensure_outer(item)
        self._ends.append(item)
        return ""

    def drop(self, item: Item) -> None:
        """See Target."""
        if isinstance(item, Program) and item.name == DROPS:
            self._tracepoints.remove()
        elif isinstance(item, Program):
            self._links.remove_program(item.name)
        elif isinstance(item, Link):
            self._links.detach(item.interface)
        else:
            self._devices.remove(item.name)

    def finish(self, plan: Plan, progress: Progress) -> set[str]:
        """Bring the endpoints' ends up, once all that their packets need is there; those that are
        not: a row that still waits, as for the index of a new interface, is the next plan's."""
        not_yet = {each.origin for each in plan.waiting} | {e.step for e in progress.failures}
        later = {
            each.name
            for each in self._ends
            if progress.broken or not_yet & {f"Endpoint {each.endpoint}", f"link {each.name}"}
        }
        for each in self._ends:
            if each.name in later:
                continue
            try:
                self._devices.ensure_inner(each)
            except (HostError, TransientError) as error:
                again = isinstance(error, TransientError)
                progress.fail(step_name(each), str(error), again=again)
        return later
