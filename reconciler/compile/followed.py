"""Followed: a valid commit as one host sees it, carried from commit to commit.

Where `model.follow` knows the change, the host's state is updated; otherwise it is compiled whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from reconciler.abi.generated import EndpointFlag
from reconciler.abi.merge import diff_tables
from reconciler.compile.endpoints import moved
from reconciler.compile.host import UnknownHostError, host_index, state_of
from reconciler.compile.origins import Numbering, settle
from reconciler.compile.overview import Overview
from reconciler.compile.state import HostName, HostState
from reconciler.compile.update import update
from reconciler.model.follow import Memory, Step
from reconciler.model.topology import Topology


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """`overview` has the commit's hosts, VPCs and networks, and no endpoints. `state` is empty
    where `missing` says why the commit has nothing for the host. `moved` has rows of the endpoints
    that it had and others have, where what was before is known."""

    memory: Memory
    number: int  # of the host
    overview: Overview
    state: HostState
    missing: str = ""
    moved: HostState | None = None


def follow_host(
    step: Step, host: HostName, before: Followed | None = None, last: HostState | None = None
) -> Followed:
    """`step` is a valid commit that follows the one of `before`, or, where that is not known, one
    that meant `last` for the host."""
    assert step.memory is not None
    if step.delta is None or before is None:
        assert step.topology is not None
        return _compiled(step.memory, step.topology, host, before.state if before else last)
    if before.missing:
        return replace(before, memory=step.memory)
    old, new = before.overview.among(step.delta.old), before.overview.among(step.delta.new)
    state = update(before.state, old, new, before.number)
    rows = moved_since(before.state, state, new, before.number)
    return replace(before, memory=step.memory, state=state, moved=rows)


def _compiled(
    memory: Memory, topology: Topology, host: HostName, before: HostState | None
) -> Followed:
    overview = Overview.of(topology)
    bare = overview.among(_without_endpoints(topology))
    try:
        number = host_index(topology, host)
    except UnknownHostError as error:
        return Followed(memory, -1, bare, HostState.empty(host), str(error))
    state = state_of(overview, number)
    rows = None if before is None else moved_since(before, state, overview, number)
    return Followed(memory, number, bare, state, moved=rows)


def moved_since(old: HostState, new: HostState, overview: Overview, host: int) -> HostState | None:
    """Rows of endpoints that the host had and others have now; None for none.

    They lead packets there as long as bouncers hold the commit before. `overview` has at least the
    endpoints that differ.
    """
    gone = diff_tables(new.tables["endpoints"], old.tables["endpoints"])
    if gone is None:
        return None
    rows = gone.live.take(np.union1d(gone.deletes, gone.replaced))
    rows = rows.take(rows.values["flags"] & EndpointFlag.LOCAL != 0)
    found = moved(overview, rows, host) if len(rows) else rows
    if not len(found):
        return None
    tables, origins = settle(Numbering(overview.topology), {"endpoints": found})
    made = HostState.empty(old.host).with_tables(tables)
    return replace(made, origins=origins, vpcs=old.vpcs)


def _without_endpoints(topology: Topology) -> Topology:
    """So that nobody keeps what may be large."""
    points = topology.endpoints
    columns = {
        name: getattr(points, name)[:0].copy()
        for name in ("network", "host", "mac", "identity", "attachment", "address", "address_owner")
    }
    return replace(topology, endpoints=replace(points, names=(), **columns))
