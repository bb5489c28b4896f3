"""Next hops: where the kernel's routes and neighbours send packets for an underlay address.

Many requests a datagram: a host asks for hundreds at once; pyroute2 takes 0.5 ms each, this 0.04.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from reconciler.datapath import rtnetlink as rt

_STALE, _RESOLVING, _FAILED = 0x04, 0x01, 0x20
_LEARNED = 0x02 | 0x04 | 0x08 | 0x10  # reachable, stale, delay, probe: by asking for it
_AT_ONCE = 64  # requests a datagram: their answers fit the socket's buffer


@dataclass(frozen=True, slots=True)
class Way:
    """A route's answer: the gateway, or the address itself if it is on the link."""

    gateway: IPv4Address
    ifindex: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbour of an interface; `mac` is empty while it is not known.

    `learned`: the kernel asked for it, rather than being told by an operator or a routing daemon.
    """

    mac: bytes
    learned: bool = False
    stale: bool = False
    resolving: bool = False
    failed: bool = False


@dataclass(slots=True)
class Before:
    """The next hops of a moment ago, as they were used."""

    ways: dict[IPv4Address, Way] = field(default_factory=dict)
    macs: dict[Way, bytes] = field(default_factory=dict)

    def of(self, address: IPv4Address, way: Way) -> tuple[Way, bytes]:
        """That way, or else the one that this address had; no MAC if neither was known."""
        used = way if way in self.macs else self.ways.get(address, way)
        return used, self.macs.get(used, b"")


def find_ways(route: rt.Socket, addresses: Iterable[IPv4Address]) -> dict[IPv4Address, Way]:
    """The route of each address that has one."""
    wanted, found = list(addresses), {}
    body = rt.ROUTE.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    for start in range(0, len(wanted), _AT_ONCE):
        asked = wanted[start : start + _AT_ONCE]
        requests = [body + rt.attribute(rt.RTA_DST, each.packed) for each in asked]
        for index, answer in route.ask(rt.GETROUTE, rt.REQUEST, requests):
            if answer.kind != rt.NEWROUTE or rt.ROUTE.unpack_from(answer.body)[7] != rt.RTN_UNICAST:
                continue
            fields = rt.attributes(answer.body, rt.ROUTE.size)
            gateway = IPv4Address(fields.get(rt.RTA_GATEWAY, asked[index].packed))
            if rt.RTA_OIF in fields:
                found[asked[index]] = Way(gateway, rt.number(fields[rt.RTA_OIF]))
    return found


def find_neighbours(route: rt.Socket) -> dict[tuple[int, IPv4Address], Neighbour]:
    """Every IPv4 neighbour, by interface index and address."""
    found = {}
    for answer in route.dump(rt.GETNEIGH, rt.NEIGHBOUR.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0)):
        _, _, _, ifindex, state, flags, _ = rt.NEIGHBOUR.unpack_from(answer.body)
        learned = bool(state & _LEARNED) and not flags & rt.NTF_EXT_LEARNED
        fields = rt.attributes(answer.body, rt.NEIGHBOUR.size)
        mac = fields.get(rt.NDA_LLADDR, b"") if state & rt.VALID else b""
        if rt.NDA_DST in fields:
            found[ifindex, IPv4Address(fields[rt.NDA_DST])] = Neighbour(
                mac,
                learned,
                bool(state & _STALE),
                bool(state & _RESOLVING),
                bool(state & _FAILED),
            )
    return found


def resolve(route: rt.Socket, wanted: Iterable[Way]) -> None:
    """Have the kernel look up, or confirm, the MACs of gateways, as if a packet went there.

    A refusal shows as a neighbour that stays unknown.
    """
    _tell(route, rt.NEWNEIGH, rt.CREATE, rt.NTF_USE, wanted)


def ask_anew(addresses: Iterable[IPv4Address]) -> None:
    """Have the kernel ask everybody on the link who the next hops of these addresses are.

    By itself it takes a MAC that it confirmed for good for up to 45 s, asks that MAC alone after 5
    more, and gives it up after 3 (arp(7)). So forget what it learned: it asks at once, keeps its
    own packets back for the moment that an answer takes, and next_hops() goes on with the MAC.
    """
    with rt.Socket() as route:
        ways = set(find_ways(route, addresses).values())
        known = find_neighbours(route) if ways else {}
        doubted = [
            way for way in ways if (each := known.get((way.ifindex, way.gateway))) and each.learned
        ]
        _tell(route, rt.DELNEIGH, 0, 0, doubted)
        resolve(route, doubted)


def _tell(route: rt.Socket, kind: int, how: int, flags: int, ways: Iterable[Way]) -> None:
    """A message about the neighbour of each; what becomes of it shows when they are read."""
    bodies = [
        rt.NEIGHBOUR.pack(socket.AF_INET, 0, 0, way.ifindex, 0, flags, 0)
        + rt.attribute(rt.NDA_DST, way.gateway.packed)
        for way in ways
    ]
    for start in range(0, len(bodies), _AT_ONCE):
        some = bodies[start : start + _AT_ONCE]
        list(route.ask(kind, rt.REQUEST | rt.ACK | how, some))


def next_hops(
    addresses: Iterable[IPv4Address], uplinks: Mapping[int, str], before: Before
) -> dict[IPv4Address, tuple[bytes, str]]:
    """(MAC, uplink) of each address whose way out is an uplink and whose next hop is known.

    `uplinks` are names by interface index. What is not known, or was not confirmed for a while, the
    kernel is asked to look up; the answer is an event. It forgets neighbours that the stack does
    not use, and does not know a router that a route names for the first time: until it says that
    one does not answer, `before` holds, which this replaces.
    """
    with rt.Socket() as route:
        ways = {
            to: way for to, way in find_ways(route, addresses).items() if way.ifindex in uplinks
        }
        neighbours = find_neighbours(route) if ways else {}
        after, unsure = Before(), set()
        for address, way in ways.items():
            known = neighbours.get((way.ifindex, way.gateway), Neighbour(b""))
            used, mac = (way, known.mac) if known.mac or known.failed else before.of(address, way)
            if len(mac) == 6 and used.ifindex in uplinks:
                after.ways[address], after.macs[used] = used, mac
            if known.stale or not (known.mac or known.resolving):
                unsure.add(way)
        resolve(route, unsure)
    before.ways, before.macs = after.ways, after.macs
    return {to: (after.macs[way], uplinks[way.ifindex]) for to, way in after.ways.items()}
