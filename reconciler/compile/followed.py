"""Followed: a valid commit as one host sees it, carried from commit to commit.

Where `model.follow` knows the change, the host's state is updated; otherwise it is compiled whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from reconciler.abi.generated import MAPS, EndpointFlag
from reconciler.abi.merge import diff_tables
from reconciler.abi.table import Rows, join, pick
from reconciler.compile.endpoints import moved
from reconciler.compile.host import UnknownHostError, host_index, state_of
from reconciler.compile.linger import joined
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
    """`step` is a valid commit that follows the one of `before`. `last` is what the host held last:
    that commit's state or, where it did not come to hold that, an earlier one's."""
    assert step.memory is not None
    if step.delta is None or before is None:
        assert step.topology is not None
        return _compiled(step.memory, step.topology, host, before, last)
    if before.missing:
        return replace(before, memory=step.memory)
    old, new = before.overview.among(step.delta.old), before.overview.among(step.delta.new)
    state = update(before.state, old, new, before.number)
    had = Had.of(before, last)
    rows = moved_since(had, state, new, before.number)
    if had.pending is not None:
        rows = had.pending if rows is None else joined(rows, had.pending)
    return replace(before, memory=step.memory, state=state, moved=rows)


def _compiled(
    memory: Memory,
    topology: Topology,
    host: HostName,
    before: Followed | None,
    last: HostState | None,
) -> Followed:
    overview = Overview.of(topology)
    bare = overview.among(_without_endpoints(topology))
    try:
        number = host_index(topology, host)
    except UnknownHostError as error:
        return Followed(memory, -1, bare, HostState.empty(host), str(error))
    state = state_of(overview, number)
    rows = moved_since(Had.of(before, last), state, overview, number)
    return Followed(memory, number, bare, state, moved=rows)


@dataclass(frozen=True, slots=True, eq=False)
class Had:
    """What a host held: `states`, and `pending`, where endpoints are that it was to give up with
    commits that it did not come to hold."""

    states: tuple[HostState, ...]
    pending: HostState | None = None

    @classmethod
    def of(cls, before: Followed | None, last: HostState | None) -> Had:
        """`last` is an earlier state than that of `before`, or the same."""
        if before is None:
            return cls(() if last is None else (last,))
        if last is None or last is before.state:
            return cls((before.state,))
        return cls((last, before.state), before.moved)


def moved_since(had: Had, new: HostState, overview: Overview, host: int) -> HostState | None:
    """Rows of endpoints that the host had and others have now; None for none.

    They lead packets there as long as bouncers hold the commit before. `overview` has at least the
    endpoints that differ from the last of the states.
    """
    given_up = [_given_up(each, new) for each in had.states]
    olds = had.states
    if had.pending is not None:
        given_up.append(had.pending.tables["endpoints"].keys)
        olds = (*olds, had.pending)
    keys = join(MAPS["endpoints"].key, given_up)
    if not len(keys) or not len(found := moved(overview, keys, host)):
        return None
    tables, origins = settle(Numbering(overview.topology), {"endpoints": found})
    made = HostState.empty(new.host).with_tables(tables)
    vpcs = {vni: name for each in olds for vni, name in each.vpcs.items()}
    return replace(made, origins=origins, vpcs=vpcs)


def _given_up(old: HostState, new: HostState) -> Rows:
    """Keys of the endpoints that a host had, and has otherwise now or not at all."""
    gone = diff_tables(new.tables["endpoints"], old.tables["endpoints"])
    if gone is None:
        return old.tables["endpoints"].keys[:0]
    rows = gone.live.take(np.union1d(gone.deletes, gone.replaced))
    return pick(rows.keys, rows.values["flags"] & EndpointFlag.LOCAL != 0)


def _without_endpoints(topology: Topology) -> Topology:
    """So that nobody keeps what may be large."""
    points = topology.endpoints
    columns = {
        name: getattr(points, name)[:0].copy()
        for name in ("network", "host", "mac", "identity", "attachment", "address", "address_owner")
    }
    return replace(topology, endpoints=replace(points, names=(), **columns))
