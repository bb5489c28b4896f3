"""Attachments: no two endpoints of a host claim one interface, one place inside, or one route."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reconciler.model.columns import Columns, default_netns
from reconciler.model.names import interface_name
from reconciler.model.ranges import overlaps
from reconciler.model.repeats import repeats
from reconciler.model.report import Report, called, seen_from
from reconciler.model.topology import AttachKind, Attachment, Cidr, Host, Network, Vpc

OURS = re.compile(r"r[vp][0-9a-f]{11}")  # names.interface_name, names.peer_name


def check_attachments(
    columns: Columns,
    network: NDArray[np.int32],
    host: NDArray[np.int32],
    networks: Sequence[Network],
    vpcs: Sequence[Vpc],
    hosts: Sequence[Host],
    report: Report,
) -> None:
    """`network` and `host` (n,) index `networks` and `hosts`, -1 where they are unknown."""
    kinds = np.array([list(AttachKind).index(each.kind) for each in columns.attachments])
    kind = kinds[columns.attachment] if len(kinds) else np.zeros(0, np.intp)

    usual = np.array([each == Attachment() for each in columns.attachments], np.bool_)
    stated = ~usual[columns.attachment] if len(kinds) else np.zeros(0, np.bool_)

    def of(wanted: AttachKind) -> list[int]:
        """Of that kind, and not simply by default."""
        chosen = (kind == list(AttachKind).index(wanted)) & (host >= 0) & stated
        return [int(each) for each in np.flatnonzero(chosen)]

    named = sorted([*of(AttachKind.INTERFACE), *of(AttachKind.TAP)])
    _check_named(columns, named, host, hosts, report)
    _check_veths(columns, of(AttachKind.VETH), host, report)
    spaces = {
        each: networks[network[each]].vpc for each in of(AttachKind.HOST) if network[each] >= 0
    }
    known = {each: vpc for each, vpc in spaces.items() if vpc >= 0}
    _check_host_routes(columns, known, host, vpcs, hosts, report)
    _check_names(columns, host, report)


def _attachment(columns: Columns, endpoint: int) -> Attachment:
    return columns.attachments[int(columns.attachment[endpoint])]


def _check_named(
    columns: Columns,
    endpoints: list[int],
    host: NDArray[np.int32],
    hosts: Sequence[Host],
    report: Report,
) -> None:
    """Interfaces and taps whose names are stated."""
    places = {
        AttachKind.INTERFACE: ("spec", "attach", "interface"),
        AttachKind.TAP: ("spec", "attach", "tap", "name"),
    }
    first: dict[tuple[int, str], int] = {}
    for endpoint in endpoints:
        document, machine = columns.documents[endpoint], hosts[host[endpoint]]
        attachment = _attachment(columns, endpoint)
        name, place = attachment.interface, places[attachment.kind]
        if not name:
            continue
        other = first.setdefault((int(host[endpoint]), name), endpoint)
        if name in (machine.interface, machine.external_interface):
            message = f"interface {name} is host {machine.name}'s own way out; name another"
        elif OURS.fullmatch(name):
            message = f"interface {name} has a name that veths made here have; name another"
        elif other != endpoint:
            whose = seen_from(document, columns.documents[other])
            message = (
                f"interface {name} of host {machine.name} is that of {whose} too; name another"
            )
        else:
            continue
        report.add(document, place, "NET1018", message)


def _check_veths(
    columns: Columns, endpoints: list[int], host: NDArray[np.int32], report: Report
) -> None:
    """The peer's place, (host, namespace, interface), for all whose namespace or name is stated,
    against one another and against the endpoint that has the namespace by default."""
    first: dict[tuple[int, str, str], int] = {}
    numbers: dict[str, int] | None = None
    for endpoint in endpoints:
        attachment = _attachment(columns, endpoint)
        netns = attachment.netns or default_netns(columns.names[endpoint])
        claim = (int(host[endpoint]), netns, attachment.interface)
        other = first.setdefault(claim, endpoint)
        if numbers is None:
            numbers = {name: number for number, name in enumerate(columns.names)}
        usual = numbers.get(netns.replace(".", "/", 1), endpoint)
        if host[usual] == host[endpoint] and _attachment(columns, usual) == Attachment():
            other = usual if attachment.interface == Attachment().interface else other
        if other != endpoint:
            document = columns.documents[endpoint]
            whose = seen_from(document, columns.documents[other])
            message = (
                f"interface {attachment.interface} in network namespace {netns} is that of "
                f"{whose} too; name another interface or namespace"
            )
            report.add(document, ("spec", "attach", "veth"), "NET1018", message)


def _check_host_routes(
    columns: Columns,
    spaces: Mapping[int, int],
    host: NDArray[np.int32],
    vpcs: Sequence[Vpc],
    hosts: Sequence[Host],
    report: Report,
) -> None:
    """A host that is an endpoint itself gets routes to the VPC: they may lead nowhere else.

    `spaces` are the VPCs of such endpoints.
    """
    if not spaces:
        return
    place = ("spec", "attach", "host")
    underlay = sorted((int(each.underlay), number) for number, each in enumerate(hosts))
    hidden: dict[int, Host | None] = {}  # by VPC
    by_host: dict[int, list[tuple[Cidr, int]]] = {}
    for endpoint, vpc in spaces.items():
        document, machine = columns.documents[endpoint], hosts[host[endpoint]]
        if vpc not in hidden:
            hidden[vpc] = next((hosts[each] for each in _within(vpcs[vpc], underlay)), None)
        if lost := hidden[vpc]:
            message = (
                f"VPC {vpcs[vpc].namespace}/{vpcs[vpc].name} holds {lost.underlay}, the underlay "
                f"address of host {lost.name}, so host {machine.name} would lose its way to the "
                "underlay; attach a network namespace instead"
            )
            report.add(document, place, "NET1011", message)
        claims = by_host.setdefault(int(host[endpoint]), [])
        claims += [(cidr, endpoint) for cidr in vpcs[vpc].cidrs]
    for claims in by_host.values():
        pairs = {(max(pair), min(pair)) for pair in overlaps(claims) if pair[0] != pair[1]}
        for endpoint, other in sorted(pairs):
            message = (
                f"host {hosts[host[endpoint]].name} already reaches those addresses as "
                f"{called(columns.documents[other])}; attach a network namespace instead"
            )
            report.add(columns.documents[endpoint], place, "NET1011", message)


def _within(vpc: Vpc, underlay: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The numbers of sorted (address, number) whose addresses the VPC holds."""
    for cidr in vpc.cidrs:
        if cidr.version == 4:
            first = bisect_left(underlay, (int(cidr[0]), -1))
            after = bisect_left(underlay, (int(cidr[-1]) + 1, -1))
            yield from (number for _, number in underlay[first:after])


def _check_names(columns: Columns, host: NDArray[np.int32], report: Report) -> None:
    """44 bits of a hash name the interfaces of a host; two of a kind would be one interface."""
    for row, first in repeats((columns.digest >> np.uint64(20), host)):
        document, other = columns.documents[row], columns.documents[first]
        message = (
            f"the interface name {interface_name(columns.names[row])}, a hash of the endpoint's, "
            f"is that of {called(other)} too; rename one of them"
        )
        report.add(document, ("metadata", "name"), "NET1019", message)
