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
        # Of its own: what the commit takes away has facts that the wanted state does not ask for.
        old = None if good is None or good.state is wanted.state else datapath.facts(good.state)
    with phases("read"):
        live = datapath.read()
    with phases("plan"):
        bound = bind(wanted.state, facts)
        before = bound.state if good is None or old is None else bind(good.state, old).state
        last = None if good is None else before
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
