"""The networks table: on the dividers of a VPC, which of its networks holds an address."""

from __future__ import annotations

import numpy as np

from reconciler.abi.generated import MAPS
from reconciler.abi.table import Table, zeros
from reconciler.compile.origins import Numbering
from reconciler.compile.overview import Overview
from reconciler.model.topology import packed

SPEC = MAPS["networks"]
VNI_BITS = 32  # they come before the address in the key of the longest-prefix match
MAPPED_BITS = 96  # an IPv4 prefix counts from the end of ::ffff:0:0/96


def networks(overview: Overview, host: int) -> Table:
    """One row for each CIDR of the networks of the VPCs divided here."""
    pairs = [
        (index, cidr)
        for index in overview.networks.of_all(overview.divided.of(host)).tolist()
        for cidr in overview.topology.networks[index].cidrs
    ]
    chosen = np.array([index for index, _ in pairs], np.intp)
    octets = b"".join(packed(cidr.network_address) for _, cidr in pairs)
    keys, values = zeros(SPEC.key, len(pairs)), zeros(SPEC.value, len(pairs))
    keys["prefix_length"] = [
        VNI_BITS + cidr.prefixlen + (MAPPED_BITS if cidr.version == 4 else 0) for _, cidr in pairs
    ]
    keys["vni"] = overview.vni[chosen]
    keys["address"] = np.frombuffer(octets, np.uint8).reshape(-1, 16)
    values["number"] = overview.number[chosen]
    origins = Numbering(overview.topology).networks + chosen
    return Table.make(SPEC, keys, values, origins.astype(np.int32))
