"""Fetcher: fetches a remote in a thread of its own, so that a slow remote holds up no healing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from reconciler.agent.clock import Clock
from reconciler.source.errors import SourceError


class Fetcher:
    """At most one fetch at a time. `done` is called in its thread, whatever became of it."""

    def __init__(
        self, fetch: Callable[[], None], done: Callable[[], None], limit: float, clock: Clock
    ) -> None:
        """`limit` is how many seconds the remote may take."""
        self.limit = limit
        self._fetch, self._done, self._clock = fetch, done, clock
        self._lock = threading.Lock()
        self._busy = self._again = False
        self._started = 0.0
        self._error = ""

    def start(self) -> None:
        """Fetch what is there now; while a fetch is under way, once more after it."""
        with self._lock:
            self._again = self._busy
            if not self._busy:
                self._busy, self._started = True, self._clock.monotonic()
                threading.Thread(target=self._run, name="fetch", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a fetch is under way."""
        return self._busy

    @property
    def error(self) -> str:
        """Why the remote's newest commit is not known; '' if it is."""
        spent = self._clock.monotonic() - self._started
        if self._busy and spent >= self.limit:
            return f"the remote has not answered for {spent:.0f} s"
        return self._error

    def _run(self) -> None:
        while True:
            try:
                self._fetch()
                self._error = ""
            except SourceError as error:
                self._error = str(error)
            with self._lock:
                self._busy = self._again
                self._again = False
            if not self._busy:
                break
        self._done()
