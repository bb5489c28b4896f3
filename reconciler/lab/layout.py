"""Host manifests -> Layout: which subnets, routers and cables the lab's underlay is made of.

Touches nothing; underlay.py builds what it says. Zones become routed subnets; zones whose addresses
are too mixed for that share one subnet.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from reconciler.compile.state import HostName
from reconciler.model.topology import Host

ROOMY = 24  # the subnet of a zone, unless its addresses need a wider or a narrower one
NAME_LIMIT = 15  # IFNAMSIZ - 1
BRIDGE, PORT = "z.", "h."  # how names of interfaces begin in the router's namespace


class LabError(Exception):
    """The lab cannot do what was asked; the message says what is wrong and the remedy."""


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth from a host's underlay interface to its switch in the router's namespace."""

    host: HostName
    managed: bool
    address: IPv4Address
    interface: str  # in the host's namespace, as its manifest says
    port: str  # in the router's namespace


@dataclass(frozen=True, slots=True)
class Segment:
    """One subnet: a switch (bridge) of the hosts of a zone; the router has `gateway` in it."""

    zones: tuple[str, ...]
    subnet: IPv4Network
    gateway: IPv4Address
    bridge: str
    cables: tuple[Cable, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole underlay, segments sorted by zone and cables by host."""

    segments: tuple[Segment, ...]

    @property
    def cables(self) -> tuple[Cable, ...]:
        """Every host's, sorted by host."""
        found = (cable for segment in self.segments for cable in segment.cables)
        return tuple(sorted(found, key=lambda cable: cable.host))


def short_name(prefix: str, name: str, limit: int = NAME_LIMIT) -> str:
    """`prefix` and `name`, or as much of it as fits with a digest of the whole; at most `limit`."""
    whole = prefix + name
    if len(whole) <= limit and all(33 <= ord(each) < 127 and each not in "/:" for each in name):
        return whole
    plain = "".join(each if each.isascii() and each.isalnum() else "-" for each in name)
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{(prefix + plain)[: limit - 7]}-{digest}"


def plan_underlay(hosts: Sequence[Host]) -> Layout:
    """The layout of `hosts`; LabError if there are none, or two share an address."""
    if not hosts:
        raise LabError("the repository has no Host; a lab needs at least one")
    by_address: dict[IPv4Address, Host] = {}
    by_zone: dict[str, list[Host]] = {}
    for host in sorted(hosts, key=lambda each: each.name):
        other = by_address.setdefault(host.underlay, host)
        if other is not host:
            raise LabError(f"hosts {other.name} and {host.name} share underlay {host.underlay}")
        by_zone.setdefault(host.zone, []).append(host)
    zones = {zone: [host.underlay for host in members] for zone, members in by_zone.items()}
    return Layout(
        tuple(
            _segment(names, subnet, [host for zone in names for host in by_zone[zone]])
            for names, subnet in subnets(zones)
        )
    )


def subnets(
    zones: Mapping[str, Sequence[IPv4Address]],
) -> list[tuple[tuple[str, ...], IPv4Network]]:
    """(zones, subnet) without overlap: /24 each, or as narrow as it gets, or shared by zones."""
    roomy = {zone: holding(addresses, ROOMY) for zone, addresses in zones.items()}
    if not _overlap(roomy.values()):
        return sorted(((zone,), subnet) for zone, subnet in roomy.items())
    groups: list[tuple[tuple[str, ...], IPv4Network]] = sorted(
        ((zone,), holding(addresses, 30)) for zone, addresses in zones.items()
    )
    while pair := _overlap(subnet for _, subnet in groups):
        merged = [group for group in groups if group[1] in pair]
        names = tuple(sorted(zone for names, _ in merged for zone in names))
        shared = holding([address for zone in names for address in zones[zone]], 30)
        groups = sorted([*(group for group in groups if group[1] not in pair), (names, shared)])
    return groups


def holding(addresses: Sequence[IPv4Address], longest: int) -> IPv4Network:
    """The longest prefix, at most `longest`, that holds all as hosts, and a router besides."""
    for length in range(longest, -1, -1):
        subnet = IPv4Network((addresses[0], length), strict=False)
        edges = {subnet.network_address, subnet.broadcast_address}
        held = all(each in subnet and each not in edges for each in addresses)
        if held and subnet.num_addresses - len(edges) > len(addresses):
            return subnet
    raise LabError(f"no subnet holds {addresses[0]} as the address of a host")


def _overlap(found: Iterable[IPv4Network]) -> tuple[IPv4Network, IPv4Network] | None:
    """The first two neighbours that overlap; sorted subnets overlap only if neighbours do."""
    ordered = sorted(found)
    for left, right in itertools.pairwise(ordered):
        if left.overlaps(right):
            return left, right
    return None


def _segment(zones: tuple[str, ...], subnet: IPv4Network, hosts: Sequence[Host]) -> Segment:
    """The highest free address is the router's, as on many a real subnet."""
    taken = {host.underlay for host in hosts}
    last = int(subnet.broadcast_address) - 1
    gateway = next(a for a in map(IPv4Address, range(last, 0, -1)) if a not in taken)
    cables = (
        Cable(
            HostName(host.name),
            host.managed,
            host.underlay,
            host.interface,
            short_name(PORT, host.name),
        )
        for host in hosts
    )
    return Segment(
        zones,
        subnet,
        gateway,
        short_name(BRIDGE, "+".join(zones)),
        tuple(sorted(cables, key=lambda cable: cable.host)),
    )
