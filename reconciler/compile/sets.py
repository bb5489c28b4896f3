"""The bouncers and dividers tables: which hosts serve a network, and a VPC."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS
from reconciler.abi.table import Rows, Table, zeros
from reconciler.compile.origins import Numbering
from reconciler.compile.overview import Overview
from reconciler.compile.placement import Chosen
from reconciler.model.topology import Topology


def bouncers(overview: Overview, host: int) -> Table:
    """Sets of the networks with endpoints here, bounced here, or of VPCs divided here."""
    return bouncers_of(overview, host, overview.networks_of(host))


def bouncers_of(overview: Overview, host: int, present: NDArray[np.int32]) -> Table:
    """The same for a host on which the `present` networks have endpoints."""
    chosen = np.unique(
        np.concatenate(
            [
                present,
                overview.bounced.of(host),
                overview.networks.of_all(overview.divided.of(host)),
            ]
        )
    )
    spec = MAPS["bouncers"]
    keys = zeros(spec.key, len(chosen))
    keys["vni"] = overview.vni[chosen]
    keys["network"] = overview.number[chosen]
    values = _sets(overview, overview.bouncers, chosen)
    origins = Numbering(overview.topology).networks + chosen
    return Table.make(spec, keys, values, origins.astype(np.int32))


def dividers(overview: Overview, host: int) -> Table:
    """Sets of the VPCs whose networks are bounced here."""
    networks = overview.topology.networks
    chosen = np.unique(
        np.array([networks[index].vpc for index in overview.bounced.of(host).tolist()], np.intp)
    )
    spec = MAPS["dividers"]
    keys = zeros(spec.key, len(chosen))
    keys["vni"] = [overview.topology.vpcs[index].vni for index in chosen.tolist()]
    values = _sets(overview, overview.dividers, chosen)
    origins = Numbering(overview.topology).vpcs + chosen
    return Table.make(spec, keys, values, origins.astype(np.int32))


def members_of(overview: Overview, keys: Table) -> list[frozenset[int]]:
    """Underlay addresses of the sets with the keys of a table of sets; none where there is none."""
    places: dict[tuple[int, ...], int]
    if keys.spec.name == "bouncers":
        pairs = zip(overview.vni.tolist(), overview.number.tolist(), strict=True)
        places, sets = {pair: place for place, pair in enumerate(pairs)}, overview.bouncers
    else:
        vpcs = enumerate(overview.topology.vpcs)
        places, sets = {(each.vni,): place for place, each in vpcs}, overview.dividers
    found = (places.get(tuple(key), -1) for key in keys.keys.tolist())
    return [
        frozenset(overview.underlay[sets[each]].tolist()) if each >= 0 else frozenset()
        for each in found
    ]


def vpcs_of(topology: Topology, bouncers: Table) -> dict[int, str]:
    """Of every VNI of a host's bouncers table, which no other table exceeds, whose it is."""
    names = {each.vni: f"{each.namespace}/{each.name}" for each in topology.vpcs}
    return {vni: names[vni] for vni in np.unique(bouncers.keys["vni"]).tolist()}


def _sets(overview: Overview, sets: Chosen, chosen: NDArray[np.intp]) -> Rows:
    """`struct host_set` of the chosen: underlay addresses ascending, then zeros."""
    values = zeros(MAPS["bouncers"].value, len(chosen))
    for row, index in enumerate(chosen.tolist()):
        members = np.sort(overview.underlay[sets[index]])
        values["count"][row] = len(members)
        values["host"][row, : len(members)] = members
    return values
