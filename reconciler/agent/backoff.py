"""How long to wait before the next try: ever longer, and spread, so that hosts do not march."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Random = Callable[[], float]  # uniform in [0, 1), as random.random


@dataclass(frozen=True, slots=True)
class Backoff:
    """`first` and `limit` are seconds."""

    first: float = 0.5
    limit: float = 60.0

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after so many failures in a row: half of it fixed, half random."""
        whole = min(self.limit, self.first * 2.0 ** min(failures - 1, 30))
        return whole * (0.5 + random() / 2)


def jittered(interval: float, random: Random) -> float:
    """An interval spread over 80 to 120 percent."""
    return interval * (0.8 + 0.4 * random())
