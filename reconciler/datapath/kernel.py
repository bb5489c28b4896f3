"""KernelDatapath: one host of this kernel, in the network namespace of the calling thread.

Reads maps, links and interfaces into a HostState, and carries plans out on them. It keeps nothing
that it could not read again, but for the MACs of next hops, which the kernel forgets now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS, HostFlag, Reason
from reconciler.abi.shape import Shape
from reconciler.compile.facts import Device, Facts, NextHop, Seen
from reconciler.compile.programs import DROPS, TRANSIT, is_drops, is_transit
from reconciler.compile.state import OWNED_MAPS, HostName, HostState, Interface, Link, Program
from reconciler.datapath import maps as kernel_maps
from reconciler.datapath import room, slots, tables
from reconciler.datapath import rtnetlink as rt
from reconciler.datapath.apply import (
    Progress,
    carry_out,
    check_capacity,
)
from reconciler.datapath.devices import Devices
from reconciler.datapath.drops import lost
from reconciler.datapath.enums import kernel_enum
from reconciler.datapath.errors import HostError, TransientError
from reconciler.datapath.hops import Before, next_hops
from reconciler.datapath.links import Links
from reconciler.datapath.live import LiveTables
from reconciler.datapath.maps import Layouts, Maps
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
    fallbacks,
    never,
)
from reconciler.datapath.sets import Sets
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
        self._layouts, self._wanted = Layouts(), kernel_maps.wanted(self._config.capacities)
        self._sets = Sets(
            self._pins, self._links, self._objects, self._layouts, self._config.capacities
        )
        self._drop_reasons: Mapping[int, str] = {}
        self._tables = LiveTables()
        self._hops = Before()

    def facts(self, desired: HostState, seen: Seen | None = None) -> Facts:
        """See Datapath. Next hops that are not known yet are looked up meanwhile."""
        if seen is not None:
            return self._facts_since(desired, seen)
        found = self._net_devices()
        wanted = {each.name for each in desired.interfaces}
        uplinks = [each.interface for each in desired.links if is_transit(each.program)]
        with self._maps() as maps:
            hosts, endpoints = (self._tables.last(name, maps) for name in ("hosts", "endpoints"))
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
            maps=self._wanted,
        )

    def _facts_since(self, desired: HostState, seen: Seen) -> Facts:
        """At the cost of what is new in `desired`."""
        before, kept = seen.facts, seen.devices()
        uplinks = sorted(each.interface for each in desired.links if is_transit(each.program))
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
            maps=self._wanted,
        )

    def read(self) -> HostState:
        """See Datapath."""
        found = self._net_devices()
        with self._maps() as maps:
            live = {name: self._tables.read(name, maps) for name in OWNED_MAPS}
            shapes = self._shapes(maps)
        return HostState(
            self._host,
            live,
            self._programs(),
            self._links.read(found),
            self._devices.read(found),
            maps=shapes,
        )

    def fingerprint(self) -> bytes:
        """See Datapath."""
        with self._maps() as maps:
            return self._tables.fingerprint(maps)

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
        """See Datapath. CapacityError, NoMemoryError: before anything is written."""
        if plan.refused:
            raise ValueError("a refused plan is not carried out")
        with self._maps() as live:
            check_capacity(plan, self._host, {name: self._capacity(name) for name in MAPS})
            anew = _needs_a_set(plan)
            if anew:
                self._check_room(plan, live)
            self._pins.prepare()
            self._sets.finish()
            if any(isinstance(each, ItemStep) for each in plan.steps):
                found = self._net_devices()
                self._links.tidy(found)
                self._devices.tidy(found)
            self._reset_counters(plan, live)
            maps, take_effect = self._begin(plan, live) if anew else (live, _nothing)
            target = KernelTarget(
                maps, self._pins, self._links, self._tracepoints, self._devices, take_effect
            )
            progress = carry_out(plan, target, stopping)
            later = target.finish(plan, progress)
            try:
                self._verify(plan, maps, progress, later)
                if "hosts" in plan.diff.tables and not progress.broken:
                    self._collect(maps)
            except TransientError as error:  # what was written stays in the report
                progress.fail("reading back", str(error), again=True)
        return progress.report()

    def traffic(self) -> Traffic:
        """See Datapath."""
        found = self._net_devices()
        owners = self._devices.owners(found)
        with self._maps() as maps:
            if not {"reasons", "counters"} <= maps.keys():
                return Traffic({}, {})
            dropped = self._lost(maps, found, owners)
            endpoints = self._tables.last("endpoints", maps)
            reasons, counters = (
                self._sets.sums(name, maps[name]) for name in ("reasons", "counters")
            )
        shown = {
            each.name.lower(): Count(int(row["packets"]), int(row["bytes"]))
            for each, row in zip(Reason, reasons, strict=False)
            if each is not Reason.COUNT
        }
        taken = slots.counters_in_use(endpoints, owners)
        return Traffic(
            shown,
            {endpoint: _traffic(counters[slot]) for endpoint, slot in sorted(taken.items())},
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
        self._tracepoints.remove_all()
        self._devices.remove_all()
        self._pins.remove_all()
        self._tables.clear()

    def _programs(self) -> tuple[Program, ...]:
        return tuple(sorted((*self._links.programs(), *self._tracepoints.programs())))

    def _lost(
        self, maps: Maps, found: Mapping[str, NetDevice], owners: Mapping[int, str]
    ) -> tuple[Lost, ...]:
        """What the kernel dropped; nothing where another release made the maps."""
        if "drops" not in maps:
            return ()
        spec = maps["drops"].spec
        if spec is None:
            return ()
        rows = tables.scan(maps["drops"].fd, spec, spec.capacity)
        names = {each.ifindex: name for name, each in found.items()}
        return lost(*rows, names, owners, self._freed)

    def _freed(self) -> Mapping[int, str]:
        """The kernel's names of why it frees an sk_buff, read once."""
        self._drop_reasons = self._drop_reasons or kernel_enum("skb_drop_reason")
        return self._drop_reasons

    @contextmanager
    def _maps(self) -> Iterator[Maps]:
        """The pinned maps, for one call."""
        opened = kernel_maps.open_pinned(self._pins, self._layouts)
        try:
            yield opened
        finally:
            kernel_maps.close(opened)

    def _capacity(self, name: str) -> int:
        return kernel_maps.capacity(MAPS[name], self._config.capacities)

    def _shapes(self, maps: Maps) -> tuple[Shape, ...]:
        behind = self._sets.behind(maps)
        return tuple(
            replace(each.shape, behind=name in behind) for name, each in sorted(maps.items())
        )

    def _check_room(self, plan: Plan, live: Maps) -> None:
        """Memory is checked before the first write."""
        kept, tables_of = self._sets.kept(live), plan.diff.tables
        needed = 0
        for name in MAPS.keys() - kept.keys():
            changed = tables_of.get(name)
            rows = len(changed.desired) + len(changed.deletes) if changed else 0
            if changed is None and name in OWNED_MAPS:
                rows = len(self._tables.last(name, live))
            needed += room.size(MAPS[name], self._capacity(name), rows)
        room.check(self._host, needed)

    def _begin(self, plan: Plan, live: Maps) -> tuple[Maps, Callable[[Item], str]]:
        """The maps of a new set, and what loads its programs and puts it in force, once.

        That says of an item what an operator should hear, as Target.put does.
        """
        wanted = {each.name: each for each in self._programs()}
        for change in plan.diff.programs:
            wanted.pop(change.item.name if isinstance(change.item, Program) else "", None)
            if isinstance(change.new, Program):
                wanted[change.new.name] = change.new
        counting = next((each for name, each in wanted.items() if is_drops(name)), None)
        if counting is not None:
            del wanted[counting.name]
        elfs = [self._objects.elf(TRANSIT), self._objects.elf(DROPS)]
        beside, maps = self._sets.begin(live, elfs, lambda name: self._tables.last(name, live))
        for name in maps.keys() & live.keys():
            if maps[name] is not live[name]:
                self._tables.forget(name)
        outcome: list[HostError] = []
        done: list[bool] = []
        notes: dict[str, str] = {}

        def count_drops() -> None:
            if counting is not None:
                fds = kernel_maps.descriptors(maps)
                elf = self._objects.elf(counting.name)
                notes[counting.name] = self._tracepoints.put(counting, elf, fds)

        def take_effect(item: Item) -> str:
            if not outcome and not done:
                try:
                    self._sets.complete(beside, live, maps, wanted.values(), count_drops)
                    done.append(True)
                except HostError as error:
                    outcome.append(error)
            if outcome:
                raise outcome[0]
            return notes.get(item.name, "") if isinstance(item, Program) else ""

        return maps, take_effect

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
        hops = next_hops((IPv4Address(each) for each in others.tolist()), names, self._hops)
        return {address: NextHop(mac, uplink) for address, (mac, uplink) in hops.items()}

    def _reset_counters(self, plan: Plan, maps: Maps) -> None:
        """Counters of a slot that gets a new owner start at zero."""
        changed = plan.diff.tables.get("endpoints")
        if changed is not None:
            for slot in slots.fresh_counters(changed.desired, changed.live):
                if "counters" in maps:
                    self._sets.zero("counters", maps["counters"], slot)

    def _verify(self, plan: Plan, maps: Maps, progress: Progress, later: set[str]) -> None:
        """Read back what was touched; after a table that failed, that is the next round's work."""
        if progress.broken:
            self._tables.clear()
            return
        rows = [each for each in plan.steps if isinstance(each, RowStep)]
        for name, changed in plan.diff.tables.items():
            steps = [each for each in rows if each.rows.spec.name == name]
            if as_written(changed.desired, steps, maps[name].fd, self._capacity(name)):
                self._tables.wrote(changed.desired)
            else:
                self._tables.forget(name)
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
        shapes: tuple[Shape, ...] = ()
        if any(isinstance(each.item, Shape) for each in steps):
            with self._maps() as maps:
                shapes = self._shapes(maps)
        return {
            *shapes,
            *self._programs(),
            *self._links.read(found, links),
            *self._devices.read({name: each for name, each in found.items() if name in ends}),
        }

    def _collect(self, maps: Maps) -> None:
        """Delete direct paths to hosts that are no more, or whose slot is another's now."""
        spec, hosts = MAPS["paths"], self._tables.last("hosts", maps)
        keys, values = tables.scan(maps["paths"].fd, spec, self._capacity("paths"))
        known = _pairs(hosts.keys["address"], hosts.values["slot"])
        stale = ~np.isin(_pairs(values["host"], values["host_slot"]), known)
        if stale.any():
            tables.delete_rows(maps["paths"].fd, spec, keys[stale])
            tables.tell_written(maps["generations"].fd)


def _traffic(row: np.void) -> EndpointTraffic:
    return EndpointTraffic(**{each.name: int(row[each.name]) for each in fields(EndpointTraffic)})


def _nothing(_: Item) -> str:
    """No set has to take effect."""
    return ""


def _needs_a_set(plan: Plan) -> bool:
    """Whether programs are to be loaded or maps to be made; not to finish what was cut short."""
    loads = any(each.new is not None for each in plan.diff.programs)
    return loads or any(
        isinstance(each.new, Shape)
        and not (isinstance(each.old, Shape) and replace(each.old, behind=False) == each.new)
        for each in plan.diff.maps
    )


def _devices(found: Mapping[str, NetDevice], wanted: Set[str]) -> dict[str, Device]:
    return {
        name: Device(each.ifindex, each.mac, each.mtu, each.up)
        for name, each in sorted(found.items())
        if name in wanted
    }


def _pairs(addresses: NDArray[np.uint32], slots: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Underlay addresses with their slots, as one number each."""
    return addresses.astype(np.uint64) << np.uint64(16) | slots.astype(np.uint64)
