"""Detector: when hosts were probed and heard -> whom to probe next, and who is dead.

All are probed every `base`. Who has not answered within `patience` is probed every `fast` until it
answers, or is dead after `silence` and so many `probes`: a host is found dead 0.42 to 0.75 s after
it died, and at 20 % loss none is by mistake (17 losses in a row: 1 in 10^12 probes). It takes both,
since a probe that was never sent, because the machine was busy, speaks against nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import Liveness
from reconciler.abi.table import Rows
from reconciler.compile.neighbours import Neighbours
from reconciler.compile.programs import PATH_SECONDS

LEARNED = PATH_SECONDS << 30 - Liveness.SHIFT  # units that a direct path is used without news
RECENT = 16  # units (1 s): who was heard since is alive when an agent starts


class State(IntEnum):
    """What the detector makes of a host. A new one is treated as alive."""

    NEW = 0
    ALIVE = 1
    DEAD = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, but for the numbers `probes` and `answers`."""

    base: float = 0.33
    patience: float = 0.05  # more than a round trip takes
    fast: float = 0.022
    silence: float = 0.4
    probes: int = 12
    chance: float = 3.0  # what a host that was never heard has instead of `silence`
    answers: int = 3  # to probes in a row, until a dead host is alive


@dataclass(frozen=True, slots=True)
class Step:
    """Rows to probe now, and rows that were found dead, or alive again, just now.

    `news`: some state changed, be it only that a new host was heard.
    """

    probe: NDArray[np.intp]
    dead: NDArray[np.intp]
    alive: NDArray[np.intp]
    news: bool


