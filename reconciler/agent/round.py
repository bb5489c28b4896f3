"""Rounds: one level-triggered round from the newest commit to live tables that equal it.

The accepted state is enforced whatever becomes of newer commits: an invalid or refused one, or a
repository that is gone, leaves it in force, and drift from it is healed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from reconciler.agent.clock import Clock
from reconciler.agent.propose import Known, Proposal, propose
from reconciler.agent.report import (
    Cause,
    Enforced,
    Newest,
    Phases,
    Result,
    RoundReport,
    Verdict,
)
from reconciler.agent.store import LastGood, Store, StoreError
from reconciler.agent.target import Aim, Target
from reconciler.agent.wakes import Wake
from reconciler.agent.wanted import Invalid, Source, Wanted
from reconciler.agent.work import Work
from reconciler.compile.facts import Facts
from reconciler.compile.state import HostState
from reconciler.datapath.errors import HostError, TransientError
from reconciler.datapath.protocol import Datapath
from reconciler.plan import lines, render
from reconciler.plan.diff import diff
from reconciler.plan.guards import ANY_UPGRADE, Limits
from reconciler.plan.plan import Plan
from reconciler.source.git import SourceError

PASSES = 6  # an interface makes facts, a fact makes rows; two are usual, the rest is for races


@dataclass(frozen=True, slots=True)
class Ask:
    """What a round is to do besides looking.

    `force` is the digest of a refused plan to apply, or ANY_UPGRADE.
    """

    force: str = ""
    trouble: str = ""  # why the remote could not be asked
    shown: bool = False  # somebody wants to read the plan


class Rounds:
    """One host. Not thread-safe: the loop calls it, the holder of the host's lock."""

    def __init__(
        self,
        source: Source,
        datapath: Datapath,
        store: Store,
        limits: Limits,
        clock: Clock,
        stopping: Callable[[], bool] = lambda: False,
        grace: float = 0.0,
    ) -> None:
        """`grace`: the period in seconds, see compile.linger."""
        self._source, self._datapath, self._store = source, datapath, store
        self._limits, self._clock, self._stopping = limits, clock, stopping
        self._grace = grace
        self._good: LastGood | None = None
        self._last: Target | None = None  # of the last good state
        self._unsaved = False
        self._forced = ""
        self._bound: HostState | None = None  # what was live when it last converged here
        self._known: Known | None = None  # the same with its facts, until something goes wrong
        self._looked: tuple[HostState, Facts] | None = None  # for which state, and what it saw
        self._print: bytes | None = (
            None  # of the maps when they were as wanted; None: written to since
        )
        self._seen = ""
        self._held: Newest | None = None
        self.bound: HostState | None = None
        """With its facts, what the last round wanted live, whether or not it could write all."""

    def load(self) -> str:
        """Take up what the last agent kept; what was wrong with it, or ''."""
        try:
            self._good, self._forced = self._store.load(), self._store.forced()
        except StoreError as error:
            return str(error)
        return ""

    def moved(self) -> bool:
        """Whether there is another commit than that of the last round; cheap."""
        try:
            return self._source.newest() != self._seen
        except SourceError:
            return bool(self._seen)

    def facts_moved(self) -> bool:
        """Whether facts differ from those that the last round saw; cheap.

        False where they cannot be read, or no round got so far: timers try that again.
        """
        if self._looked is None:
            return False
        state, facts = self._looked
        try:
            return self._datapath.facts(state) != facts
        except (HostError, TransientError):
            return False

    def tables_moved(self) -> bool:
        """Whether somebody wrote into maps since they were found to be as wanted; cheap.

        False where that is not known, or they cannot be read: timers look at everything.
        """
        if self._print is None:
            return False
        try:
            return self._datapath.fingerprint() != self._print
        except (HostError, TransientError):
            return False

    def run(
        self, wakes: tuple[str, ...], ask: Ask = Ask(), since: float | None = None
    ) -> RoundReport:
        """One round. `since` is the monotonic second at which a push was noticed."""
        phases = Phases(self._clock)
        if not _of_commits(wakes, ask):
            self._known = None
        newest, wanted = self._newest(phases)
        if ask.trouble:
            newest = replace(newest, error=ask.trouble)
        enforced = None
        if wanted is not None:
            newest, enforced = self._attempt(newest, wanted, ask, phases)
        if enforced is None:
            enforced = self._heal(ask, phases)
        took = None
        if since is not None and enforced.cause is Cause.PENDING:
            took = self._clock.monotonic() - since
        unsaved = self._save(phases)
        return RoundReport(
            self._clock.wall(), wakes, newest, enforced, phases.milliseconds, took, unsaved
        )

    def _newest(self, phases: Phases) -> tuple[Newest, Wanted | None]:
        self._seen = ""
        try:
            with phases("resolve"):
                revision = self._source.newest()
            last = None if self._good is None else self._good.state
            meaning = self._source.read(revision, phases, last)
        except SourceError as error:
            return Newest("", Verdict.UNREADABLE, error=str(error)), None
        self._seen = revision
        if isinstance(meaning, Invalid):
            return Newest(revision, Verdict.INVALID, problems=meaning.problems), None
        return Newest(revision, Verdict.ACCEPTED), meaning

    def _attempt(
        self, newest: Newest, wanted: Wanted, ask: Ask, phases: Phases
    ) -> tuple[Newest, Enforced | None]:
        """Apply the newest commit. One that a guard holds stays so until it is forced."""
        held = self._held
        if held is not None and held.revision == wanted.revision and not ask.force:
            return replace(held, error=newest.error), None
        self._held = None
        force = None if wanted.revision == self._forced else ask.force
        done = self._enforce(wanted, force, ask, phases)
        if isinstance(done, Enforced):
            return newest, done
        refusals = [lines.refusal_line(each) for each in done.refusals]
        if wanted.missing:
            refusals.append(wanted.missing)
        if not refusals:
            refusals.append(f"the plan is another one by now: {done.digest}")
        held = replace(
            newest,
            verdict=Verdict.HELD,
            refusals=tuple(refusals),
            digest=done.digest,
            remedy=lines.remedy(done.refusals, done.digest),
            stale=_stale(done, ask),
            text=render.text(done),
        )
        self._held = held if done.refused else None
        return held, None

    def _heal(self, ask: Ask, phases: Phases) -> Enforced:
        """Enforce the last good state."""
        good = self._good
        if good is None:
            return Enforced("", Result.NOTHING)
        wanted = Wanted(good.revision, good.state, good.names)
        done = self._enforce(wanted, None, replace(ask, force=""), phases)
        if isinstance(done, Enforced):
            return done
        # Only what cannot be forced is left: a map that is too small for what was good once, or an
        # upgrade that has to be asked for.
        error = "; ".join(each.message for each in done.refusals)
        return Enforced(good.revision, Result.FAILED, error=error, hopeless=True)

    def _enforce(
        self, wanted: Wanted, force: str | None, ask: Ask, phases: Phases
    ) -> Enforced | Plan:
        """Until nothing differs; the plan itself if it is refused before anything was written."""
        work = Work(wanted.revision)
        try:
            return self._passes(wanted, force, ask, work, phases)
        except TransientError as error:
            return work.ended(Result.FAILED, str(error))
        except HostError as error:
            return work.ended(Result.FAILED, str(error), hopeless=True)

    def _passes(
        self, wanted: Wanted, force: str | None, ask: Ask, work: Work, phases: Phases
    ) -> Enforced | Plan:
        aim = Aim.of(wanted, self._good, self._clock.wall(), self._grace, self._last)
        self._last, work.stay = aim.last, aim.target.stay
        known, self._known = self._known, None
        fingerprint, self._print = self._print, None
        if wanted.missing or self._good is None or force:
            known = None
        for number in range(PASSES):
            with phases("verify" if number else "", only=bool(number)):
                proposal = self._propose(aim, force, known, phases)
                if number == 0 and known is not None and proposal.plan.refused:
                    known = None  # guards judge by what is there, not by what should be
                    proposal = self._propose(aim, force, known, phases)
            plan = proposal.plan
            self._looked = (aim.target.state, proposal.facts)
            work.saw(plan, proposal.live)
            if plan.refused or (number == 0 and _stale(plan, ask)):
                return plan if number == 0 else work.ended(Result.PARTLY, _reasons(plan))
            self.bound = proposal.bound.state
            if plan.empty:
                self._settle(aim, proposal)
                self._print = proposal.fingerprint or fingerprint
                return work.ended(Result.CONVERGED)
            fingerprint = None
            self._remember_force(plan)
            if ask.shown and not work.text:
                work.text = render.text(plan)
            with phases("apply"):
                report = self._datapath.apply(plan, self._stopping)
            work.wrote(report)
            if number == 0:
                work.cause, work.drift = self._cause(aim, proposal)
            if self._stopping() and not report.done:
                return work.ended(Result.STOPPED)
            if not report.done:
                error = "; ".join(map(str, report.failures))
                return work.ended(Result.FAILED, error, hopeless=report.hopeless)
            if not _makes_facts(plan):
                work.saw(plan, proposal.bound.state)
                self._settle(aim, proposal)
                return work.ended(Result.CONVERGED)
            if force != ANY_UPGRADE:
                force = None  # what was allowed at the first pass is carried through
            known = Known.after(proposal) if known is not None else None
        return work.ended(Result.PARTLY, f"something still differs after {PASSES} passes")

    def _propose(
        self, aim: Aim, force: str | None, known: Known | None, phases: Phases
    ) -> Proposal:
        return propose(aim, self._datapath, self._limits, phases, force, known)

    def _remember_force(self, plan: Plan) -> None:
        """Before the first write, so that the next run completes one that is killed."""
        if any(each.forceable for each in plan.forced) and self._forced != plan.commit:
            try:
                self._store.force(plan.commit)
            except OSError as error:
                raise HostError(
                    f"the force cannot be noted, so it is not begun: {error}"
                ) from error
            self._forced = plan.commit

    def _cause(self, aim: Aim, proposal: Proposal) -> tuple[Cause, int]:
        """Why live differed, and how many of the writes undid what somebody else had written."""
        if self._bound is not None:
            drift = diff(self._bound, proposal.live).counts.total
        else:
            drift = proposal.plan.drift if proposal.live.programs else 0
        if self._good is None or self._good.revision != aim.wanted.revision:
            return Cause.PENDING, drift
        if drift:
            return Cause.DRIFT, drift
        if proposal.live.programs and aim.target.kept is not self._good.kept:
            return Cause.ENDED, 0
        return (Cause.RESTORED if self._bound is None else Cause.FACTS), 0

    def _settle(self, aim: Aim, proposal: Proposal) -> None:
        """Everything is as wanted: that is the last good state from now on."""
        wanted, kept = aim.wanted, aim.target.kept
        self._bound = proposal.bound.state
        self._known = Known(proposal.bound, self._bound, self._bound)
        good = self._good
        known = good is not None and good.revision == wanted.revision
        self._last = aim.target
        if good is not None and known and good.state is wanted.state and good.kept is kept:
            return
        applied = good.applied if good is not None and known else self._clock.wall()
        self._unsaved |= good is None or not known or good.state != wanted.state
        self._unsaved |= good is not None and good.kept is not kept
        self._good = LastGood(wanted.revision, wanted.state, wanted.names, applied, kept)

    def _save(self, phases: Phases) -> str:
        """Keep the last good state, now that all is written. Why it failed, or ''."""
        if not self._unsaved or self._good is None:
            return ""
        with phases("save"):
            try:
                self._store.save(self._good)
                self._store.unforce()
            except OSError as error:
                return f"the last good state could not be kept: {error}"
        self._unsaved, self._forced = False, ""
        return ""


def _of_commits(wakes: tuple[str, ...], ask: Ask) -> bool:
    """Whether nothing but a commit can be new. All else, and a timer, has everything looked at."""
    return set(wakes) == {Wake.REF} and not (ask.force or ask.shown)


def _stale(plan: Plan, ask: Ask) -> bool:
    """Whether somebody meant another plan than this one."""
    named = ask.force not in ("", ANY_UPGRADE)
    return named and bool(plan.steps or plan.leaves) and plan.digest != ask.force


def _makes_facts(plan: Plan) -> bool:
    """Whether carrying it out may change facts, so that everything has to be looked at again.

    Otherwise it has converged: what was written was read back by the datapath, and all else was
    read in this round.
    """
    diff = plan.diff
    return bool(diff.interfaces or diff.links or diff.programs or diff.maps)


def _reasons(plan: Plan) -> str:
    return "; ".join(each.message for each in plan.refusals)
