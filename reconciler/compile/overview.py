"""Overview: what more than one host needs to know of a topology, worked out once.

Placement of roles, and who is where as arrays; the feature modules cut each host's rows from it.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        hosts, networks = len(topology.hosts), len(topology.networks)
        points = topology.endpoints
        vpc_of = np.array([each.vpc for each in topology.networks], np.int32)
        vnis = np.array([each.vni for each in topology.vpcs], np.uint32)
        bouncers, dividers = placement.bouncers(topology), placement.dividers(topology)
        address_host = points.host[points.address_owner]
        address_network = points.network[points.address_owner]
        return cls(
            topology,
            np.array([int(each.underlay) for each in topology.hosts], np.uint32),
            np.array([each.managed for each in topology.hosts], np.bool_),
            vnis[vpc_of],
            np.array([each.number for each in topology.networks], np.uint32),
            bouncers,
            dividers,
            Groups.inverse(bouncers, hosts),
            Groups.inverse(dividers, hosts),
            Groups.by(vpc_of, len(topology.vpcs)),
            Groups.by(points.host, hosts),
            address_host,
            address_network,
            Groups.by(address_host, hosts),
            Groups.by(address_network, networks),
        )

    def networks_of(self, host: int) -> NDArray[np.int32]:
        """The networks that have endpoints on a host."""
        return np.unique(self.topology.endpoints.network[self.endpoints.of(host)])
