"""Wakes: what made the loop run. Level-triggered: a wake says when to look, never what to do.

Threads, signal handlers and requests put wakes; the loop alone takes them, all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import Protocol

from reconciler.agent.clock import Clock
from reconciler.agent.report import RoundReport


class Request(Protocol):
    """Somebody who waits for a round; `force` is the digest of a refused plan, or ''."""

    force: str

    def answer(self, report: RoundReport) -> None:
        """Hear what became of it."""
        ...


class Wake(StrEnum):
    """Why the loop runs."""

    START = "start"
    REF = "ref"  # a ref of the local repository may have moved
    POLL = "poll"  # time to ask the remote
    NETLINK = "netlink"  # an interface, address, route or neighbour changed
    NETNS = "netns"  # a network namespace was named or removed
    WAITING = "waiting"  # time to look whether what is waited for is there
    TABLES = "tables"  # time to see whether somebody wrote into the maps
    DRIFT = "drift"  # time to compare everything with the kernel
    GRACE = "grace"  # the time of something that was kept for other hosts is over
    RETRY = "retry"  # time to try again what failed
    HANGUP = "hangup"  # SIGHUP
    REQUEST = "request"  # somebody asked through the socket
    OVERDUE = "overdue"  # the remote was waited for long enough
    STOP = "stop"  # SIGTERM, SIGINT


@dataclass(frozen=True, slots=True)
class Event:
    """One wake: `at` is monotonic seconds. `request` is for REQUEST alone: whom to answer."""

    wake: Wake
    at: float
    request: Request | None = None


class Wakes(Protocol):
    """Where the loop waits."""

    def wait(self, seconds: float) -> tuple[Event, ...]:
        """Everything that came, in order; at the latest after `seconds`, then maybe nothing."""
        ...


class WakeQueue:
    """Wakes from any thread. A kind that is already waiting to be taken is not put twice."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # SimpleQueue.put is reentrant: a signal handler may run in the middle of get or put.
        self._queue: SimpleQueue[Event] = SimpleQueue()
        self._pending: set[Wake] = set()

    def put(self, wake: Wake, request: Request | None = None) -> None:
        """From any thread, and from a signal handler."""
        if request is None:
            if wake in self._pending:
                return
            self._pending.add(wake)
        self._queue.put(Event(wake, self._clock.monotonic(), request))

    def putter(self, wake: Wake) -> Callable[[], None]:
        """A function that puts this wake."""
        return lambda: self.put(wake)

    def wait(self, seconds: float) -> tuple[Event, ...]:
        """See Wakes. A wake that comes while this returns belongs to the round that follows."""
        events = []
        try:
            events.append(self._queue.get(timeout=max(seconds, 0)))
            while True:
                events.append(self._queue.get_nowait())
        except Empty:
            pass
        self._pending -= {event.wake for event in events}
        return tuple(events)
