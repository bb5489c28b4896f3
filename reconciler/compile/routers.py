"""The routers table: from which addresses the virtual router speaks in the networks of a host."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS
from reconciler.abi.table import Table, zeros
from reconciler.compile.origins import Numbering
from reconciler.compile.overview import Overview
from reconciler.model.topology import packed

SPEC = MAPS["routers"]


def routers(overview: Overview, host: int) -> Table:
    """One row for each network with endpoints here."""
    return routers_of(overview, host, overview.networks_of(host))


def routers_of(overview: Overview, _: int, present: NDArray[np.int32]) -> Table:
    """The same for a host on which the `present` networks have endpoints."""
    chosen = np.unique(present)
    keys, values = zeros(SPEC.key, len(chosen)), zeros(SPEC.value, len(chosen))
    keys["vni"] = overview.vni[chosen]
    keys["network"] = overview.number[chosen]
    for row, index in enumerate(chosen.tolist()):
        gateways = overview.topology.networks[index].gateways
        for family, column in ((4, "ipv4"), (6, "ipv6")):
            first = next((each for each in gateways if each.version == family), None)
            if first is not None and family == 4:
                values[column][row] = int(first)
            elif first is not None:
                values[column][row] = np.frombuffer(packed(first), np.uint8)
    origins = Numbering(overview.topology).networks + chosen
    return Table.make(SPEC, keys, values, origins.astype(np.int32))