class Detector:
    """One row for each host that is probed; `slots`, `addresses` and `names` say which it is."""

    def __init__(self, health: Rows, pace: Pace | None = None) -> None:
        """`health` are the live rows of that map, by slot; only its column `dead` is written."""
        self._health, self._pace = health, pace or Pace()
        self._heard, self._dead = health["heard"], health["dead"]
        self._next = float("-inf")
        self._neighbours: Neighbours | None = None
        self._chosen = np.zeros(0, np.bool_)  # of these, who is probed
        self._choose(np.zeros(0, np.uint16), np.zeros(0, np.uint32), ())

    def _choose(
        self, slots: NDArray[np.uint16], addresses: NDArray[np.uint32], names: tuple[str, ...]
    ) -> None:
        self.slots, self.addresses, self.names = slots, addresses, names
        self._at, count = slots.astype(np.intp), len(slots)
        self._all = np.arange(count)
        self.state = np.full(count, State.NEW, np.uint8)
        self._asked = np.full(count, np.inf)  # when its first unanswered probe was sent
        self._asked_unit = np.zeros(count, np.uint32)  # the same by the clock of `health`
        self._missed = np.zeros(count, np.int64)  # probes since, and that one
        self._answers = np.zeros(count, np.int64)  # of a dead one, to probes in a row

    def follow(self, neighbours: Neighbours, unit: int) -> bool:
        """Probe these from now on: who is named, and whose paths are in use. Whether any changed.

        Who stays keeps its state. `unit` is now, by the clock of `health`.
        """
        learned = self._health["learned"][neighbours.slots]
        used = (learned != 0) & (_since(learned, unit) <= LEARNED)
        chosen = neighbours.named | used
        if neighbours is self._neighbours and np.array_equal(chosen, self._chosen):
            return False
        self._chosen, chosen = chosen, np.flatnonzero(chosen)
        slots, addresses = neighbours.slots[chosen], neighbours.addresses[chosen]
        first, self._neighbours = self._neighbours is None, neighbours
        if not first and np.array_equal(_keys(slots, addresses), _keys(self.slots, self.addresses)):
            return False
        before = self.slots, self.addresses, self.state, self._asked, self._asked_unit
        missed, answers = self._missed, self._answers
        self._choose(slots, addresses, tuple(neighbours.names[each] for each in chosen.tolist()))
        _, new, old = np.intersect1d(
            _keys(slots, addresses), _keys(before[0], before[1]), return_indices=True
        )
        self.state[new], self._asked[new] = before[2][old], before[3][old]
        self._asked_unit[new] = before[4][old]
        self._missed[new], self._answers[new] = missed[old], answers[old]
        fresh = np.setdiff1d(np.arange(len(slots)), new)
        if first:
            self._take_over(unit)
        else:
            self._dead[np.setdiff1d(before[0], slots)] = 0
            self._dead[slots[fresh]] = 0  # a slot that had another owner
        return True

    def _take_over(self, unit: int) -> None:
        """What the last agent found a moment ago still holds; nothing else that it left does."""
        dead, heard = self._dead[self.slots], self._heard[self.slots]
        self.state[(heard != 0) & (_since(heard, unit) <= RECENT)] = State.ALIVE
        self.state[(dead != 0) & (_since(dead, unit) <= Liveness.LASTS)] = State.DEAD
        others = np.setdiff1d(np.flatnonzero(self._dead), self.slots)
        self._dead[others] = 0

    def step(self, now: float, unit: int) -> Step:
        """Judge, and say whom to probe; `now` are monotonic seconds, `unit` as in follow()."""
        dead, alive, news = self._judge(now)
        if news:
            self._write(dead, alive, unit)
        if now >= self._next:
            late = now - self._next
            self._next = now + self._pace.base - (late if late < self._pace.base else 0.0)
            probe = self._all
            self._dead[self._at[self.state == State.DEAD]] = unit
        else:
            probe = np.flatnonzero(self._suspects(now))
        if len(probe):
            self._note(probe, now, unit)
        return Step(probe, dead, alive, news)

    def _write(self, dead: NDArray[np.intp], alive: NDArray[np.intp], unit: int) -> None:
        """The one place where a verdict changes."""
        self._dead[self._at[dead]] = unit
        self._dead[self._at[alive]] = 0

    def _judge(self, now: float) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
        """Rows that are dead, and alive again; whether any state changed."""
        rows = np.flatnonzero(self._asked < np.inf)  # the few that somebody still waits for
        if not len(rows):
            return rows, rows, False
        state, asked = self.state[rows], self._asked[rows]
        heard = self._heard[self._at[rows]]
        answered = (heard != 0) & ((heard - self._asked_unit[rows]).view(np.int32) >= 0)
        self._asked[rows[answered]], self._missed[rows[answered]] = np.inf, 0
        if answered.all() and (state == State.ALIVE).all():
            return rows[:0], rows[:0], False  # as nearly always
        dead = state == State.DEAD
        self._answers[rows[answered & dead]] += 1
        back = dead & (self._answers[rows] >= self._pace.answers)
        new = state == State.NEW
        limit = np.where(new, self._pace.chance, self._pace.silence)
        silent = (now - asked >= limit) & (self._missed[rows] >= self._pace.probes) & ~dead
        alive = back | (new & answered)
        news = bool((alive | silent).any())
        if news:
            self.state[rows[alive]] = State.ALIVE
            self.state[rows[silent]], self._answers[rows[silent]] = State.DEAD, 0
        return rows[silent], rows[back], news

    def _suspects(self, now: float) -> NDArray[np.bool_]:
        """Who was heard once and has not answered for more than `patience`."""
        found: NDArray[np.bool_] = now - self._asked >= self._pace.patience
        found &= self.state == State.ALIVE
        return found

    def _note(self, probe: NDArray[np.intp], now: float, unit: int) -> None:
        """They are sent a probe. A dead one's counts by itself, any other's since it was heard."""
        again = self._asked[probe] < np.inf
        dead = self.state[probe] == State.DEAD
        self._answers[probe[again & dead]] = 0
        anew = probe[~again | dead]
        self._asked[anew], self._asked_unit[anew], self._missed[anew] = now, unit, 0
        self._missed[probe] += 1

    def wait(self, now: float) -> float:
        """Seconds until the next step has something to do."""
        at = self._next
        asked = self._asked[self.state == State.ALIVE]
        if len(asked):
            first = float(asked.min()) + self._pace.patience
            at = min(at, first if first > now else now + self._pace.fast)
        return max(0.0, at - now)

    def counts(self) -> dict[str, int]:
        """Hosts by state, in lower case."""
        return {each.name.lower(): int((self.state == each).sum()) for each in State}

    def dead_names(self) -> tuple[str, ...]:
        """Names of the dead, sorted."""
        return tuple(sorted(self.names[each] for each in np.flatnonzero(self.state == State.DEAD)))


def _since(then: NDArray[np.uint32], unit: int) -> NDArray[np.uint32]:
    """Units from `then` to now, modulo 2^32."""
    return np.uint32(unit) - then


def _keys(slots: NDArray[np.uint16], addresses: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return slots.astype(np.uint64) << np.uint64(32) | addresses.astype(np.uint64)
