"""Report: collects what is wrong with the documents of a commit while a topology is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reconciler.manifest.document import Document
from reconciler.manifest.problem import Finding, Severity, pointer


@dataclass(slots=True)
class Report:
    """Findings in the order in which they are found."""

    findings: list[Finding] = field(default_factory=list)

    def add(
        self,
        document: Document,
        steps: Sequence[str | int],
        code: str,
        message: str,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """`steps` lead through the document to the place, or to where it would be."""
        self.findings.append(
            Finding(document.path, document.index, pointer(*steps), code, message, severity)
        )

    @property
    def failed(self) -> bool:
        """Whether anything is worse than a warning."""
        return any(each.severity is Severity.ERROR for each in self.findings)


def called(document: Document) -> str:
    """`Endpoint shop/web-1`, `Host edge-1`."""
    return f"{document.kind} {qualified(document)}"


def qualified(document: Document) -> str:
    """`shop/web-1`; only the name for what belongs to the cluster."""
    return f"{document.namespace}/{document.name}" if document.namespace else document.name


def seen_from(document: Document, other: Document) -> str:
    """How a message about `document` names another: with its path only in the same namespace."""
    if document.namespace == other.namespace:
        return f"{called(other)} in {other.path}"
    return called(other)
