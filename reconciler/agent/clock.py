"""Clock: what the agent knows of time, as a parameter, so that a test can turn it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Three clocks: of intervals, of work, and the wall's, for people."""

    def monotonic(self) -> float:
        """Seconds that only advance, from an arbitrary start."""
        ...

    def cpu(self) -> float:
        """Seconds that the processors worked for this process."""
        ...

    def wall(self) -> float:
        """Seconds since 1970 (UTC)."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()

    def cpu(self) -> float:
        """CLOCK_PROCESS_CPUTIME_ID."""
        return time.process_time()

    def wall(self) -> float:
        """CLOCK_REALTIME."""
        return time.time()
