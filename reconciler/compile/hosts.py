"""The hosts table: every host of the cluster, whose underlay address every host believes."""

from __future__ import annotations

import numpy as np

from reconciler.abi.generated import MAPS, HostFlag
from reconciler.abi.table import Table, zeros
from reconciler.compile.origins import Numbering
from reconciler.compile.overview import Overview

SPEC = MAPS["hosts"]


def hosts(overview: Overview, host: int) -> Table:
    """One row for each host; this one is marked, and so are foreign ones."""
    known = overview.topology.hosts
    keys, values = zeros(SPEC.key, len(known)), zeros(SPEC.value, len(known))
    keys["address"] = overview.underlay
    values["flags"] = [0 if each.managed else HostFlag.FOREIGN for each in known]
    values["flags"][host] |= HostFlag.SELF
    origins = Numbering(overview.topology).hosts + np.arange(len(known), dtype=np.int32)
    return Table.make(SPEC, keys, values, origins)
