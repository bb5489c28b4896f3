"""MemoryDatapath: the fake beside the kernel's, held to the same tests.

For machines without BPF and for tests of what uses a datapath. Its surroundings (interfaces that
exist, namespaces, next hops) are attributes that a test turns as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS, HostFlag
from reconciler.abi.merge import locate
from reconciler.abi.shape import Shape
from reconciler.abi.table import Table, join
from reconciler.compile.facts import Device, Facts, NextHop, Seen
from reconciler.compile.programs import is_transit
from reconciler.compile.state import (
    HostName,
    HostState,
    Interface,
    InterfaceKind,
    Link,
    Program,
)
from reconciler.datapath import slots
from reconciler.datapath.apply import carry_out, check_capacity
from reconciler.datapath.errors import HostError, TransientError
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
from reconciler.plan.diff import Item, item_name
from reconciler.plan.plan import Plan

_NOTHING = EndpointTraffic(0, 0, 0, 0)
Kind = TypeVar("Kind", Program, Link, Interface, Shape)


@dataclass(slots=True)
class Surroundings:
    """What is there without us."""

    devices: dict[str, Device] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    taken: set[tuple[str, str]] = field(default_factory=set)  # (namespace, interface) of strangers
    next_hops: dict[IPv4Address, NextHop] = field(default_factory=dict)
    no_native: set[str] = field(default_factory=set)  # interfaces
    objects: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(
            ("access", "access_tc", "drops", "drops_tc", "transit", "transit_tc"), "1"
        )
    )
    unit: int = 1000  # the clock of the map health
    silent: set[IPv4Address] = field(default_factory=set)  # hosts that answer no probe
    doubted: list[IPv4Address] = field(default_factory=list)  # whose next hops to look up anew


class MemoryProber:
    """See reconciler.datapath.protocol.Prober. Hosts answer at once, unless they are `silent`."""

    def __init__(self, datapath: MemoryDatapath) -> None:
        self._datapath = datapath
        self.health = datapath.health
        self._addresses = np.zeros(0, np.uint32)

    def now(self) -> int:
        """See Prober."""
        return self._datapath.around.unit

    def aim(self, addresses: NDArray[np.uint32]) -> None:
        """See Prober."""
        self._addresses = addresses

    def send(self, rows: NDArray[np.intp]) -> None:
        """See Prober."""
        hosts = self._datapath.read().tables["hosts"]
        slots = dict(
            zip(hosts.keys["address"].tolist(), hosts.values["slot"].tolist(), strict=True)
        )
        for address in self._addresses[rows].tolist():
            if IPv4Address(address) not in self._datapath.around.silent and address in slots:
                self.health["heard"][slots[address]] = self.now()

    def doubt(self, rows: NDArray[np.intp]) -> None:
        """See Prober."""
        self._datapath.around.doubted += map(IPv4Address, self._addresses[rows].tolist())

    def tell(self) -> None:
        """See Prober."""

    def replaced(self) -> bool:
        """See Prober."""
        return self.health is not self._datapath.health

    def close(self) -> None:
        """See Prober."""


class MemoryDatapath:
    """See reconciler.datapath.protocol.Datapath."""

    def __init__(
        self,
        host: HostName,
        around: Surroundings | None = None,
        capacities: Mapping[str, int] | None = None,
        *,
        create_netns: bool = False,
    ) -> None:
        self.around = around or Surroundings()
        self.counters: dict[int, EndpointTraffic] = {}
        self.reasons: dict[str, Count] = {}
        self.lost: tuple[Lost, ...] = ()
        self.health = np.zeros(MAPS["health"].capacity, MAPS["health"].value.dtype)
        self._host, self._create_netns = host, create_netns
        self._capacities = {
            name: (capacities or {}).get(name, spec.capacity) for name, spec in MAPS.items()
        }
        self._state = HostState.empty(host)
        self._ifindex = 100

    def facts(self, desired: HostState, seen: Seen | None = None) -> Facts:
        """See Datapath. Everything is at hand, so nothing is taken from `seen`."""
        around, live = self.around, self.read()
        wanted = {each.name for each in desired.interfaces}
        uplinks = sorted(each.interface for each in desired.links if is_transit(each.program))
        hosts = desired.tables["hosts"]
        others = hosts.keys["address"][(hosts.values["flags"] & HostFlag.SELF) == 0].tolist()
        hops = ((IPv4Address(each), around.next_hops.get(IPv4Address(each))) for each in others)
        return Facts(
            devices={
                name: each
                for name, each in sorted(around.devices.items())
                if name in wanted or name in uplinks
            },
            uplinks=tuple(uplinks),
            next_hops={to: hop for to, hop in hops if hop and hop.uplink in around.devices},
            host_slots=slots.host_slots(
                desired, live.tables["hosts"], self._capacities["next_hops"]
            ),
            counter_slots=slots.counter_slots(
                desired, live.tables["endpoints"], self._owners(), self._capacities["counters"]
            ),
            unready={
                each.name: reason for each in desired.interfaces if (reason := self._missing(each))
            },
            objects={each.name: around.objects.get(each.name, "") for each in desired.programs},
            maps=tuple(Shape.of(MAPS[name], self._capacities[name]) for name in sorted(MAPS)),
        )

    def read(self) -> HostState:
        """See Datapath."""
        present = self.around.devices
        return replace(
            self._state,
            interfaces=tuple(each for each in self._state.interfaces if each.name in present),
            links=tuple(each for each in self._state.links if each.interface in present),
        )

    def fingerprint(self) -> bytes:
        """See Datapath."""
        tables = self._state.tables
        return b"".join(
            rows.tobytes() for each in tables.values() for rows in (each.keys, each.values)
        )

    def glance(self, known: HostState, interfaces: Set[str]) -> HostState:
        """See Datapath."""
        live = self.read()

        return replace(
            known,
            links=_merged(live.links, known.links, interfaces),
            interfaces=_merged(live.interfaces, known.interfaces, interfaces),
        )

    def apply(self, plan: Plan, stopping: Stopping = never) -> Report:
        """See Datapath."""
        if plan.refused:
            raise ValueError("a refused plan is not carried out")
        check_capacity(plan, self._host, self._capacities)
        changed = plan.diff.tables.get("endpoints")
        if changed is not None:
            for slot in slots.fresh_counters(changed.desired, changed.live):
                self.counters.pop(slot, None)
        return carry_out(plan, self, stopping).report()

    def traffic(self) -> Traffic:
        """See Datapath."""
        taken = slots.counters_in_use(self._state.tables["endpoints"], self._owners())
        endpoints = {name: self.counters.get(slot, _NOTHING) for name, slot in taken.items()}
        others = fallbacks(self._state.links)
        counted = dict(sorted(endpoints.items()))
        return Traffic(dict(self.reasons), counted, self.lost, fallbacks=others)

    def prober(self, own: IPv4Address) -> MemoryProber:
        """See Datapath."""
        return MemoryProber(self)

    def remove(self) -> None:
        """See Datapath."""
        for each in self.read().interfaces:
            self.drop(each)
        self._state = HostState.empty(self._host)
        self.counters.clear()
        self.reasons.clear()
        self.lost = ()

    def resize(self, capacities: Mapping[str, int]) -> None:
        """Another configuration says how many rows maps are to hold."""
        self._capacities.update(capacities)

    def write(self, rows: Table) -> None:
        """See Target."""
        self.delete(rows)
        spec, rest = rows.spec, self._state.tables[rows.spec.name]
        keys, values = (
            join(spec.key, [rest.keys, rows.keys]),
            join(spec.value, [rest.values, rows.values]),
        )
        self._state = self._state.with_tables({spec.name: Table.make(spec, keys, values)})

    def delete(self, rows: Table) -> None:
        """See Target."""
        table = self._state.tables[rows.spec.name]
        place, present = locate(rows, table)
        kept = np.ones(len(table), np.bool_)
        kept[place[present]] = False
        self._state = self._state.with_tables({table.spec.name: table.take(kept)})

    def put(self, item: Item) -> str:
        """See Target."""
        if isinstance(item, Interface):
            self._make(item)
        elif isinstance(item, Link):
            item = self._attached(item)
        self._replace(item, keep=True)
        return item.fallback if isinstance(item, Link) else ""

    def drop(self, item: Item) -> None:
        """See Target."""
        self._replace(item, keep=False)
        if isinstance(item, Interface) and item.kind is not InterfaceKind.EXISTING:
            self.around.devices.pop(item.name, None)

    def _make(self, item: Interface) -> None:
        missing = self._missing(item)
        if missing:
            raise TransientError(f"waits for {missing}")
        device = self.around.devices.get(item.name)
        if item.kind is InterfaceKind.EXISTING:
            if device is None:
                raise TransientError(f"interface {item.name} does not exist")
            return
        self.around.namespaces.add(item.netns)
        if device is not None and item.name not in {each.name for each in self._state.interfaces}:
            raise HostError(f"interface {item.name} exists and is not ours; rename or delete it")
        if device is None:
            self._ifindex += 1
            device = Device(self._ifindex, b"\2\0\0\0\0\1", item.mtu, True)
        self.around.devices[item.name] = replace(device, mtu=item.mtu)

    def _missing(self, item: Interface) -> str:
        if item.kind is InterfaceKind.EXISTING or not item.netns:
            return ""
        can_make = self._create_netns and not item.netns.startswith("/")
        if item.netns not in self.around.namespaces and not can_make:
            return f"network namespace {item.netns}"
        if (item.netns, item.peer) in self.around.taken:
            return (
                f"the name {item.peer} in network namespace {item.netns}, "
                f"which another interface has"
            )
        return ""

    def _attached(self, item: Link) -> Link:
        if item.interface not in self.around.devices:
            raise TransientError(f"interface {item.interface} does not exist")
        if item.program not in {each.name for each in self._state.programs}:
            raise TransientError(f"program {item.program} is not loaded")
        if item.interface in self.around.no_native:
            return replace(item, fallback="runs in generic mode: native is refused")
        return replace(item, fallback="")

    def _replace(self, item: Item, *, keep: bool) -> None:
        def changed(held: tuple[Kind, ...], new: Kind) -> tuple[Kind, ...]:
            found = [each for each in held if item_name(each) != item_name(new)]
            if keep:
                found.append(new)
            return tuple(sorted(found, key=item_name))

        state = self._state
        if isinstance(item, Program):
            self._state = replace(state, programs=changed(state.programs, item))
        elif isinstance(item, Link):
            self._state = replace(state, links=changed(state.links, item))
        elif isinstance(item, Shape):
            self._state = replace(state, maps=changed(state.maps, item))
        else:
            self._state = replace(state, interfaces=changed(state.interfaces, item))

    def _owners(self) -> dict[int, str]:
        def owners() -> Iterator[tuple[int, str]]:
            for each in self._state.interfaces:
                if each.name in self.around.devices:
                    yield self.around.devices[each.name].ifindex, each.endpoint

        return dict(owners())


def _merged(now: tuple[Kind, ...], before: tuple[Kind, ...], names: Set[str]) -> tuple[Kind, ...]:
    """`before`, but what has these names as it is now."""
    by_name: dict[str, Kind] = {
        item_name(each): each for each in before if item_name(each) not in names
    }
    by_name.update({item_name(each): each for each in now if item_name(each) in names})
    return tuple(by_name[name] for name in sorted(by_name))
