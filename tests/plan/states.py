"""Host states for tests: made by hand, or drawn so that every entry refers to one that is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from reconciler.abi.generated import MAPS, EndpointFlag
from reconciler.abi.table import Table, zeros
from reconciler.compile.state import HostName, HostState, Interface, InterfaceKind, Link, Program

HOST = HostName("edge-1")
FIRST_INDEX = 100  # interface rv3 has index 103


def table(
    name: str, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], origin: int = -1
) -> Table:
    """Rows of (key columns, value columns); columns that are left out are zero."""
    spec = MAPS[name]
    keys, values = zeros(spec.key, len(rows)), zeros(spec.value, len(rows))
    for number, (key, value) in enumerate(rows):
        for column, cell in key.items():
            keys[column][number] = cell
        for column, cell in value.items():
            values[column][number] = cell
    return Table.make(spec, keys, values, np.full(len(rows), origin, np.int32))


def overlay(last: int) -> list[int]:
    """10.0.x.y as the 16 bytes of an overlay address."""
    return [0] * 10 + [255, 255, 10, 0, last >> 8, last & 255]


def endpoints(count: int, *, first: int = 0, vni: int = 1, **columns: Any) -> Table:
    """`count` endpoints with consecutive addresses."""
    key = [{"vni": vni, "address": overlay(each)} for each in range(first, first + count)]
    return table("endpoints", [(each, {"identity": 7, **columns}) for each in key])


def state(*tables: Table, **items: Any) -> HostState:
    """A host with these tables, the others empty."""
    empty = HostState.empty(HOST)
    return HostState(HOST, {**empty.tables, **{each.spec.name: each for each in tables}}, **items)


def _set(hosts: Sequence[int]) -> dict[str, Any]:
    filled = [*sorted(hosts), *[0] * 8][:8]
    slots = [each % 50 for each in filled]
    return {"count": len(hosts), "host": filled, "host_slot": slots}


@st.composite
def closed_states(draw: st.DrawFn) -> HostState:
    """States in which nothing refers to a missing entry; two of them have much in common."""
    small = st.integers(0, 1)
    addresses = draw(st.lists(st.integers(1, 6), min_size=1, unique=True))
    uplinks = draw(st.lists(st.integers(0, 2), min_size=1, unique=True))
    networks = draw(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 4)), unique=True))
    some = st.lists(st.sampled_from(addresses), min_size=1, max_size=4, unique=True)
    devices = draw(st.lists(st.integers(1, 5), unique=True)) if networks else []
    owned = {each: draw(st.sampled_from(networks)) for each in devices}
    points = []
    for vni, last in draw(
        st.lists(st.tuples(st.integers(1, 2), st.integers(1, 8)), unique=True)
        if networks
        else st.just([])
    ):
        value = {"host": draw(st.sampled_from(addresses)), "identity": draw(small)}
        value |= {"network": draw(st.sampled_from(networks))[1]}
        value["host_slot"] = value["host"]
        if devices and draw(st.booleans()):
            device = draw(st.sampled_from(devices))
            value |= {"flags": EndpointFlag.LOCAL, "ifindex": FIRST_INDEX + device}
        points.append(({"vni": vni, "address": overlay(last)}, value))
    mtu = draw(st.sampled_from([1438, 8938]))
    return state(
        table("uplinks", [({"index": i}, {"ifindex": i + 1, "mtu": 1500}) for i in uplinks]),
        table("uplink_macs", [({"index": i}, {"valid": 1}) for i in uplinks]),
        table(
            "next_hops",
            [
                ({"index": each}, {"mac": [2, 0, 0, 0, draw(small), each], "uplink": uplinks[0]})
                for each in addresses
            ],
        ),
        table("hosts", [({"address": each}, {"slot": each}) for each in addresses]),
        table("dividers", [({"vni": v}, _set(draw(some))) for v in {vni for vni, _ in networks}]),
        table("bouncers", [({"vni": v, "network": n}, _set(draw(some))) for v, n in networks]),
        table(
            "networks",
            [
                ({"prefix_length": 152, "vni": v, "address": overlay(n)}, {"number": n})
                for v, n in networks
            ],
        ),
        table("routers", [({"vni": v, "network": n}, {"ipv4": draw(small)}) for v, n in networks]),
        table(
            "interfaces",
            [
                ({"ifindex": FIRST_INDEX + d}, {"vni": v, "network": n})
                for d, (v, n) in owned.items()
            ],
        ),
        table("endpoints", points),
        programs=(Program("access", bytes(12)), Program("transit", bytes([draw(small)] * 12))),
        links=(
            Link("eth0", "transit"),
            *(Link(f"rv{d}", "access") for d in sorted(devices) if draw(st.booleans())),
        ),
        interfaces=tuple(
            Interface(f"rv{d}", f"shop/web-{d}", InterfaceKind.VETH, *owned[d], mtu=mtu)
            for d in sorted(devices)
        ),
    )


def dangling(found: HostState) -> Iterator[str]:
    """Every entry that refers to a missing one."""
    rows = found.tables
    hosts = set(rows["hosts"].keys["address"].tolist())
    hops = set(rows["next_hops"].keys["index"].tolist())
    networks = {tuple(each) for each in rows["bouncers"].keys.tolist()}
    numbers = {number for _, number in networks}
    owners = set(rows["interfaces"].keys["ifindex"].tolist())
    devices = {each.name for each in found.interfaces}
    programs = {each.name for each in found.programs}
    uplinks = set(rows["uplinks"].keys["index"].tolist())
    uplinks &= set(rows["uplink_macs"].keys["index"].tolist())
    for hop in rows["next_hops"].values.tolist():
        if hop[1] not in uplinks:
            yield f"next hop -> uplink {hop[1]}"
    for slot in rows["hosts"].values["slot"].tolist():
        if slot not in hops:
            yield f"host -> next hop {slot}"
    for name in ("dividers", "bouncers"):
        for row in rows[name].values:
            members = row["host"][: row["count"]].tolist()
            slots = row["host_slot"][: row["count"]].tolist()
            yield from (f"{name} -> host {each}" for each in members if each not in hosts)
            yield from (f"{name} -> next hop {each}" for each in slots if each not in hops)
    for key, value in zip(rows["networks"].keys, rows["networks"].values, strict=True):
        if (int(key["vni"]), int(value["number"])) not in networks:
            yield f"network -> bouncers {value['number']}"
    for value in rows["interfaces"].values.tolist():
        if value not in networks:
            yield f"interface -> bouncers {value}"
    for value in rows["endpoints"].values:
        if int(value["host"]) not in hosts or int(value["host_slot"]) not in hops:
            yield f"endpoint -> host {value['host']}"
        if int(value["network"]) not in numbers:
            yield f"endpoint -> bouncers {value['network']}"
        if value["flags"] & EndpointFlag.LOCAL:
            if int(value["ifindex"]) not in owners:
                yield f"endpoint -> interface {value['ifindex']}"
            if f"rv{value['ifindex'] - FIRST_INDEX}" not in devices:
                yield f"endpoint -> device {value['ifindex']}"
    for link in found.links:
        if link.program not in programs:
            yield f"link {link.interface} -> program {link.program}"
        if link.program == "access":
            if link.interface not in devices:
                yield f"link -> device {link.interface}"
            if FIRST_INDEX + int(link.interface[2:]) not in owners:
                yield f"link -> interface row {link.interface}"
