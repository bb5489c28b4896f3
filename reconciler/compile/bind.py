"""bind: a compiled HostState and the facts of its host -> what can be written now.

Rows that lack a fact are left out and reported as waiting: not written, not a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS, EndpointFlag, HostFlag, Wire
from reconciler.abi.table import Table, zeros
from reconciler.compile.check import fill_check
from reconciler.compile.facts import Facts
from reconciler.compile.origins import ENDPOINT
from reconciler.compile.programs import is_transit
from reconciler.compile.state import HostState, Interface, InterfaceKind

HOST_SLOT, COUNTER_SLOT, NEXT_HOP = "host slot", "counter slot", "next hop"
ETHERNET_MTU = 1500  # assumed of an underlay interface that is not there yet


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """A manifest, as in HostState.origins, and the fact that it waits for."""

    origin: str
    fact: str


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Host slots as arrays, to look up many underlay addresses at once."""

    addresses: NDArray[np.uint32]  # ascending
    slots: NDArray[np.int64]

    @classmethod
    def of(cls, facts: Facts) -> Slots:
        """Of facts."""
        pairs = sorted((int(address), slot) for address, slot in facts.host_slots.items())
        return cls(
            np.array([address for address, _ in pairs], np.uint32),
            np.array([slot for _, slot in pairs], np.int64),
        )

    def find(self, addresses: NDArray[np.uint32]) -> NDArray[np.int64]:
        """The slot of each address in any shape, -1 where there is none."""
        found = np.full(addresses.shape, -1, np.int64)
        if len(self.addresses):
            wanted = addresses.astype(np.uint32)
            place = np.minimum(np.searchsorted(self.addresses, wanted), len(self.addresses) - 1)
            known = self.addresses[place] == wanted
            found[known] = self.slots[place[known]]
        return found


@dataclass(frozen=True, slots=True)
class Bound:
    """What can be written now, and what waits; `waiting` is sorted.

    `source` and `facts` are what it was made of; `waits` is what waits, by table.
    """

    state: HostState
    waiting: tuple[Waiting, ...]
    source: HostState = field(compare=False, repr=False)
    facts: Facts = field(compare=False, repr=False)
    waits: Mapping[str, Set[Waiting]] = field(compare=False, repr=False)
    slots: Slots = field(compare=False, repr=False)


def bind(state: HostState, facts: Facts, before: Bound | None = None) -> Bound:
    """Fill in every fact; keeps no reference to arrays of `state` that it changes.

    Tables that are as they were `before`, and whose facts are the same objects, are taken over.
    """
    same_slots = before is not None and facts.host_slots is before.facts.host_slots
    slots = before.slots if before is not None and same_slots else Slots.of(facts)
    made, waits = _kept(state, facts, before)

    def bound(name: str, make: Callable[[set[Waiting]], Table]) -> None:
        if name in made:
            return
        table = make(waits.setdefault(name, set()))
        if "check" in table.spec.value.facts:
            table = replace(table, values=fill_check(table.keys, table.values))
        made[name] = table

    bound("endpoints", lambda waiting: _endpoints(state, facts, slots, waiting))
    bound("bouncers", lambda waiting: _sets(state, "bouncers", slots, waiting))
    bound("dividers", lambda waiting: _sets(state, "dividers", slots, waiting))
    bound("hosts", lambda waiting: _hosts(state, slots, waiting))
    bound("next_hops", lambda waiting: _next_hops(state, made["hosts"], facts, waiting))
    bound("interfaces", lambda _: _interfaces(state, facts))
    uplinks: list[Table] = list(_uplinks(state, facts, waits.setdefault("uplinks", set())))
    bound("uplinks", lambda _: uplinks[0])
    bound("uplink_macs", lambda _: uplinks[1])
    for name, table in state.tables.items():
        bound(name, lambda _, table=table: table)  # type: ignore[misc]
    tables = {name: made[name] for name in {**state.tables, **made}}
    absent = _absent(state, facts)
    filled = replace(
        state,
        tables=tables,
        programs=tuple(
            replace(each, digest=facts.objects.get(each.name, "")) for each in state.programs
        ),
        links=tuple(link for link in state.links if link.interface not in absent),
        interfaces=tuple(_sized(state.interfaces, absent, facts)),
        maps=facts.maps,
    )
    everything = {each for table in waits.values() for each in table}
    return Bound(filled, tuple(sorted(everything)), state, facts, waits, slots)


