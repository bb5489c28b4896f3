"""KernelDatapath: one host of this kernel, in the network namespace of the calling thread.

Reads maps, links and interfaces into a HostState, and carries plans out on them. It keeps nothing
that it could not read again, but for the tables as it knew them last, which saves a second read,
and the MACs of next hops, which the kernel forgets now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.digest import Known
from reconciler.abi.generated import MAPS, HostFlag, Reason
from reconciler.abi.table import Table
from reconciler.compile.facts import Device, Facts, NextHop, Seen
from reconciler.compile.programs import DROPS, TRANSIT
from reconciler.compile.state import OWNED_MAPS, HostName, HostState, Interface, Link, Program
from reconciler.datapath import maps as kernel_maps
from reconciler.datapath import rtnetlink as rt
from reconciler.datapath import slots, tables
from reconciler.datapath.apply import (
    Progress,
    carry_out,
    check_capacity,
)
from reconciler.datapath.devices import Devices
from reconciler.datapath.drops import lost
from reconciler.datapath.errors import TransientError
from reconciler.datapath.hops import Way, next_hops
from reconciler.datapath.links import Links, fallbacks
from reconciler.datapath.maps import Maps
from reconciler.datapath.netlink import NetDevice, attempting, net_device, net_devices
from reconciler.datapath.objects import Objects
from reconciler.datapath.pins import Pins
from reconciler.datapath.prober import KernelProber
from reconciler.datapath.protocol import (
    Count,
    EndpointTraffic,
    Lost,
    Report,
    Stopping,
    Traffic,
    never,
)
from reconciler.datapath.target import KernelTarget
from reconciler.datapath.tracepoints import Tracepoints
from reconciler.datapath.verify import as_written, check_items
from reconciler.plan.diff import Item
from reconciler.plan.plan import Plan
from reconciler.plan.steps import ItemStep, RowStep
from reconciler.source.package import object_path

FEW = 64  # interfaces that are asked for one by one, 0.1 ms each, rather than all dumped


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """Where things are. `capacities` are rows by map, where they are not to be the ABI's."""

    bpffs: Path = Path("/sys/fs/bpf")
    netns: Path = Path("/run/netns")
    create_netns: bool = False
    object_path: Callable[[str], Path] = object_path
    capacities: Mapping[str, int] = field(default_factory=dict)


