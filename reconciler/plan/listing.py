"""HostState -> text for people: everything that a host should hold, or holds, a line each."""

from __future__ import annotations

from reconciler.compile.state import HostState
from reconciler.plan.entries import entries
from reconciler.plan.lines import entry_line
from reconciler.plan.plan import make_plan


def listing(state: HostState) -> str:
    """Programs, links and interfaces, and the rows of each table with their manifests."""
    counts = (
        (sum(map(len, state.tables.values())), "rows"),
        (len(state.programs), "programs"),
        (len(state.links), "links"),
        (len(state.interfaces), "interfaces"),
    )
    head = f"Host {state.host}: " + ", ".join(f"{count} {noun}" for count, noun in counts)
    steps = make_plan(state, HostState.empty(state.host)).steps
    found = [(each.what, entry_line(each)[2:]) for step in steps for each in entries(step)]
    lines = [line for _, line in sorted(found, key=lambda pair: pair[0])]
    return "\n".join([head, *lines, ""])