def _kept(
    state: HostState, facts: Facts, before: Bound | None
) -> tuple[dict[str, Table], dict[str, set[Waiting]]]:
    """The tables of `before` that binding would give again, and what waits in them."""
    tables: dict[str, Table] = {}
    waits: dict[str, set[Waiting]] = {}
    if before is None or facts.host_slots is not before.facts.host_slots:
        return tables, waits
    same = {n for n, table in state.tables.items() if table == before.source.tables.get(n)}
    names = list(_BY_HOST_SLOTS & same)
    hops = facts.next_hops is before.facts.next_hops and facts.uplinks == before.facts.uplinks
    if "hosts" in same and hops:
        names.append("next_hops")
    for name in names:
        tables[name] = _moved(before.state.tables[name], before.source.origins, state.origins)
        waits[name] = set(before.waits.get(name, ()))
    return tables, waits


_BY_HOST_SLOTS = {"bouncers", "dividers", "hosts"}


def _moved(table: Table, before: tuple[str, ...], now: tuple[str, ...]) -> Table:
    """The table with its origins among other texts."""
    if before is now:
        return table
    places = {text: number for number, text in enumerate(now)}
    numbers = np.array([*(places.get(text, -1) for text in before), -1], np.int32)
    return replace(table, origins=numbers[table.origins])


def _endpoints(state: HostState, facts: Facts, slots: Slots, waiting: set[Waiting]) -> Table:
    table = state.tables["endpoints"]
    values = table.values.copy()
    host_slot = slots.find(values["host"])
    _wait(waiting, state, table.origins[host_slot < 0], HOST_SLOT)
    ready = host_slot >= 0
    values["host_slot"] = np.maximum(host_slot, 0)

    local = np.flatnonzero(values["flags"] & EndpointFlag.LOCAL)
    owners, owner = np.unique(table.origins[local], return_inverse=True)
    ends = {each.endpoint: each.name for each in state.interfaces}
    ifindex, counter = np.zeros(len(owners), np.int64), np.full(len(owners), -1, np.int64)
    for row, origin in enumerate(owners.tolist()):
        endpoint = _text(state, origin).removeprefix(ENDPOINT)
        name = ends.get(endpoint, "unknown")
        counter[row] = facts.counter_slots.get(endpoint, -1)
        if name in facts.devices and name not in facts.unready:
            ifindex[row] = facts.devices[name].ifindex
        else:
            fact = facts.unready.get(name, f"interface {name}")
            waiting.add(Waiting(_text(state, origin), fact))
    _wait(waiting, state, owners[counter < 0], COUNTER_SLOT)
    values["ifindex"][local] = ifindex[owner]
    values["counter"][local] = np.maximum(counter, 0)[owner]
    ready[local] &= ((ifindex > 0) & (counter >= 0))[owner]
    return replace(table, values=values).take(ready)


def _sets(state: HostState, name: str, slots: Slots, waiting: set[Waiting]) -> Table:
    table = state.tables[name]
    values = table.values.copy()
    used = np.arange(values["host"].shape[1]) < values["count"][:, np.newaxis]
    found = slots.find(values["host"])
    ready = np.all((found >= 0) | ~used, axis=1)
    _wait(waiting, state, table.origins[~ready], HOST_SLOT)
    values["host_slot"] = np.where(used, np.maximum(found, 0), 0)
    return replace(table, values=values).take(ready)


def _hosts(state: HostState, slots: Slots, waiting: set[Waiting]) -> Table:
    table = state.tables["hosts"]
    values = table.values.copy()
    found = slots.find(table.keys["address"])
    _wait(waiting, state, table.origins[found < 0], HOST_SLOT)
    values["slot"] = np.maximum(found, 0)
    return replace(table, values=values).take(found >= 0)


