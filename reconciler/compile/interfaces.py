"""The interfaces of a host's endpoints: a veth's end as it looks inside, or whose a device is."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.overview import Overview
from reconciler.compile.state import AttachMode, Interface, InterfaceKind, Route
from reconciler.model.mac import format_mac
from reconciler.model.names import interface_name, peer_name
from reconciler.model.topology import Address, AttachKind, Cidr, Network, unpacked


def interfaces(overview: Overview, host: int) -> tuple[Interface, ...]:
    """One for each endpoint of the host, sorted by name."""
    points = overview.topology.endpoints
    mine, held = overview.endpoints.of(host).tolist(), overview.local.of(host).tolist()
    addresses: dict[int, list[Address]] = {each: [] for each in mine}
    for index in held:
        address = unpacked(points.address[index].tobytes())
        addresses[int(points.address_owner[index])].append(address)
    offloads = overview.topology.hosts[host].attach_mode == AttachMode.TC
    return tuple(sorted(_interface(overview, each, addresses[each], offloads) for each in mine))


def _interface(
    overview: Overview, endpoint: int, addresses: list[Address], offloads: bool
) -> Interface:
    topology = overview.topology
    points, name = topology.endpoints, topology.endpoints.names[endpoint]
    network = topology.networks[points.network[endpoint]]
    vpc = topology.vpcs[network.vpc]
    attachment = topology.attachments[points.attachment[endpoint]]
    if attachment.kind is AttachKind.INTERFACE:
        return Interface(
            attachment.interface, name, InterfaceKind.EXISTING, vpc.vni, network.number
        )
    if attachment.kind is AttachKind.TAP:
        return Interface(
            attachment.interface or interface_name(name),
            name,
            InterfaceKind.TAP,
            vpc.vni,
            network.number,
        )
    placed = [(address, *_around(network, address)) for address in addresses]
    if attachment.kind is AttachKind.HOST:
        netns, peer = "", peer_name(name)
        routes = set(_routes_to(vpc.cidrs, placed))
    else:
        netns, peer = attachment.netns or name.replace("/", "."), attachment.interface
        routes = set(_default_routes(placed))
    return Interface(
        interface_name(name),
        name,
        InterfaceKind.VETH,
        vpc.vni,
        network.number,
        netns,
        peer,
        format_mac(points.mac[endpoint].tobytes()),
        addresses=tuple(sorted(f"{address}/{cidr.prefixlen}" for address, cidr, _ in placed)),
        routes=tuple(sorted(routes)),
        offloads=offloads,
    )


Placed = list[tuple[Address, Cidr, Address]]  # address, the CIDR around it, its gateway


def _around(network: Network, address: Address) -> tuple[Cidr, Address]:
    """The CIDR of the network that holds the address, and the gateway in it."""
    pairs = zip(network.cidrs, network.gateways, strict=True)
    return next((cidr, gateway) for cidr, gateway in pairs if address in cidr)


def _default_routes(placed: Placed) -> Iterator[Route]:
    """One for each family, by the gateway of its first address."""
    gateways: dict[int, Address] = {}
    for address, _, gateway in placed:
        gateways.setdefault(address.version, gateway)
    return (Route("default", str(gateway)) for gateway in gateways.values())


def _routes_to(cidrs: tuple[Cidr, ...], placed: Placed) -> Iterator[Route]:
    """To the VPC and nowhere else; what the addresses' own prefixes reach already needs none."""
    own = {cidr for _, cidr, _ in placed}
    gateways = {each.version: gateway for each, _, gateway in reversed(placed)}
    for cidr in cidrs:
        if cidr not in own and cidr.version in gateways:
            yield Route(str(cidr), str(gateways[cidr.version]))
