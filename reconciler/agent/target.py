"""Target: what is to be live here: what a revision means, and what is kept of earlier ones.

Also Aim: the target of a round and that of the last good state, which tells what its writes undo.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.agent.good import LastGood
from reconciler.agent.report import Stay
from reconciler.agent.wanted import Wanted
from reconciler.compile.linger import Kept, beside, keep, lingering, still, withdrawn
from reconciler.compile.state import HostState


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """`state` is `own`, what the revision itself means, with what is `kept` beside it.

    `beside` has the rows of `state` that `own` has not, `leaving` those of them that this revision
    takes away; None for none.
    """

    own: HostState
    state: HostState
    kept: tuple[Kept, ...] = ()
    beside: HostState | None = None
    leaving: HostState | None = None

    @classmethod
    def of(
        cls, own: HostState, kept: tuple[Kept, ...] = (), leaving: HostState | None = None
    ) -> Target:
        """Put it together."""
        return cls(own, lingering(own, kept), kept, beside(own, kept), leaving)

    @property
    def stay(self) -> Stay | None:
        """What is kept and until when, for people and timers."""
        if not self.kept:
            return None
        ends = [each.until for each in self.kept]
        rows = 0 if self.beside is None else sum(map(len, self.beside.tables.values()))
        return Stay(rows, max(ends), min(ends))


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """What a round is to bring about, and `last`, what is live if all went well before it."""

    wanted: Wanted
    good: LastGood | None
    target: Target
    last: Target | None

    @classmethod
    def of(
        cls,
        wanted: Wanted,
        good: LastGood | None,
        now: float,
        period: float,
        last: Target | None = None,
    ) -> Aim:
        """At a second of the wall's clock. `last` is not made anew if it is that of `good`."""
        if good is None:
            return cls(wanted, None, Target.of(wanted.state), None)
        if last is None or last.own is not good.state or last.kept is not good.kept:
            last = Target.of(good.state, good.kept)
        if wanted.state is not good.state:
            if period <= 0:
                return cls(wanted, good, Target.of(wanted.state), last)
            gone = withdrawn(good.state, wanted.state)
            kept = keep(good.kept, gone, wanted.state, now, period, wanted.overview, wanted.moved)
            return cls(wanted, good, Target.of(wanted.state, kept, gone.rows), last)
        kept = still(good.kept, now, period)
        target = last if kept is good.kept else Target.of(good.state, kept)
        return cls(wanted, good, target, last)
