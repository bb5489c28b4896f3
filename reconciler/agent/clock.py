"""Clock: what the agent knows of time, as a parameter, so that a test can turn it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that only advances, for intervals; the wall's, for people."""

    def monotonic(self) -> float:
        """Seconds that only advance, from an arbitrary start."""
        ...

    def wall(self) -> float:
        """Seconds since 1970 (UTC)."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()

    def wall(self) -> float:
        """CLOCK_REALTIME."""
        return time.time()
