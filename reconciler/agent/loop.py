"""Agent: wakes -> rounds. Decides when to look, when to run, how long to wait; never what to do.

A single wake is acted on at once; what comes during a round and shortly after it becomes one round.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.agent.backoff import Backoff, Random, jittered
from reconciler.agent.clock import Clock
from reconciler.agent.fetch import Fetcher
from reconciler.agent.report import Result, RoundReport, unforeseen
from reconciler.agent.round import Ask, Rounds
from reconciler.agent.wakes import Event, Wake, Wakes
from reconciler.compile.bind import NEXT_HOP

LOG = logging.getLogger("reconciler.agent")

WAITING = 0.5  # seconds between looks for what is waited for; netlink and inotify are quicker
FAR = 5.0  # the same where it is other hosts alone: of them netlink tells, sooner or later
HEARTBEAT = 60.0  # seconds after which the loop shows that it runs, if it has nothing to do
START_PATIENCE = 5.0  # seconds for a remote's first answer, before the last good state is enforced
SHARE = 0.01  # of one core that may go into looking for drift where nothing else happens
OFTEN = 5  # looks at the maps alone for one at everything, within a SHARE of their own
STUCK = 10.0  # seconds between looks for drift where writing fails; trying again has its own pace
REFRESH = 10.0  # seconds between looks for folders that appeared
ALWAYS = frozenset({Wake.START, Wake.DRIFT, Wake.GRACE, Wake.RETRY, Wake.HANGUP, Wake.REQUEST})
ASKING = frozenset({Wake.START, Wake.POLL, Wake.RETRY, Wake.HANGUP, Wake.REQUEST})
PATIENT = frozenset({Wake.START, Wake.REQUEST})
OF_FACTS = frozenset({Wake.NETLINK, Wake.NETNS, Wake.WAITING})


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `drift` is the shortest time between two looks for drift; what one costs makes it
    longer (SHARE). `poll` 0: the repository is local, its refs are watched."""

    drift: float = 0.25
    poll: float = 0.0
    debounce: float = 0.1
    backoff: Backoff = field(default_factory=Backoff)


