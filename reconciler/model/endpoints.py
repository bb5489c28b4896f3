"""Endpoint manifests -> Endpoints: references looked up, all checks made, columns for compile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reconciler.manifest.document import Document
from reconciler.model.addresses import check_addresses
from reconciler.model.attachments import check_attachments
from reconciler.model.columns import Columns
from reconciler.model.frame import Frame
from reconciler.model.limits import check_endpoints
from reconciler.model.macs import macs
from reconciler.model.references import Targets
from reconciler.model.repeats import repeats
from reconciler.model.report import Report, called
from reconciler.model.topology import Attachment, Endpoints, Host


def read_endpoints(
    columns: Columns, frame: Frame, report: Report
) -> tuple[Endpoints, tuple[Attachment, ...]]:
    """Endpoints in the order of `columns`, and the distinct attachments; -1 where unknown."""
    network = _find(columns, columns.network, columns.network_names, frame.network_targets, report)
    host_names = [(name, "") for name in columns.host_names]
    host = _find(columns, columns.host, host_names, frame.host_targets, report)
    _check_managed(columns, host, frame.hosts, report)
    check_addresses(columns, network, frame, report)
    check_attachments(columns, network, host, frame.networks, frame.vpcs, frame.hosts, report)
    identity = _identities(columns, report)
    attachments = sorted(
        columns.attachments, key=lambda each: (each.kind, each.netns, each.interface)
    )
    numbers = {attachment: number for number, attachment in enumerate(attachments)}
    rank = np.array([numbers[each] for each in columns.attachments], np.int32)
    endpoints = Endpoints(
        columns.names,
        network,
        host,
        macs(columns, network, frame, report),
        identity,
        rank[columns.attachment],
        columns.address,
        columns.owner,
    )
    check_endpoints(columns.documents, endpoints, frame.hosts, frame.networks, report)
    return endpoints, tuple(attachments)


def _find(
    columns: Columns,
    column: NDArray[np.int32],
    wanted: Sequence[tuple[str, str]],
    targets: Targets,
    report: Report,
) -> NDArray[np.int32]:
    """(n,) numbers of what the column refers to; each distinct reference is looked up once."""
    answers = [targets.find(name, namespace) for name, namespace in wanted]
    field = targets.kind.lower()
    broken = np.array([bool(code) for _, code, _ in answers], np.bool_)
    for endpoint in np.flatnonzero(broken[column]).tolist():
        _, code, message = answers[column[endpoint]]
        report.add(columns.documents[endpoint], ("spec", field), code, message)
    return np.array([number for number, _, _ in answers], np.int32)[column]


def _check_managed(
    columns: Columns, host: NDArray[np.int32], hosts: Sequence[Host], report: Report
) -> None:
    """Nobody makes an interface on a foreign tunnel end."""
    foreign = [each for each in np.unique(host[host >= 0]).tolist() if not hosts[each].managed]
    for endpoint in np.flatnonzero(np.isin(host, foreign)).tolist():
        if columns.attachments[int(columns.attachment[endpoint])] != Attachment():
            message = (
                f"host {hosts[host[endpoint]].name} is foreign (managed: false), and nobody "
                "attaches anything there; leave it out"
            )
            report.add(columns.documents[endpoint], ("spec", "attach"), "REF1005", message)


def _identities(columns: Columns, report: Report) -> NDArray[np.uint32]:
    """(n,) and a problem for the first endpoint of every label set that has another's number."""
    found = columns.identities()

    def first(labels: int) -> Document:
        return columns.documents[int(np.argmax(columns.labels == labels))]

    for again, other in repeats((found,)):
        document = first(again)
        message = (
            f"the identity of {called(document)}, a hash of its labels, is that of "
            f"{called(first(other))}, which has others; add a label to either"
        )
        report.add(document, ("metadata", "labels"), "NET1019", message)
    return found[columns.labels]
