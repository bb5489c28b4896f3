"""Limits of the data plane's tables that a commit exceeds wherever its roles are placed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import Limit
from reconciler.manifest.document import Document
from reconciler.model.report import Report
from reconciler.model.topology import Endpoints, Host, Network, Vpc


def check_hosts(documents: Sequence[Document], report: Report) -> None:
    """Every host knows every host."""
    if len(documents) > Limit.HOSTS:
        message = (
            f"{len(documents)} hosts are more than the {Limit.HOSTS} that a cluster can have; "
            "split the cluster"
        )
        _add(report, documents[Limit.HOSTS], message)


def check_networks(
    documents: Sequence[Document], networks: Sequence[Network], vpcs: Sequence[Vpc], report: Report
) -> None:
    """A divider knows all networks of its VPC: one problem for each, at the first too many."""
    owner = np.repeat(np.arange(len(networks)), [len(each.cidrs) for each in networks])
    vpc = np.array([each.vpc for each in networks], np.int32)[owner]
    for number, row in _beyond(vpc, Limit.NETWORKS):
        message = (
            f"VPC {vpcs[number].namespace}/{vpcs[number].name} has more than the {Limit.NETWORKS} "
            "CIDRs of networks that a divider can hold; use wider ones"
        )
        _add(report, documents[owner[row]], message)


def check_endpoints(
    documents: Sequence[Document],
    endpoints: Endpoints,
    hosts: Sequence[Host],
    networks: Sequence[Network],
    report: Report,
) -> None:
    """One problem for each host and network, at the first endpoint that is too many."""
    for host, row in _beyond(endpoints.host, Limit.INTERFACES):
        message = (
            f"host {hosts[host].name} has more than the {Limit.INTERFACES} endpoints that a host "
            "can have; move some to other hosts"
        )
        _add(report, documents[row], message, "host")
    for network, row in _beyond(endpoints.network[endpoints.address_owner], Limit.ENDPOINTS):
        name = f"{networks[network].namespace}/{networks[network].name}"
        message = (
            f"network {name} has more than the {Limit.ENDPOINTS} addresses that a bouncer can "
            "hold; divide it into networks"
        )
        _add(report, documents[endpoints.address_owner[row]], message, "network")


def _beyond(column: NDArray[np.int32], limit: int) -> Iterator[tuple[int, int]]:
    """(owner, first row too many) of what occurs more often than `limit`; -1 is nobody."""
    counts = np.bincount(column[column >= 0])
    for owner in np.flatnonzero(counts > limit).tolist():
        yield owner, int(np.flatnonzero(column == owner)[limit])


def _add(report: Report, document: Document, message: str, *field: str) -> None:
    report.add(document, ("spec", *field) if field else ("metadata", "name"), "NET1020", message)
