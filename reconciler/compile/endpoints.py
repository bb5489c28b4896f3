"""The endpoints table: local endpoints, their gateways, and on bouncers all of their networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS, EndpointFlag
from reconciler.abi.table import Rows, Table, join, raw, zeros
from reconciler.compile.origins import Numbering
from reconciler.compile.overview import Overview
from reconciler.model.mac import ROUTER_MAC
from reconciler.model.topology import packed

SPEC = MAPS["endpoints"]


def endpoints(overview: Overview, host: int) -> Table:
    """Local, remote and gateway rows of one host. Remote rows say host and network only, but for
    endpoints of foreign hosts, for which this bouncer does what their own host cannot."""
    local = overview.local.of(host)
    members = overview.members.of_all(overview.bounced.of(host))
    remote = members[overview.address_host[members] != host]
    foreign = ~overview.managed[overview.address_host[remote]]
    described = np.concatenate([local, remote[foreign]])
    gateways = _gateways(overview, host)
    addresses = _addresses(overview, np.concatenate([described, remote[~foreign]]))
    _describe(overview, addresses, described)
    addresses.values["flags"][: len(described)] = EndpointFlag.FOREIGN
    addresses.values["flags"][: len(local)] = EndpointFlag.LOCAL
    return Table.make(
        SPEC,
        join(SPEC.key, [addresses.keys, gateways.keys]),
        join(SPEC.value, [addresses.values, gateways.values]),
        np.concatenate([addresses.origins, gateways.origins]),
    )


def moved(overview: Overview, keys: Rows, host: int) -> Table:
    """Of the addresses of `keys`, endpoints of that host once, those that others have now: as a
    bouncer knows them."""
    where = overview.address_host
    here = np.isin(overview.vni[overview.address_network], np.unique(keys["vni"]))
    found = _addresses(overview, np.flatnonzero(here & (where != host) & overview.managed[where]))
    found = found.take(np.isin(raw(found.keys), raw(keys)))
    return Table.make(SPEC, found.keys, found.values, found.origins)


def _addresses(overview: Overview, chosen: NDArray[np.intp]) -> Table:
    """Rows of the chosen addresses as a remote host knows them, in the given order."""
    points = overview.topology.endpoints
    network = overview.address_network[chosen]
    keys, values = zeros(SPEC.key, len(chosen)), zeros(SPEC.value, len(chosen))
    keys["vni"] = overview.vni[network]
    keys["address"] = points.address[chosen]
    values["host"] = overview.underlay[overview.address_host[chosen]]
    values["network"] = overview.number[network]
    return Table(SPEC, keys, values, points.address_owner[chosen])


def _describe(overview: Overview, rows: Table, mine: NDArray[np.intp]) -> None:
    """Add to the first rows what only the endpoint's own host needs, or the one in its place."""
    points = overview.topology.endpoints
    owner = points.address_owner[mine]
    rows.values["mac"][: len(mine)] = points.mac[owner]
    rows.values["identity"][: len(mine)] = points.identity[owner]


def _gateways(overview: Overview, host: int) -> Table:
    """The virtual router's addresses in the networks of the host's endpoints."""
    pairs = [
        (network, packed(gateway))
        for network in overview.networks_of(host).tolist()
        for gateway in overview.topology.networks[network].gateways
    ]
    network = np.array([index for index, _ in pairs], np.intp)
    keys, values = zeros(SPEC.key, len(pairs)), zeros(SPEC.value, len(pairs))
    keys["vni"] = overview.vni[network]
    keys["address"] = np.frombuffer(b"".join(octets for _, octets in pairs), np.uint8).reshape(
        -1, 16
    )
    values["host"] = overview.underlay[host]
    values["mac"] = np.frombuffer(ROUTER_MAC, np.uint8)
    values["network"] = overview.number[network]
    values["flags"] = EndpointFlag.GATEWAY
    return Table(
        SPEC, keys, values, (Numbering(overview.topology).networks + network).astype(np.int32)
    )
