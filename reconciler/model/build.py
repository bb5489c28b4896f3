"""build: the documents of a commit -> its Topology, or everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.manifest.document import Document
from reconciler.manifest.problem import Finding
from reconciler.model.endpoints import read_endpoints
from reconciler.model.hosts import read_hosts
from reconciler.model.limits import check_endpoints, check_hosts, check_networks
from reconciler.model.networks import read_networks, read_vpcs
from reconciler.model.references import Targets, Unread, by_kind
from reconciler.model.report import Report
from reconciler.model.roles import check_roles, may_bounce, may_divide
from reconciler.model.topology import Topology

NOTHING = Unread()


@dataclass(frozen=True, slots=True)
class Built:
    """`topology` is None if any finding is an error; findings are sorted by place."""

    topology: Topology | None
    findings: tuple[Finding, ...]


def build(documents: Iterable[Document], unread: Unread = NOTHING) -> Built:
    """Neither the order of the documents nor their paths matter to the topology.

    That something is missing which is `unread` is no finding; nothing is built if there is any.
    """
    report = Report()
    kinds = by_kind(documents, report)
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
    endpoints, attachments = read_endpoints(
        kinds.get("Endpoint", ()),
        (hosts, host_targets),
        (networks, network_targets),
        vpcs,
        report,
    )
    check_hosts(host_targets.documents, report)
    check_networks(network_targets.documents, networks, vpcs, report)
    check_endpoints(kinds.get("Endpoint", ()), endpoints, hosts, networks, report)
    findings = tuple(sorted(report.findings))
    if report.failed or unread:
        return Built(None, findings)
    return Built(Topology(hosts, vpcs, networks, attachments, endpoints), findings)