class Agent:
    """Runs until a STOP wake.

    `after` hears every report, with the seconds until the next try; `refresh` is called on a slow
    timer; `alive` whenever the loop has come around, at least every HEARTBEAT.
    """

    def __init__(
        self,
        rounds: Rounds,
        wakes: Wakes,
        clock: Clock,
        pace: Pace,
        after: Callable[[RoundReport, float | None], None],
        fetcher: Fetcher | None = None,
        refresh: Callable[[], None] = lambda: None,
        alive: Callable[[], None] = lambda: None,
        random: Random = random.random,
    ) -> None:
        self._rounds, self._wakes, self._clock, self._pace = rounds, wakes, clock, pace
        self._after, self._fetcher, self._refresh = after, fetcher, refresh
        self._alive, self._random = alive, random
        self._timers: dict[Wake, float] = {}
        self._kept: list[Event] = []
        self._interval = WAITING
        self._failures = 0
        self._cost = 0.0  # processor seconds of the last round that only looked for drift
        self._maps_cost = 0.0  # the same of looks at the maps alone, the last one half of it
        self._refresh_at = 0.0
        self._told_trouble = ""
        self._ended = float("-inf")
        self._look_at = float("-inf")
        self._stopped = False

    def run(self) -> None:
        """The loop."""
        self._set(Wake.DRIFT, self._pace.drift)
        self._take([Event(Wake.START, self._clock.monotonic())])
        while not self._stopped:
            self._alive()
            self._take(self._events())

    def _take(self, events: list[Event]) -> None:
        """Act on what came, if there is reason to."""
        if self._stops(events):
            return
        events = self._after_remote(events)
        wakes = {event.wake for event in events}
        self._look_for_folders(wakes)
        if not self._has_reason(wakes):
            return
        settled = self._settle(events)
        if not self._stops(settled):
            self._round(settled)

    def _look_for_folders(self, wakes: set[Wake]) -> None:
        now = self._clock.monotonic()
        if Wake.HANGUP in wakes or now >= self._refresh_at:
            self._refresh_at = now + REFRESH
            self._refresh()

    def _after_remote(self, events: list[Event]) -> list[Event]:
        """Ask a remote, and keep back what wants its answer; pushes and drift never wait for it."""
        fetcher = self._fetcher
        if fetcher is None:
            return events
        now = self._clock.monotonic()
        if any(event.wake in ASKING for event in events):
            fetcher.start()
            if self._pace.poll:
                self._set(Wake.POLL, jittered(self._pace.poll, self._random))
        for event in events:
            if event.wake in PATIENT:
                patience = fetcher.limit if event.request else min(fetcher.limit, START_PATIENCE)
                self._timers[Wake.OVERDUE] = now + patience
                self._kept.append(event)
        rest = [event for event in events if event.wake not in PATIENT]
        if fetcher.busy and not any(event.wake is Wake.OVERDUE for event in events):
            return rest
        kept, self._kept = self._kept, []
        self._timers.pop(Wake.OVERDUE, None)
        return [*kept, *rest]

    def _stops(self, events: list[Event]) -> bool:
        self._stopped |= any(event.wake is Wake.STOP for event in events)
        return self._stopped

    def _has_reason(self, wakes: set[Wake]) -> bool:
        """Looking at the ref or at the facts is much cheaper than a round."""
        if wakes & ALWAYS or (Wake.REF in wakes and self._commit_moved()):
            return True
        if Wake.WAITING in wakes:
            self._set(Wake.WAITING, self._interval)
        if Wake.TABLES in wakes and self._tables_moved():
            return True
        return bool(wakes & OF_FACTS) and self._facts_moved()

    def _tables_moved(self) -> bool:
        before = self._clock.cpu()
        moved = self._rounds.tables_moved()
        self._maps_cost = (self._maps_cost + self._clock.cpu() - before) / 2
        self._plan_look()
        return moved

    def _plan_look(self) -> None:
        """At the maps alone."""
        self._set(Wake.TABLES, max(self._pace.drift / OFTEN, self._maps_cost / SHARE))

    def _facts_moved(self) -> bool:
        """Kernels tell of every neighbour that they confirm: look now, then not for a while."""
        now = self._clock.monotonic()
        if now < self._look_at:
            self._timers[Wake.NETLINK] = self._look_at
            return False
        self._look_at = now + self._pace.debounce
        return self._rounds.facts_moved()

    def _commit_moved(self) -> bool:
        """A fetch that failed, or works again, is news too."""
        return self._rounds.moved() or self._trouble != self._told_trouble

    @property
    def _trouble(self) -> str:
        return self._fetcher.error if self._fetcher else ""

    def _settle(self, events: list[Event]) -> list[Event]:
        """What comes before the pause after the last round is over belongs to this round."""
        found = list(events)
        while not any(event.wake is Wake.STOP for event in found):
            left = self._ended + self._pace.debounce - self._clock.monotonic()
            if left <= 0:
                break
            found += self._after_remote(list(self._wakes.wait(left)))
        return found

    def _round(self, events: list[Event]) -> None:
        asking = [event.request for event in events if event.request is not None]
        forced = [each.force for each in asking if each.force]
        pushes = [event.at for event in events if event.wake is Wake.REF]
        wakes = tuple(sorted({event.wake for event in events}))
        self._told_trouble = self._trouble
        before = self._clock.cpu()
        ask = Ask(forced[-1] if forced else "", self._told_trouble, shown=bool(asking))
        try:
            report = self._rounds.run(wakes, ask, min(pushes, default=None))
        except Exception as error:  # whatever it is, healing goes on
            LOG.exception("a round ended in an error that nobody foresaw; please report it")
            report = unforeseen(error, wakes, self._clock)
        if _only_looked(report):
            self._cost = self._clock.cpu() - before  # and whatever comes next need not wait
        else:
            self._ended = self._clock.monotonic()
        self._after(report, self._plan_next(report))
        for request in asking:
            request.answer(report)

    def _plan_next(self, report: RoundReport) -> float | None:
        """Set the timers; in how many seconds a failure is tried again."""
        broken = report.enforced.result in (Result.PARTLY, Result.FAILED)
        looks = max(self._pace.drift, self._cost / SHARE, STUCK if broken else 0.0)
        if "glance" not in report.phases or Wake.DRIFT not in self._timers or broken:
            self._set(Wake.DRIFT, looks)  # a glance puts off no look at everything
        if Wake.TABLES not in self._timers:
            self._plan_look()
        self._timers.pop(Wake.WAITING, None)
        self._timers.pop(Wake.RETRY, None)
        self._timers.pop(Wake.GRACE, None)
        if report.enforced.stay is not None:
            self._set(Wake.GRACE, max(report.enforced.stay.next - self._clock.wall(), 0))
        if report.enforced.waiting:
            near = any(each.fact != NEXT_HOP for each in report.enforced.waiting)
            self._interval = WAITING if near else FAR
            self._set(Wake.WAITING, self._interval)
        self._failures = self._failures + 1 if report.failed else 0
        if report.newest.stale:  # whoever asked is told; the commit is judged without the force
            self._set(Wake.RETRY, 0)
        if not self._failures or report.enforced.hopeless:
            return None
        delay = self._pace.backoff.delay(self._failures, self._random)
        self._set(Wake.RETRY, delay)
        return delay

    def _set(self, wake: Wake, seconds: float) -> None:
        self._timers[wake] = self._clock.monotonic() + seconds

    def _events(self) -> list[Event]:
        """Wait until something comes or a timer is due."""
        now = self._clock.monotonic()
        found = list(self._wakes.wait(min(HEARTBEAT, min(self._timers.values()) - now)))
        now = self._clock.monotonic()
        for wake in [wake for wake, at in self._timers.items() if at <= now]:
            del self._timers[wake]
            found.append(Event(wake, now))
        if len(found) > 1 and Wake.TABLES not in self._timers:  # others come first
            found = [each for each in found if each.wake is not Wake.TABLES]
            self._plan_look()
        return found


def _only_looked(report: RoundReport) -> bool:
    """Whether a round compared, and neither wrote nor read a commit."""
    return (
        report.wakes == (Wake.DRIFT,)
        and not report.enforced.changed
        and report.phases.keys().isdisjoint(("snapshot", "check"))
    )
