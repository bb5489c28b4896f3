"""Whether there are hosts to take the roles that networks and VPCs need."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reconciler.manifest.document import Document
from reconciler.manifest.problem import Severity
from reconciler.model.report import Report, called
from reconciler.model.topology import Host


def may_bounce(host: Host) -> bool:
    """Whether it may be a bouncer."""
    return host.bounce and host.managed and not host.cordon


def may_divide(host: Host) -> bool:
    """Whether it may be a divider."""
    return host.divide and host.managed and not host.cordon


def check_roles(
    documents: Sequence[Document],
    role: str,
    eligible: Callable[[Host], bool],
    hosts: Sequence[Host],
    report: Report,
) -> None:
    """`role` is the field of the spec: `bouncers` or `dividers`.

    No host at all is one problem, however many need one. A count that nobody wrote down is a wish.
    """
    ready = sum(map(eligible, hosts))
    if documents and not ready:
        verb = {"bouncers": "bounce", "dividers": "divide"}[role]
        why = (
            f"every host is foreign, cordoned or has {verb}: false"
            if hosts
            else "the commit has no Host"
        )
        message = f"no host can take the role of {role[:-1]}: {why}; let at least one host {verb}"
        report.add(documents[0], ("spec", role), "NET1009", message)
        return
    for document in documents:
        wanted = document.body["spec"].get(role, {}).get("count", 0)
        if wanted > ready:
            message = (
                f"{called(document)} wants {wanted} {role}, and only {ready} "
                f"{'host' if ready == 1 else 'hosts'} can be one; add hosts, or ask for fewer"
            )
            place = ("spec", role, "count")
            report.add(document, place, "NET1010", message, Severity.WARNING)
