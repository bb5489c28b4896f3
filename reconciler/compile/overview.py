"""Overview: what more than one host needs to know of a topology, worked out once.

Placement of roles, and who is where as arrays; the feature modules cut each host's rows from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from reconciler.compile import placement
from reconciler.compile.groups import Groups
from reconciler.model.topology import Topology


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """H hosts, V VPCs, K networks, n endpoints with m addresses; numbers index the topology."""

    topology: Topology
    underlay: NDArray[np.uint32]  # (H,) as integers in the machine's order
    managed: NDArray[np.bool_]  # (H,)
    vni: NDArray[np.uint32]  # (K,) of each network's VPC
    number: NDArray[np.uint32]  # (K,)
    bouncers: placement.Chosen  # of each network
    dividers: placement.Chosen  # of each VPC
    bounced: Groups  # networks by bouncer
    divided: Groups  # VPCs by divider
    networks: Groups  # networks by VPC
    endpoints: Groups  # endpoints by host
    address_host: NDArray[np.int32]  # (m,)
    address_network: NDArray[np.int32]  # (m,)
    local: Groups  # addresses by host
    members: Groups  # addresses by network

    @classmethod
    def of(cls, topology: Topology) -> Overview:
        """Work it out."""
        hosts, networks, vpcs = topology.hosts, topology.networks, topology.vpcs
        vpc_of = np.array([each.vpc for each in networks], np.int32)
        vnis = np.array([each.vni for each in vpcs], np.uint32)
        bouncers, dividers = placement.bouncers(topology), placement.dividers(topology)
        return cls(
            topology,
            np.array([int(each.underlay) for each in hosts], np.uint32),
            np.array([each.managed for each in hosts], np.bool_),
            vnis[vpc_of],
            np.array([each.number for each in networks], np.uint32),
            bouncers,
            dividers,
            Groups.inverse(bouncers, len(hosts)),
            Groups.inverse(dividers, len(hosts)),
            Groups.by(vpc_of, len(vpcs)),
            **_of_endpoints(topology),
        )

    def among(self, topology: Topology) -> Overview:
        """The same hosts, VPCs and networks with other endpoints."""
        return replace(self, topology=topology, **_of_endpoints(topology))

    def networks_of(self, host: int) -> NDArray[np.int32]:
        """The networks that have endpoints on a host."""
        return np.unique(self.topology.endpoints.network[self.endpoints.of(host)])


class _OfEndpoints(TypedDict):
    endpoints: Groups
    address_host: NDArray[np.int32]
    address_network: NDArray[np.int32]
    local: Groups
    members: Groups


def _of_endpoints(topology: Topology) -> _OfEndpoints:
    """What depends on endpoints."""
    points, hosts = topology.endpoints, len(topology.hosts)
    host, network = points.host[points.address_owner], points.network[points.address_owner]
    return {
        "endpoints": Groups.by(points.host, hosts),
        "address_host": host,
        "address_network": network,
        "local": Groups.by(host, hosts),
        "members": Groups.by(network, len(topology.networks)),
    }