def _next_hops(state: HostState, hosts: Table, facts: Facts, waiting: set[Waiting]) -> Table:
    spec = MAPS["next_hops"]
    others = hosts.take(hosts.values["flags"] & HostFlag.SELF == 0)
    keys, values = zeros(spec.key, len(others)), zeros(spec.value, len(others))
    keys["index"] = others.values["slot"]
    ready = np.zeros(len(others), np.bool_)
    for row, address in enumerate(others.keys["address"].tolist()):
        hop = facts.next_hops.get(IPv4Address(address))
        if hop is not None and hop.uplink in facts.uplinks:
            values["mac"][row] = np.frombuffer(hop.mac, np.uint8)
            values["uplink"][row] = facts.uplinks.index(hop.uplink)
            ready[row] = True
    _wait(waiting, state, others.origins[~ready], NEXT_HOP)
    return Table.make(spec, keys[ready], values[ready], others.origins[ready])


def _interfaces(state: HostState, facts: Facts) -> Table:
    """Missing ones are reported with the endpoints' rows."""
    spec = MAPS["interfaces"]
    numbers = {text: number for number, text in enumerate(state.origins)}
    names = set(facts.devices) - set(facts.unready)
    present = [each for each in state.interfaces if each.name in names]
    keys, values = zeros(spec.key, len(present)), zeros(spec.value, len(present))
    keys["ifindex"] = [facts.devices[each.name].ifindex for each in present]
    values["vni"] = [each.vni for each in present]
    values["network"] = [each.network for each in present]
    origins = [numbers.get(ENDPOINT + each.endpoint, -1) for each in present]
    return Table.make(spec, keys, values, np.array(origins, np.int32))


def _uplinks(state: HostState, facts: Facts, waiting: set[Waiting]) -> tuple[Table, Table]:
    hosts = state.tables["hosts"]
    mine = hosts.origins[hosts.values["flags"] & HostFlag.SELF != 0]
    origin = int(mine[0]) if len(mine) else -1
    present = [(i, facts.devices[n]) for i, n in enumerate(facts.uplinks) if n in facts.devices]
    missing = {*facts.uplinks, *_underlay(state)} - set(facts.devices)
    for name in missing:
        waiting.add(Waiting(_text(state, origin), f"interface {name}"))
    interfaces, macs = MAPS["uplinks"], MAPS["uplink_macs"]
    keys = zeros(interfaces.key, len(present))
    values, mac_values = zeros(interfaces.value, len(present)), zeros(macs.value, len(present))
    for row, (index, device) in enumerate(present):
        keys["index"][row] = index
        values[row] = (device.ifindex, device.mtu)
        mac_values[row] = (np.frombuffer(device.mac, np.uint8), 1)
    origins = np.full(len(present), origin, np.int32)
    return Table.make(interfaces, keys, values, origins), Table.make(
        macs, keys.astype(macs.key.dtype), mac_values, origins
    )


def _sized(ends: Iterable[Interface], absent: set[str], facts: Facts) -> Iterable[Interface]:
    """With the MTU that fits the underlay once encapsulated; existing interfaces keep theirs."""
    known = [facts.devices[name].mtu for name in facts.uplinks if name in facts.devices]
    mtu = min(known, default=ETHERNET_MTU) - Wire.OVERHEAD
    for each in ends:
        if each.name in absent:
            continue
        if each.kind is not InterfaceKind.EXISTING:
            yield replace(each, mtu=mtu)
        else:
            yield each


def _absent(state: HostState, facts: Facts) -> set[str]:
    """Interfaces that are not there and that nobody here can make now."""
    strange = {each.name for each in state.interfaces if each.kind is InterfaceKind.EXISTING}
    return (strange.union(_underlay(state)) - set(facts.devices)) | set(facts.unready)


def _underlay(state: HostState) -> list[str]:
    return [link.interface for link in state.links if is_transit(link.program)]


def _wait(waiting: set[Waiting], state: HostState, origins: NDArray[np.int32], fact: str) -> None:
    waiting.update(Waiting(_text(state, each), fact) for each in np.unique(origins).tolist())


def _text(state: HostState, origin: int) -> str:
    return state.origins[origin] if origin >= 0 else f"Host {state.host}"
