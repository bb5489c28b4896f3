"""Addresses of endpoints: present, inside their network, not reserved, given once in their VPC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reconciler.manifest.document import Document
from reconciler.model.columns import Columns
from reconciler.model.frame import Frame
from reconciler.model.ranges import reserved
from reconciler.model.repeats import repeats
from reconciler.model.report import Report, called, seen_from
from reconciler.model.subnets import free_addresses, words
from reconciler.model.topology import Address, Network, unpacked


def check_addresses(
    columns: Columns,
    network: NDArray[np.int32],
    frame: Frame,
    report: Report,
) -> None:
    """`network` (n,) indexes those of `frame`, -1 where it is unknown; those are left alone."""
    space, subnets = _Space(columns, network, frame.networks), frame.subnets
    # where network and address are known, and what of them can be compared
    stated = columns.address.any(axis=1)
    sure = np.append(subnets.sure, False)[network]
    usable = np.flatnonzero(sure[columns.owner] & stated)
    where, address = network[columns.owner[usable]], words(columns.address[usable])
    cidr = subnets.around(where, address)
    for row in usable[cidr < 0].tolist():
        _outside(space, row, report)
    inside = cidr >= 0
    taken = usable[inside][subnets.taken(where[inside], cidr[inside], address[inside])]
    for row in taken.tolist():
        _reserved(space, row, report)
    unplaced = np.flatnonzero(~sure[columns.owner] & (network[columns.owner] >= 0) & stated)
    good = np.setdiff1d(usable[inside], taken, assume_unique=True)
    rows = np.union1d(good, unplaced) if len(unplaced) else good
    _check_twice(space, frame.vpc_of[network[columns.owner[rows]]], rows, report)
    bare = np.bincount(columns.owner, minlength=len(columns.names)) == 0
    for endpoint in np.flatnonzero(bare & sure).tolist():
        _missing(space, endpoint, report)


@dataclass(slots=True, eq=False)
class _Space:
    """Who has which address, and which are free; sorted only when a problem asks."""

    columns: Columns
    network: NDArray[np.int32]
    networks: Sequence[Network]
    offers: dict[tuple[int, int], Iterator[Address]] = field(default_factory=dict)
    order: NDArray[np.intp] | None = None

    def address(self, row: int) -> Address:
        return unpacked(self.columns.address[row].tobytes())

    def document(self, row: int) -> Document:
        return self.columns.documents[int(self.columns.owner[row])]

    def network_of(self, row: int) -> Network:
        return self.networks[int(self.network[self.columns.owner[row]])]

    def place(self, row: int) -> tuple[str | int, ...]:
        position = row - int(np.searchsorted(self.columns.owner, self.columns.owner[row]))
        return "spec", "addresses", position

    def offer(self, network: int, version: int) -> Address | None:
        """A free address of the network, another one each time."""
        key = (network, version)
        if key not in self.offers:
            used = self._used(network)
            self.offers[key] = free_addresses(self.networks[network], version, used)
        return next(self.offers[key], None)

    def _used(self, network: int) -> set[Address]:
        column = self.network[self.columns.owner]
        if self.order is None:
            self.order = np.argsort(column, kind="stable")
        first, last = np.searchsorted(column, [network, network + 1], sorter=self.order)
        return {self.address(row) for row in self.order[first:last].tolist()}

    def another(self, row: int) -> str:
        """Text that names a free address in place of this one."""
        network = int(self.network[self.columns.owner[row]])
        free = self.offer(network, self.address(row).version)
        return f"choose another, such as {free}" if free else "choose another, or widen the network"


def _name(network: Network, document: Document) -> str:
    same = network.namespace == document.namespace
    return network.name if same else f"{network.namespace}/{network.name}"


def _outside(space: _Space, row: int, report: Report) -> None:
    document, network = space.document(row), space.network_of(row)
    message = (
        f"address {space.address(row)} is outside network {_name(network, document)} "
        f"({', '.join(map(str, network.cidrs))}); choose one inside, or widen the network"
    )
    report.add(document, space.place(row), "NET1012", message)


def _reserved(space: _Space, row: int, report: Report) -> None:
    document, network, address = space.document(row), space.network_of(row), space.address(row)
    kinds = [reserved(cidr, address) for cidr in network.cidrs if address in cidr]
    kind = "gateway" if address in network.gateways else f"{kinds[0]} address"
    message = (
        f"address {address} is the {kind} of network {_name(network, document)}; "
        f"{space.another(row)}"
    )
    report.add(document, space.place(row), "NET1013", message)


def _check_twice(
    space: _Space, vpc: NDArray[np.int32], rows: NDArray[np.intp], report: Report
) -> None:
    """Within a VPC, `vpc` of each row; the endpoint that comes first by name keeps the address."""
    address = words(space.columns.address[rows])
    known = vpc >= 0
    rows, vpc, address = rows[known], vpc[known], address[known]
    for again, first in repeats((address[:, 1], address[:, 0], vpc)):
        row, other = int(rows[again]), int(rows[first])
        document, holder = space.document(row), space.document(other)
        same = space.columns.owner[row] == space.columns.owner[other]
        whose = "this endpoint" if same else seen_from(document, holder)
        message = f"address {space.address(row)} is that of {whose} too; {space.another(row)}"
        report.add(document, space.place(row), "NET1014", message)


def _missing(space: _Space, endpoint: int, report: Report) -> None:
    document, number = space.columns.documents[endpoint], int(space.network[endpoint])
    network = space.networks[number]
    versions = sorted({cidr.version for cidr in network.cidrs})
    free = [space.offer(number, version) for version in versions]
    texts = ", ".join(str(each) for each in free if each)
    remedy = (
        f'add "addresses: [{texts}]" to its spec'
        if texts
        else f"network {_name(network, document)} has none left, so widen it"
    )
    report.add(document, ("spec",), "NET1015", f"{called(document)} has no address; {remedy}")
