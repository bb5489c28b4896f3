"""Host manifests -> Hosts, and who may take a role."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from reconciler.manifest.document import Document
from reconciler.model.report import Report, called
from reconciler.model.topology import Host

UNKNOWN = IPv4Address(0)  # of a manifest that is wrong there; none can state it
ZONE_LABELS = ("zone", "topology.kubernetes.io/zone")


def read_hosts(documents: Sequence[Document], report: Report) -> tuple[Host, ...]:
    """One for each document, in order."""
    hosts = tuple(_host(each) for each in documents)
    first: dict[IPv4Address, Document] = {}
    for host, document in zip(hosts, documents, strict=True):
        if host.underlay == UNKNOWN:
            continue
        other = first.setdefault(host.underlay, document)
        if other is not document:
            message = (
                f"underlay address {host.underlay} is that of {called(other)} too; "
                "give every host its own"
            )
            report.add(document, ("spec", "underlay"), "NET1002", message)
    return hosts


def _host(document: Document) -> Host:
    spec, labels = document.body["spec"], document.body["metadata"].get("labels", {})
    return Host(
        name=document.name,
        underlay=IPv4Address(spec["underlay"]) if document.sure("spec", "underlay") else UNKNOWN,
        interface=spec.get("interface", "eth0") if document.sure("spec", "interface") else "",
        external_interface=spec.get("externalInterface"),
        labels=labels,
        zone=next((labels[key] for key in ZONE_LABELS if key in labels), ""),
        bounce=spec.get("bounce", True),
        divide=spec.get("divide", True),
        gateway=spec.get("gateway", False),
        cordon=spec.get("cordon", False),
        managed=spec.get("managed", True),
        weight=spec.get("weight", 1),
        attach_mode=spec.get("attachMode", "native"),
    )