class KernelDatapath:
    """See reconciler.datapath.protocol.Datapath. Not thread-safe: the host's lock is held."""

    def __init__(self, host: HostName, config: KernelConfig | None = None) -> None:
        self._host, self._config = host, config or KernelConfig()
        self._pins = Pins(self._config.bpffs, host)
        self._links = Links(self._pins)
        self._tracepoints = Tracepoints(self._pins)
        self._devices = Devices(host, self._pins, self._config.netns, self._config.create_netns)
        self._objects = Objects(self._config.object_path)
        self._known: dict[str, Table] = {}  # live tables, without origins
        self._hashed: dict[str, Known] = {}  # the same, once they are read again
        self._macs: dict[Way, bytes] = {}  # of next hops

    def facts(self, desired: HostState, seen: Seen | None = None) -> Facts:
        """See Datapath. Next hops that are not known yet are looked up meanwhile."""
        if seen is not None:
            return self._facts_since(desired, seen)
        found = self._net_devices()
        wanted = {each.name for each in desired.interfaces}
        uplinks = [each.interface for each in desired.links if each.program == TRANSIT]
        with self._maps() as maps:
            hosts, endpoints = (self._last_known(name, maps) for name in ("hosts", "endpoints"))
        return Facts(
            devices=_devices(found, wanted.union(uplinks)),
            uplinks=tuple(sorted(uplinks)),
            next_hops=self._next_hops(desired, uplinks, found),
            host_slots=slots.host_slots(desired, hosts, self._capacity("next_hops")),
            counter_slots=slots.counter_slots(
                desired, endpoints, self._devices.owners(found), self._capacity("counters")
            ),
            unready=self._devices.unready(desired.interfaces, found),
            objects={each.name: self._objects.digest(each.name) for each in desired.programs},
        )

    def _facts_since(self, desired: HostState, seen: Seen) -> Facts:
        """At the cost of what is new in `desired`."""
        before, kept = seen.facts, seen.devices()
        uplinks = sorted(each.interface for each in desired.links if each.program == TRANSIT)
        new = [each for each in desired.interfaces if each.name not in kept]
        wanted = {*uplinks, *(each.name for each in desired.interfaces)}
        found = self._net_devices({*uplinks, *(each.name for each in new)})
        kept = {name: each for name, each in kept.items() if name in wanted}
        same = seen.same_hosts(desired) and tuple(uplinks) == before.uplinks
        counters, hops = self._capacity("counters"), self._capacity("next_hops")
        return Facts(
            devices=dict(sorted({**kept, **_devices(found, wanted)}.items())),
            uplinks=tuple(uplinks),
            next_hops=before.next_hops if same else self._next_hops(desired, uplinks, found),
            host_slots=before.host_slots
            if same
            else slots.kept_hosts(desired, before.host_slots, hops),
            counter_slots=slots.kept_counters(desired, before.counter_slots, counters),
            unready=self._devices.unready(new, found),
            objects={each.name: self._objects.digest(each.name) for each in desired.programs},
        )

    def read(self) -> HostState:
        """See Datapath."""
        found = self._net_devices()
        with self._maps() as maps:
            live = {name: self._read_table(name, maps) for name in OWNED_MAPS}
        return HostState(
            self._host,
            live,
            self._programs(),
            self._links.read(found),
            self._devices.read(found),
        )

    def glance(self, known: HostState, interfaces: Set[str]) -> HostState:
        """See Datapath."""
        if not interfaces:
            return known
        found = self._net_devices(interfaces)
        ends = [each for each in known.interfaces if each.name not in interfaces]
        links = [each for each in known.links if each.interface not in interfaces]
        return replace(
            known,
            links=tuple(sorted([*links, *self._links.read(found, interfaces)])),
            interfaces=tuple(sorted([*ends, *self._devices.read(found)])),
        )

    def apply(self, plan: Plan, stopping: Stopping = never) -> Report:
        """See Datapath. MapMismatchError, CapacityError: before anything is written."""
        if plan.refused:
            raise ValueError("a refused plan is not carried out")
        with self._maps() as maps:
            check_capacity(plan, self._host, {name: self._capacity(name) for name in MAPS})
            self._pins.prepare()
            elfs = map(self._objects.elf, (TRANSIT, DROPS))
            kernel_maps.create_missing(self._pins, maps, elfs, self._config.capacities)
            if any(isinstance(each, ItemStep) for each in plan.steps):
                found = self._net_devices()
                self._links.tidy(found)
                self._devices.tidy(found)
            self._reset_counters(plan, maps)
            target = KernelTarget(
                maps, self._links, self._tracepoints, self._devices, self._objects
            )
            progress = carry_out(plan, target, stopping)
            later = target.finish(plan, progress)
            try:
                self._verify(plan, maps, progress, later)
                if "hosts" in plan.diff.tables:
                    self._collect(maps)
            except TransientError as error:  # what was written stays in the report
                progress.fail("reading back", str(error), again=True)
        return progress.report()

    def traffic(self) -> Traffic:
        """See Datapath."""
        found = self._net_devices()
        owners = self._devices.owners(found)
        with self._maps() as maps:
            if not maps:
                return Traffic({}, {})
            dropped = self._lost(maps, found, owners)
            endpoints = self._last_known("endpoints", maps)
            reasons, counters = (
                tables.read_sums(maps[name], MAPS[name], self._capacity(name))
                for name in ("reasons", "counters")
            )
        shown = {
            each.name.lower(): Count(int(row["packets"]), int(row["bytes"]))
            for each, row in zip(Reason, reasons, strict=False)
            if each is not Reason.COUNT
        }
        taken = slots.counters_in_use(endpoints, owners)
        return Traffic(
            shown,
            {
                endpoint: EndpointTraffic(*(int(each) for each in counters[slot]))
                for endpoint, slot in sorted(taken.items())
            },
            dropped,
            "; ".join(each.fallback for each in self._tracepoints.programs() if each.fallback),
            fallbacks(self._links.read(found)),
        )

    def prober(self, own: IPv4Address) -> KernelProber:
        """See Datapath. Shares nothing with the rest, so that another thread may use it."""
        return KernelProber(self._pins, own)

    def remove(self) -> None:
        """See Datapath."""
        self._links.remove_all()
        self._tracepoints.remove()
        self._devices.remove_all()
        self._pins.remove_all()
        self._known.clear()

    def _programs(self) -> tuple[Program, ...]:
        return tuple(sorted((*self._links.programs(), *self._tracepoints.programs())))

    def _lost(
        self, maps: Maps, found: Mapping[str, NetDevice], owners: Mapping[int, str]
    ) -> tuple[Lost, ...]:
        """What the kernel dropped; nothing where another release made the maps."""
        if "drops" not in maps:
            return ()
        rows = tables.scan(maps["drops"], MAPS["drops"], self._capacity("drops"))
        return lost(*rows, {each.ifindex: name for name, each in found.items()}, owners)

    @contextmanager
    def _maps(self) -> Iterator[Maps]:
        """The pinned maps, compared with the ABI, for one call."""
        opened = kernel_maps.open_pinned(self._pins, self._host, self._config.capacities)
        try:
            yield opened
        finally:
            kernel_maps.close(opened)

    def _capacity(self, name: str) -> int:
        return kernel_maps.capacity(MAPS[name], self._config.capacities)

    def _read_table(self, name: str, maps: Maps) -> Table:
        spec = MAPS[name]
        if name not in maps:
            self._known.pop(name, None)
            return Table.empty(spec)
        before, known = self._known.get(name), self._hashed.get(name)
        if before is not None and (known is None or known.table is not before):
            known = Known.of(before)
        table = tables.read_table(maps[name], spec, self._capacity(name), known=known)
        if known is None or table is not known.table:
            known = Known.of(table)
        self._known[name], self._hashed[name] = table, known
        return table

    def _last_known(self, name: str, maps: Maps) -> Table:
        """Nobody else writes our tables; and if somebody does, read() finds out."""
        known = self._known.get(name) if name in maps else None
        return known if known is not None else self._read_table(name, maps)

    def _net_devices(self, names: Set[str] | None = None) -> dict[str, NetDevice]:
        """All, or those of these names that are there."""
        with attempting("reading interfaces"), rt.Socket() as route:
            if names is None or len(names) > FEW:
                return net_devices(route)
            found = ((name, net_device(route, name)) for name in sorted(names))
            return {name: device for name, device in found if device is not None}

    def _next_hops(
        self, desired: HostState, uplinks: list[str], found: Mapping[str, NetDevice]
    ) -> dict[IPv4Address, NextHop]:
        hosts = desired.tables["hosts"]
        others = hosts.keys["address"][(hosts.values["flags"] & HostFlag.SELF) == 0]
        names = {found[name].ifindex: name for name in uplinks if name in found}
        if not names or not len(others):
            return {}
        hops = next_hops((IPv4Address(each) for each in others.tolist()), names, self._macs)
        return {address: NextHop(mac, uplink) for address, (mac, uplink) in hops.items()}

    def _reset_counters(self, plan: Plan, maps: Maps) -> None:
        """Counters of a slot that gets a new owner start at zero."""
        changed = plan.diff.tables.get("endpoints")
        if changed is not None:
            for slot in slots.fresh_counters(changed.desired, changed.live):
                tables.zero_sums(maps["counters"], MAPS["counters"], slot)

    def _verify(self, plan: Plan, maps: Maps, progress: Progress, later: set[str]) -> None:
        """Read back what was touched; after a table that failed, that is the next round's work."""
        if progress.broken:
            self._known.clear()
            return
        rows = [each for each in plan.steps if isinstance(each, RowStep)]
        for name, changed in plan.diff.tables.items():
            steps = [each for each in rows if each.rows.spec.name == name]
            if as_written(changed.desired, steps, maps[name], self._capacity(name)):
                self._known[name] = _without_origins(changed.desired)
            else:
                self._known.pop(name, None)
                reason = "rows are not as they were written; somebody else writes this map"
                progress.fail(f"table {name}", reason, again=True)
        items = [each for each in plan.steps if isinstance(each, ItemStep)]
        if items:
            check_items(items, self._live(items), later, progress)

    def _live(self, steps: list[ItemStep]) -> set[Item]:
        """Programs, links, and those interfaces that the steps are about."""
        ends = {each.item.name for each in steps if isinstance(each.item, Interface)}
        links = {each.item.interface for each in steps if isinstance(each.item, Link)}
        found = self._net_devices(ends | links)
        return {
            *self._programs(),
            *self._links.read(found, links),
            *self._devices.read({name: each for name, each in found.items() if name in ends}),
        }

    def _collect(self, maps: Maps) -> None:
        """Delete direct paths to hosts that are no more, or whose slot is another's now."""
        spec, hosts = MAPS["paths"], self._last_known("hosts", maps)
        keys, values = tables.scan(maps["paths"], spec, self._capacity("paths"))
        known = _pairs(hosts.keys["address"], hosts.values["slot"])
        stale = ~np.isin(_pairs(values["host"], values["host_slot"]), known)
        if stale.any():
            tables.delete_rows(maps["paths"], spec, keys[stale])
            tables.tell_written(maps["generations"])


def _devices(found: Mapping[str, NetDevice], wanted: Set[str]) -> dict[str, Device]:
    return {
        name: Device(each.ifindex, each.mac, each.mtu, each.up)
        for name, each in sorted(found.items())
        if name in wanted
    }


def _without_origins(table: Table) -> Table:
    return Table(table.spec, table.keys, table.values, np.full(len(table), -1, np.int32))


def _pairs(addresses: NDArray[np.uint32], slots: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Underlay addresses with their slots, as one number each."""
    return addresses.astype(np.uint64) << np.uint64(16) | slots.astype(np.uint64)
