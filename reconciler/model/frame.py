"""Frame: the few things of a commit, hosts, VPCs and networks, which all endpoints refer to.

It does not depend on endpoints, so it stays the same value while only they change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.manifest.document import Document
from reconciler.model.hosts import read_hosts
from reconciler.model.limits import check_hosts, check_networks
from reconciler.model.networks import read_networks, read_vpcs
from reconciler.model.references import Targets, Unread
from reconciler.model.report import Report
from reconciler.model.roles import check_roles, may_bounce, may_divide
from reconciler.model.subnets import Subnets
from reconciler.model.topology import Host, Network, Vpc


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Sorted by name; `subnets` are those of `networks`, as arrays.

    `vpc_of` (networks + 1,) and `vni_of` (vpcs + 1,) are of every network its VPC, of every VPC its
    VNI; their last rows, -1 and 0, are of what is unknown, -1.
    """

    hosts: tuple[Host, ...]
    vpcs: tuple[Vpc, ...]
    networks: tuple[Network, ...]
    host_targets: Targets
    network_targets: Targets
    subnets: Subnets
    vpc_of: NDArray[np.int32]
    vni_of: NDArray[np.uint32]


def read_frame(kinds: Mapping[str, Sequence[Document]], unread: Unread, report: Report) -> Frame:
    """`kinds` as references.by_kind gives them."""
    spaces = {
        each.name: each.body["metadata"].get("labels", {}) for each in kinds.get("Namespace", ())
    }

    def targets(kind: str) -> Targets:
        return Targets(kind, kinds.get(kind, ()), spaces, unread)

    host_targets, vpc_targets, network_targets = map(targets, ("Host", "VPC", "Network"))
    hosts = read_hosts(host_targets.documents, report)
    vpcs = read_vpcs(vpc_targets.documents, report)
    networks = read_networks(network_targets.documents, vpcs, vpc_targets, report)
    if not unread.may_have_any("Host"):
        check_roles(vpc_targets.documents, "dividers", may_divide, hosts, report)
        check_roles(network_targets.documents, "bouncers", may_bounce, hosts, report)
    check_hosts(host_targets.documents, report)
    check_networks(network_targets.documents, networks, vpcs, report)
    sure = [
        each.sure("spec", "cidrs") and each.sure("spec", "gateways")
        for each in network_targets.documents
    ]
    subnets = Subnets.of(networks, sure)
    vpc_of = np.array([*(each.vpc for each in networks), -1], np.int32)
    vni_of = np.array([*(each.vni for each in vpcs), 0], np.uint32)
    return Frame(hosts, vpcs, networks, host_targets, network_targets, subnets, vpc_of, vni_of)
