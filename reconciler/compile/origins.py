"""Which manifest each row comes from: numbers while rows are made, texts once per host state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.table import Table
from reconciler.model.topology import Topology

ENDPOINT = "Endpoint "  # and "namespace/name"


@dataclass(frozen=True, slots=True)
class Numbering:
    """Origins of a topology, in the order of their texts: endpoints, hosts, networks, VPCs."""

    topology: Topology

    @property
    def hosts(self) -> int:
        """The number of the first host."""
        return len(self.topology.endpoints)

    @property
    def networks(self) -> int:
        """The number of the first network."""
        return self.hosts + len(self.topology.hosts)

    @property
    def vpcs(self) -> int:
        """The number of the first VPC."""
        return self.networks + len(self.topology.networks)

    def text(self, number: int) -> str:
        """`Endpoint shop/web-1`, `Host edge-1`, `Network shop/web`, `VPC shop/shop`."""
        if number < self.hosts:
            return ENDPOINT + self.topology.endpoints.names[number]
        if number < self.networks:
            return f"Host {self.topology.hosts[number - self.hosts].name}"
        if number < self.vpcs:
            network = self.topology.networks[number - self.networks]
            return f"Network {network.namespace}/{network.name}"
        vpc = self.topology.vpcs[number - self.vpcs]
        return f"VPC {vpc.namespace}/{vpc.name}"


def settle(
    numbering: Numbering, tables: Mapping[str, Table]
) -> tuple[dict[str, Table], tuple[str, ...]]:
    """The tables with origins that index only the texts in use here, and those texts."""
    none: NDArray[np.int32] = np.zeros(0, np.int32)
    used = np.unique(np.concatenate([none, *(table.origins for table in tables.values())]))
    settled = {
        name: Table(
            table.spec,
            table.keys,
            table.values,
            np.searchsorted(used, table.origins).astype(np.int32),
        )
        for name, table in tables.items()
    }
    return settled, tuple(numbering.text(number) for number in used.tolist())
