"""VPC and Network manifests -> Vpcs and Networks: containment, overlap, gateways, numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from reconciler.manifest.document import Document
from reconciler.model.names import SALT, network_number
from reconciler.model.ranges import contains, first_usable, overlaps, reserved
from reconciler.model.references import Targets
from reconciler.model.report import Report, called, qualified, seen_from
from reconciler.model.topology import Address, Cidr, Network, Placement, Vni, Vpc


def read_vpcs(documents: Sequence[Document], report: Report) -> tuple[Vpc, ...]:
    """One for each document, in order."""
    first: dict[int, Document] = {}
    vpcs = []
    for document in documents:
        spec, stated = document.body["spec"], _cidrs(document)
        vpc = Vpc(
            document.namespace,
            document.name,
            Vni(spec["vni"]),
            tuple(cidr for _, cidr in stated),
            _placement(spec.get("dividers", {})),
        )
        vpcs.append(vpc)
        known = document.sure("spec", "vni")
        other = first.setdefault(vpc.vni, document) if known else document
        if other is not document:
            message = (
                f"VNI {vpc.vni} is that of {seen_from(document, other)} too; "
                "give every VPC of the cluster its own"
            )
            report.add(document, ("spec", "vni"), "NET1001", message)
        for inner, outer in overlaps((cidr, i) for i, (_, cidr) in enumerate(stated)):
            (position, cidr), (_, around) = stated[inner], stated[outer]
            message = f"{cidr} lies in {around} of this VPC; remove one of them"
            report.add(document, ("spec", "cidrs", position), "NET1003", message)
    return tuple(vpcs)


def read_networks(
    documents: Sequence[Document], vpcs: Sequence[Vpc], targets: Targets, report: Report
) -> tuple[Network, ...]:
    """One for each document, in order; `vpc` is -1 for those without a usable one."""
    networks = []
    all_stated = [_cidrs(each) for each in documents]
    for document, stated in zip(documents, all_stated, strict=True):
        spec = document.body["spec"]
        vpc = targets.resolve(document, ("spec", "vpc"), spec["vpc"], report)
        if vpc >= 0 and targets.documents[vpc].sure("spec", "cidrs"):
            _check_inside(document, stated, vpcs[vpc], report)
        salt = document.body["metadata"].get("annotations", {}).get(SALT, "")
        networks.append(
            Network(
                document.namespace,
                document.name,
                vpc,
                network_number(qualified(document), salt),
                tuple(cidr for _, cidr in stated),
                _gateways(document, stated, report),
                _placement(spec.get("bouncers", {})),
            )
        )
    _check_overlaps(documents, networks, all_stated, report)
    _check_numbers(documents, networks, report)
    return tuple(networks)


def _cidrs(document: Document) -> list[tuple[int, Cidr]]:
    """Those that nothing is wrong with, with their positions."""
    return [
        (position, ip_network(text))
        for position, text in enumerate(document.body["spec"]["cidrs"])
        if document.sure("spec", "cidrs", position)
    ]


def _placement(spec: Mapping[str, Any]) -> Placement:
    return Placement(spec.get("count", Placement().count), spec.get("zones", "spread") == "spread")


def _check_inside(
    document: Document, stated: Sequence[tuple[int, Cidr]], vpc: Vpc, report: Report
) -> None:
    for position, cidr in stated:
        if not any(contains(outer, cidr) for outer in vpc.cidrs):
            around = ", ".join(map(str, vpc.cidrs))
            message = (
                f"{cidr} is outside VPC {vpc.namespace}/{vpc.name} ({around}); "
                "choose a CIDR inside, or widen the VPC"
            )
            report.add(document, ("spec", "cidrs", position), "NET1004", message)


def _check_overlaps(
    documents: Sequence[Document],
    networks: Sequence[Network],
    stated: Sequence[Sequence[tuple[int, Cidr]]],
    report: Report,
) -> None:
    """Within each VPC; of two CIDRs the narrower one is reported, or the later."""
    by_vpc: dict[int, list[tuple[int, int, Cidr]]] = {}
    for number, network in enumerate(networks):
        vpc = network.vpc if network.vpc >= 0 else -1 - number  # unknown: only its own are compared
        by_vpc.setdefault(vpc, []).extend((number, *each) for each in stated[number])
    for claims in by_vpc.values():
        for inner, outer in overlaps((cidr, i) for i, (_, _, cidr) in enumerate(claims)):
            (number, position, cidr), (owner, _, wider) = claims[inner], claims[outer]
            document, other = documents[number], documents[owner]
            whose = "this network" if other is document else seen_from(document, other)
            message = f"{cidr} overlaps {wider} of {whose}; choose CIDRs that are apart"
            report.add(document, ("spec", "cidrs", position), "NET1005", message)


def _check_numbers(
    documents: Sequence[Document], networks: Sequence[Network], report: Report
) -> None:
    first: dict[tuple[int, int], Document] = {}
    for network, document in zip(networks, documents, strict=True):
        other = first.setdefault((network.vpc, network.number), document)
        if network.vpc >= 0 and other is not document:
            message = (
                f"the number of {called(document)}, a hash of its name, is that of "
                f"{called(other)} too; add the annotation {SALT} with any text to this one"
            )
            report.add(document, ("metadata", "name"), "NET1019", message)


def _gateways(
    document: Document, stated: Sequence[tuple[int, Cidr]], report: Report
) -> tuple[Address, ...]:
    """One for each CIDR; where one is a problem, some address so that the checks can go on."""
    spec = document.body["spec"]
    given, count = spec.get("gateways"), len(spec["cidrs"])
    if given is not None and len(given) != count:
        message = (
            f"{len(given)} gateways for {count} CIDRs; "
            "give one for each CIDR in the same order, or none"
        )
        if document.sure("spec", "cidrs") and document.sure("spec", "gateways"):
            report.add(document, ("spec", "gateways"), "NET1007", message)
        given = None
    gateways = []
    for position, cidr in stated:
        default = first_usable(cidr)
        if default is None:
            message = (
                f"{cidr} has no room for a gateway and an endpoint; "
                f"use a /{cidr.max_prefixlen - 1} or shorter"
            )
            report.add(document, ("spec", "cidrs", position), "NET1006", message)
        gateway = default or cidr.network_address
        if given is not None and document.sure("spec", "gateways", position):
            gateway = ip_address(given[position])
            _check_gateway(document, position, gateway, cidr, report)
        gateways.append(gateway)
    return tuple(gateways)


def _check_gateway(
    document: Document, position: int, gateway: Address, cidr: Cidr, report: Report
) -> None:
    place = ("spec", "gateways", position)
    if gateway not in cidr:
        message = f"gateway {gateway} is outside {cidr}; choose an address inside"
        report.add(document, place, "NET1008", message)
    elif kind := reserved(cidr, gateway):
        message = f"gateway {gateway} is the {kind} address of {cidr}; choose another inside"
        report.add(document, place, "NET1008", message)
