"""RoundReport: what one round found and did; all that the agent says of itself is made of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.agent.clock import Clock
from reconciler.plan.diff import Counts


class Verdict(StrEnum):
    """What became of the newest commit."""

    ACCEPTED = "accepted"  # it is what is enforced
    INVALID = "invalid"  # it has problems: no plan exists
    HELD = "held"  # a guard refuses its plan, until somebody forces it or commits again
    UNREADABLE = "unreadable"  # the repository did not answer, or has no such branch


class Result(StrEnum):
    """What became of enforcing the accepted commit, or the last good one."""

    CONVERGED = "converged"  # nothing differs, after reading back
    PARTLY = "partly"  # something was written, something still differs
    FAILED = "failed"  # nothing could be written
    STOPPED = "stopped"  # asked to stop in the middle
    NOTHING = "nothing"  # no commit was ever good here


class Cause(StrEnum):
    """Why live differed."""

    NONE = ""  # it did not
    PENDING = "pending"  # the commit changed
    DRIFT = "drift"  # somebody else wrote
    FACTS = "facts"  # the commit did not change, but an interface or a next hop did
    RESTORED = "restored"  # the host held nothing, as after a reboot
    ENDED = "ended"  # the time of what was kept for other hosts is over


@dataclass(frozen=True, slots=True)
class Waits:
    """A manifest and the fact that it waits for."""

    origin: str
    fact: str


@dataclass(frozen=True, slots=True)
class Stay:
    """How many rows are kept for other hosts, until when the last of them, when something ends
    next; both are the wall's seconds."""

    rows: int
    until: float
    next: float


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest commit and what became of it. `digest` is that of its plan, where it is held."""

    revision: str
    verdict: Verdict
    problems: tuple[str, ...] = ()  # of manifests, one a line
    refusals: tuple[str, ...] = ()  # of guards
    digest: str = ""
    remedy: str = ""  # what an operator can do about it
    stale: bool = False  # a force named another digest
    text: str = ""  # the refused plan, for people
    error: str = ""  # of the repository; what was known before it may be judged all the same


@dataclass(frozen=True, slots=True)
class Enforced:
    """What was done so that live becomes `revision`. `changed` counts what differed before."""

    revision: str
    result: Result
    cause: Cause = Cause.NONE
    drift: int = 0  # writes that undo what somebody else wrote
    changed: Mapping[str, Counts] = field(default_factory=dict)  # by "table NAME", "links", ...
    waiting: tuple[Waits, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)  # live rows by table, at the end
    error: str = ""
    hopeless: bool = False  # trying again does not help: the host needs an operator
    notes: tuple[str, ...] = ()  # what an operator should hear, such as a fallback
    text: str = ""  # the plan, for people
    stay: Stay | None = None  # what is kept of earlier commits

    @property
    def counts(self) -> Counts:
        """All writes."""
        return sum(self.changed.values(), Counts())


@dataclass(frozen=True, slots=True)
class RoundReport:
    """`at` is the wall's seconds at the end; `phases` are milliseconds by name, in order."""

    at: float
    wakes: tuple[str, ...]
    newest: Newest
    enforced: Enforced
    phases: Mapping[str, float]
    push_to_applied: float | None = None  # seconds, where a push caused this round
    unsaved: str = ""  # why the last good state could not be kept on disk

    @property
    def failed(self) -> bool:
        """Whether something has to be tried again."""
        broken = self.enforced.result in (Result.PARTLY, Result.FAILED)
        return broken or bool(self.newest.error) or bool(self.unsaved)


def unforeseen(error: Exception, wakes: tuple[str, ...], clock: Clock) -> RoundReport:
    """The report of a round that a defect ended."""
    newest = Newest("", Verdict.UNREADABLE)
    what = f"unforeseen {type(error).__name__}: {error}; please report it with the agent's log"
    return RoundReport(clock.wall(), wakes, newest, Enforced("", Result.FAILED, error=what), {})


class Phases:
    """Measures the phases of a round; one that occurs twice is added up.

    Inside a phase that is called `only` nothing else is measured.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._only = False
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, *, only: bool = False) -> Iterator[None]:
        """Measure what is inside, also when it fails; nothing for ''."""
        if self._only or not name:
            yield
            return
        started = self._clock.monotonic()
        self._only = only
        try:
            yield
        finally:
            self._only = False
            spent = (self._clock.monotonic() - started) * 1000
            self.milliseconds[name] = round(self.milliseconds.get(name, 0.0) + spent, 3)
