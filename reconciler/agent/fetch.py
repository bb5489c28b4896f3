"""Fetcher: fetches a remote in a thread of its own, so that a slow remote holds up no healing."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from reconciler.agent.clock import Clock
from reconciler.source.git import SourceError


class Fetcher:
    """At most one fetch at a time. `done` is called in that thread, whatever became of it."""

    def __init__(
        self, fetch: Callable[[], None], done: Callable[[], None], limit: float, clock: Clock
    ) -> None:
        self._fetch, self._done, self._limit, self._clock = fetch, done, limit, clock
        self._thread: threading.Thread | None = None
        self._started = 0.0
        self._error = ""

    def start(self) -> None:
        """Begin a fetch unless one is under way."""
        if self.busy:
            return
        self._started = self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def wait(self, seconds: float = math.inf) -> None:
        """Until the fetch that is under way has ended, at most for its time limit."""
        if self._thread:
            self._thread.join(min(seconds, self._limit))

    @property
    def busy(self) -> bool:
        """Whether a fetch is under way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def error(self) -> str:
        """Why the remote's newest commit is not known; '' if it is."""
        spent = self._clock.monotonic() - self._started
        if self.busy and spent > self._limit:
            return f"the remote has not answered for {spent:.0f} s"
        return self._error

    def _run(self) -> None:
        try:
            self._fetch()
            self._error = ""
        except SourceError as error:
            self._error = str(error)
        finally:
            self._done()
