"""Proposal: what would have to be written now so that live is as wanted. Writes nothing."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Protocol

from reconciler.agent.report import Phases
from reconciler.agent.target import Aim
from reconciler.compile.bind import Bound, bind
from reconciler.compile.facts import Facts, Seen
from reconciler.compile.state import HostState
from reconciler.plan.diff import item_name
from reconciler.plan.effect import apply_to
from reconciler.plan.guards import Context, Limits
from reconciler.plan.plan import Plan, make_plan


class Reader(Protocol):
    """The part of a Datapath that cannot write."""

    def facts(self, desired: HostState, seen: Seen | None = None) -> Facts:
        """See Datapath."""
        ...

    def read(self) -> HostState:
        """See Datapath."""
        ...

    def fingerprint(self) -> bytes:
        """See Datapath."""
        ...

    def glance(self, known: HostState, interfaces: Set[str]) -> HostState:
        """See Datapath."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A plan, and what it was made of. Nothing here is applied while `plan.refused`.

    `last` is the last good state with the facts of now, None if there is none. `fingerprint` is of
    the maps just before they were read, None if they were not.
    """

    plan: Plan
    facts: Facts
    bound: Bound
    live: HostState
    last: HostState | None
    fingerprint: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a plan left behind: so a change costs what changes, and nothing else is read again.

    It may be out of date where somebody else writes, which the next look at everything finds.
    """

    bound: Bound
    live: HostState
    last: HostState  # the last good state, bound
    anew: Set[str] = frozenset()  # interfaces that the plan touched

    @classmethod
    def after(cls, proposal: Proposal, last: HostState | None = None) -> Known:
        """Once the plan is carried out; `last` if the last good state is another one by then."""
        plan = proposal.plan
        touched = {item_name(each.item) for each in (*plan.diff.interfaces, *plan.diff.links)}
        live = apply_to(plan, proposal.live)
        last = last or proposal.last
        return cls(proposal.bound, live, proposal.bound.state if last is None else last, touched)


def propose(
    aim: Aim,
    datapath: Reader,
    limits: Limits,
    phases: Phases,
    force: str | None = "",
    known: Known | None = None,
) -> Proposal:
    """Read facts and live, and plan. `force` is a digest; None allows whatever may be forced.

    With `known` only what may have changed since is read. HostError, TransientError from the
    datapath.
    """
    wanted, good, state = aim.wanted, aim.good, aim.target.state
    fingerprint = None
    if known is None:
        with phases("read"):
            fingerprint = datapath.fingerprint()
        bound, live, last = _look(aim, datapath, phases)
    else:
        with phases("glance"):
            seen = Seen(known.bound.source, known.bound.facts, known.anew)
            facts = datapath.facts(state, seen)
            live = datapath.glance(known.live, known.anew)
            bound, last = bind(state, facts, known.bound), known.last
    with phases("plan"):
        context = Context(
            commit=wanted.revision,
            before=None if good is None else good.names,
            after=wanted.names,
            last=last,
            forced=force or "",
            own=aim.target.own,
            leaving=aim.target.leaving,
            beside=None if aim.last is None else aim.last.beside,
        )
        plan = make_plan(bound.state, live, bound.waiting, context, limits)
        if plan.refused and force is None:
            context = replace(context, forced=plan.digest)
            plan = make_plan(bound.state, live, bound.waiting, context, limits)
        if plan.empty and not plan.leaves and not wanted.missing:
            # What goes elsewhere concerns those hosts; this one has nothing to be asked about.
            plan = replace(plan, refusals=())
    return Proposal(plan, bound.facts, bound, live, last, fingerprint)


def _look(aim: Aim, datapath: Reader, phases: Phases) -> tuple[Bound, HostState, HostState | None]:
    """Everything: what is wanted with its facts, live, and the last good state with its own."""
    state = aim.target.state
    last = None if aim.last is None else aim.last.state
    with phases("facts"):
        facts = datapath.facts(state)
        # Of its own: what the commit takes away has facts that the wanted state does not ask for.
        old = None if last is None or last is state else datapath.facts(last)
    with phases("read"):
        live = datapath.read()
    with phases("plan"):
        bound = bind(state, facts)
        before = bound.state if last is None or old is None else bind(last, old).state
    return bound, live, None if last is None else before
