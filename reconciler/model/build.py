"""build: the documents of a commit -> its Topology, or everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from reconciler.manifest.document import Document
from reconciler.manifest.problem import Finding
from reconciler.model.columns import Columns, Rows, read_columns, take
from reconciler.model.endpoints import read_endpoints
from reconciler.model.frame import Frame, read_frame
from reconciler.model.references import Unread, by_kind, report_again
from reconciler.model.report import Report
from reconciler.model.topology import Topology

NOTHING = Unread()
ENDPOINT = "Endpoint"


@dataclass(frozen=True, slots=True)
class Built:
    """`topology` is None if any finding is an error; findings are sorted by place.

    `frame` and `columns` are what it was made of.
    """

    topology: Topology | None
    findings: tuple[Finding, ...]
    frame: Frame
    columns: Columns


def build(documents: Iterable[Document], unread: Unread = NOTHING) -> Built:
    """Neither the order of the documents nor their paths matter to the topology.

    That something is missing which is `unread` is no finding; nothing is built if there is any.
    """
    ordered = sorted(documents, key=lambda each: (each.path, each.index))
    few = [each for each in ordered if each.kind != ENDPOINT]
    return assemble(few, read_columns([each for each in ordered if each.kind == ENDPOINT]), unread)


def assemble(few: Iterable[Document], columns: Columns, unread: Unread = NOTHING) -> Built:
    """The same from the documents of all other kinds and the columns of endpoints; `columns` are
    in the order of paths and documents."""
    report = Report()
    frame = read_frame(by_kind(few, report), unread, report)
    columns = take(columns, _by_name(columns, report))
    endpoints, attachments = read_endpoints(columns, frame, report)
    findings = tuple(sorted(report.findings))
    topology = Topology(frame.hosts, frame.vpcs, frame.networks, attachments, endpoints)
    return Built(None if report.failed or unread else topology, findings, frame, columns)


def _by_name(columns: Columns, report: Report) -> Rows:
    """The rows sorted by name; reports, and leaves out, those whose name was given before."""
    names = columns.names.fixed()
    order = np.argsort(names, kind="stable")
    first = np.ones(len(order), np.bool_)
    first[1:] = names[order[1:]] != names[order[:-1]]
    kept, group = order[first], np.cumsum(first) - 1
    for place in np.flatnonzero(~first).tolist():
        again = columns.documents[int(order[place])]
        before = columns.documents[int(kept[group[place]])]
        report_again(again, before, report)
    return kept
