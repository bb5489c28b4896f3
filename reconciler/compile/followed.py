"""Followed: a valid commit as one host sees it, carried from commit to commit.

Where `model.follow` knows the change, the host's state is updated; otherwise it is compiled whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.compile.host import UnknownHostError, host_index, state_of
from reconciler.compile.overview import Overview
from reconciler.compile.state import HostName, HostState
from reconciler.compile.update import update
from reconciler.model.follow import Memory, Step
from reconciler.model.topology import Topology


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """`overview` has the commit's hosts, VPCs and networks, and no endpoints. `state` is empty
    where `missing` says why the commit has nothing for the host."""

    memory: Memory
    number: int  # of the host
    overview: Overview
    state: HostState
    missing: str = ""


def follow_host(step: Step, host: HostName, before: Followed | None = None) -> Followed:
    """`step` is a valid commit that follows the one of `before`."""
    assert step.memory is not None
    if step.delta is None or before is None:
        assert step.topology is not None
        return _compiled(step.memory, step.topology, host)
    if before.missing:
        return replace(before, memory=step.memory)
    old, new = before.overview.among(step.delta.old), before.overview.among(step.delta.new)
    return replace(before, memory=step.memory, state=update(before.state, old, new, before.number))


def _compiled(memory: Memory, topology: Topology, host: HostName) -> Followed:
    overview = Overview.of(topology)
    bare = overview.among(_without_endpoints(topology))
    try:
        number = host_index(topology, host)
    except UnknownHostError as error:
        return Followed(memory, -1, bare, HostState.empty(host), str(error))
    return Followed(memory, number, bare, state_of(overview, number))


def _without_endpoints(topology: Topology) -> Topology:
    """So that nobody keeps what may be large."""
    points = topology.endpoints
    columns = {
        name: getattr(points, name)[:0].copy()
        for name in ("network", "host", "mac", "identity", "attachment", "address", "address_owner")
    }
    return replace(topology, endpoints=replace(points, names=(), **columns))
