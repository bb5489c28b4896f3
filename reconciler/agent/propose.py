"""Proposal: what would have to be written now so that live is as wanted. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from reconciler.agent.report import Phases
from reconciler.agent.store import LastGood
from reconciler.agent.wanted import Wanted
from reconciler.compile.bind import Bound, bind
from reconciler.compile.facts import Facts
from reconciler.compile.state import HostState
from reconciler.plan.guards import Context, Limits
from reconciler.plan.plan import Plan, make_plan


class Reader(Protocol):
    """The part of a Datapath that cannot write."""

    def facts(self, desired: HostState) -> Facts:
        """See Datapath."""
        ...

    def read(self) -> HostState:
        """See Datapath."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A plan, and what it was made of. Nothing here is applied while `plan.refused`."""

    plan: Plan
    facts: Facts
    bound: Bound
    live: HostState


def propose(
    wanted: Wanted,
    good: LastGood | None,
    datapath: Reader,
    limits: Limits,
    phases: Phases,
    force: str | None = "",
) -> Proposal:
    """Read facts and live, and plan. `force` is a digest; None allows whatever may be forced.

    HostError, TransientError from the datapath.
    """
    with phases("facts"):
        facts = datapath.facts(wanted.state)
    with phases("read"):
        live = datapath.read()
    with phases("plan"):
        bound = bind(wanted.state, facts)
        last = None if good is None else _bound_as(good.state, wanted.state, bound, facts)
        context = Context(
            commit=wanted.revision,
            before=None if good is None else good.names,
            after=wanted.names,
            last=last,
            forced=force or "",
        )
        plan = make_plan(bound.state, live, bound.waiting, context, limits)
        if plan.refused and force is None:
            context = replace(context, forced=plan.digest)
            plan = make_plan(bound.state, live, bound.waiting, context, limits)
        if plan.empty and not wanted.missing:
            # What goes elsewhere concerns those hosts; this one has nothing to be asked about.
            plan = replace(plan, refusals=())
    return Proposal(plan, facts, bound, live)


def _bound_as(state: HostState, wanted: HostState, bound: Bound, facts: Facts) -> HostState:
    """`state` with the facts of now; mostly it is the wanted one, which is bound already."""
    return bound.state if state is wanted else bind(state, facts).state
