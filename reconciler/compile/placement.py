"""Which hosts bounce a network and divide a VPC: weighted rendezvous hashing, spread over zones.

The choice depends on nothing but names, weights and zones, so it is the same on every host and
commit, and a host that comes or goes moves only its own share.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from reconciler.model.mix import mix64
from reconciler.model.roles import may_bounce, may_divide
from reconciler.model.topology import Host, Placement, Topology

Chosen = tuple[NDArray[np.int32], ...]  # per network or VPC: indices into Topology.hosts, ascending


def bouncers(topology: Topology) -> Chosen:
    """The hosts that bounce each network, in the order of Topology.networks."""
    keys = [f"bouncer {each.namespace}/{each.name}" for each in topology.networks]
    wanted = [each.bouncers for each in topology.networks]
    return place(keys, wanted, topology.hosts, list(map(may_bounce, topology.hosts)))


def dividers(topology: Topology) -> Chosen:
    """The hosts that divide each VPC, in the order of Topology.vpcs."""
    keys = [f"divider {each.namespace}/{each.name}" for each in topology.vpcs]
    wanted = [each.dividers for each in topology.vpcs]
    return place(keys, wanted, topology.hosts, list(map(may_divide, topology.hosts)))


def place(
    keys: Sequence[str], wanted: Sequence[Placement], hosts: Sequence[Host], ready: Sequence[bool]
) -> Chosen:
    """The hosts of each key, of those that are ready; fewer than wanted when there are fewer."""
    eligible = np.flatnonzero(np.array(ready, np.bool_)).astype(np.int32)
    members = [hosts[index] for index in eligible.tolist()]
    names = _digests([host.name for host in members])
    weights = np.array([host.weight for host in members], np.float64)
    _, zones = np.unique(np.array([host.zone for host in members], str), return_inverse=True)
    chosen = []
    for key, placement in zip(_digests(keys), wanted, strict=True):
        score = _scores(key, names, weights)
        order = np.lexsort((names, -score))
        if placement.spread:
            order = order[np.argsort(_rank_in_zone(zones[order]), kind="stable")]
        chosen.append(np.sort(eligible[order[: placement.count]]))
    return tuple(chosen)


def _digests(names: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of BLAKE2b of each name."""
    return np.array(
        [int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") for name in names],
        np.uint64,
    )


def _scores(
    key: np.uint64, names: NDArray[np.uint64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithmic method of weighted rendezvous hashing (Schindelhauer, Schomaker 2005).

    weight / -ln(u) with u in (0, 1) from the mixture of both digests.
    """
    mixed = mix64(key ^ names)
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return weights / -np.log(uniform)


def _rank_in_zone(zones: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many hosts of the same zone come before each, for zones in order of score.

    Taking the best of every zone first, then every second best, keeps the promise of rendezvous
    hashing: without a host, each rank of its zone only gets weaker, so nothing else moves in.
    """
    by_zone = np.argsort(zones, kind="stable")
    sorted_zones = zones[by_zone]
    first = np.searchsorted(sorted_zones, sorted_zones, side="left")
    rank = np.empty(len(zones), np.intp)
    rank[by_zone] = np.arange(len(zones)) - first
    return rank
