"""The target of a plan's steps: maps, programs, links and interfaces of this kernel."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.abi.shape import Shape
from reconciler.abi.table import Table
from reconciler.compile.programs import is_drops
from reconciler.compile.state import Interface, Link, Program
from reconciler.datapath import rtnetlink as rt
from reconciler.datapath import tables
from reconciler.datapath.apply import Progress, step_name
from reconciler.datapath.devices import Devices
from reconciler.datapath.errors import HostError, TransientError
from reconciler.datapath.links import Links
from reconciler.datapath.maps import Maps
from reconciler.datapath.netlink import attempting, net_device
from reconciler.datapath.pins import Pinned, Pins
from reconciler.datapath.tracepoints import Tracepoints
from reconciler.plan.diff import Item
from reconciler.plan.plan import Plan


class KernelTarget:
    """The target of a plan's steps: maps, links and interfaces of this kernel."""

    def __init__(
        self,
        maps: Maps,
        pins: Pins,
        links: Links,
        tracepoints: Tracepoints,
        devices: Devices,
        take_effect: Callable[[Item], str],
    ) -> None:
        """`maps` are of the set that `take_effect` puts in force, with all its programs."""
        self._maps, self._pins, self._links, self._devices = maps, pins, links, devices
        self._tracepoints = tracepoints
        self._take_effect = take_effect
        self._ends: list[Interface] = []  # whose inner end is to be seen to, when all else is done

    def write(self, rows: Table) -> None:
        """See Target."""
        tables.write_rows(self._maps[rows.spec.name].fd, rows.spec, rows.keys, rows.values)
        tables.tell_written(self._maps["generations"].fd)

    def delete(self, rows: Table) -> None:
        """See Target."""
        tables.delete_rows(self._maps[rows.spec.name].fd, rows.spec, rows.keys)
        tables.tell_written(self._maps["generations"].fd)

    def put(self, item: Item) -> str:
        """See Target."""
        if isinstance(item, Program | Shape):
            return self._take_effect(item)
        if isinstance(item, Link):
            with attempting(f"interface {item.interface}"), rt.Socket() as route:
                device = net_device(route, item.interface)
                return self._links.attach(item, {item.interface: device} if device else {})
        self._devices.ensure_outer(item)
        self._ends.append(item)
        return ""

    def drop(self, item: Item) -> None:
        """See Target."""
        if isinstance(item, Program) and is_drops(item.name):
            self._tracepoints.remove(item.name)
        elif isinstance(item, Program):
            self._links.remove_program(item.name)
        elif isinstance(item, Link):
            self._links.detach(item.interface)
        elif isinstance(item, Shape):
            self._pins.remove(Pinned.MAP, item.name)
            self._pins.remove(Pinned.CARRIED, item.name)
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
