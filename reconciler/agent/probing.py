"""Probing: a thread that keeps asking other hosts whether they live, whatever the rounds do.

The detector decides, the prober sends, the map `health` takes the verdicts; log, condition and
metrics tell of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from reconciler.agent.clock import Clock
from reconciler.agent.conditions import Condition
from reconciler.agent.detector import Detector, Step
from reconciler.agent.status import stamp
from reconciler.compile.neighbours import Neighbours
from reconciler.datapath.errors import HostError, TransientError
from reconciler.datapath.protocol import Prober

LOG = logging.getLogger("reconciler.agent")

REFRESH = 1.0  # seconds between looks for hosts that are new, or maps
LISTED = 10  # hosts that a line names
UNKNOWN = Condition("HostsReachable", "Unknown", "NotProbed", "no probe was sent")


@dataclass(frozen=True, slots=True)
class Reach:
    """What is known of other hosts. Never changed: other threads read it."""

    hosts: Mapping[str, int] = field(default_factory=dict)  # by state
    dead: tuple[str, ...] = ()  # names
    verdicts: Mapping[str, int] = field(default_factory=lambda: {"alive": 0, "dead": 0})
    condition: Condition = UNKNOWN


class Probing:
    """`open` makes a prober; it may raise HostError or TransientError, and is tried again."""

    def __init__(
        self,
        open: Callable[[IPv4Address], Prober],
        clock: Clock,
    ) -> None:
        self._open, self._clock = open, clock
        self._wanted: Neighbours | None = None
        self._followed: Neighbours | None = None
        self._prober: Prober | None = None
        self._detector: Detector | None = None
        self._refresh_at = float("-inf")
        self._trouble = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probing", daemon=True)
        self.reach, self.probes = Reach(), 0

    def follow(self, neighbours: Neighbours | None) -> None:
        """Whom to probe, from any thread; the next second it is so."""
        if neighbours is not None and not neighbours.same(self._wanted):
            self._wanted = neighbours

    def start(self) -> None:
        """Begin, in the network namespace of the caller."""
        self._thread.start()

    def stop(self) -> None:
        """End. Verdicts stay, for an agent that starts at once, until they expire."""
        self._stop.set()
        self._thread.join()
        self._close()

    def _run(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            try:
                wait = self.turn()
            except Exception:  # whatever it is, forwarding goes on, and so does looking
                LOG.exception("probing ended in an error that nobody foresaw; please report it")
                self._close()
                wait = REFRESH

    def turn(self) -> float:
        """One step; seconds until the next."""
        now = self._clock.monotonic()
        if now >= self._refresh_at or self._wanted is not self._followed:
            self._refresh_at = now + REFRESH
            self._refresh()
        if self._prober is None or self._detector is None:
            return REFRESH
        step = self._detector.step(now, self._prober.now())
        if len(step.probe):
            self._prober.send(step.probe)
            self.probes += len(step.probe)
        if step.news:
            self._prober.tell()
            if len(step.dead):
                self._prober.doubt(step.dead)
            self._tell(step)
            self._look(step)
        return self._detector.wait(self._clock.monotonic())

    def _refresh(self) -> None:
        """Open what has to be opened, and follow whom there is to follow."""
        wanted = self._wanted
        if wanted is None:
            return
        moved = self._followed is not None and self._followed.own != wanted.own
        if self._prober is not None and (moved or self._prober.replaced()):
            self._close()
        if self._prober is None:
            try:
                self._prober = self._open(wanted.own)
            except (HostError, TransientError, OSError) as error:
                self._close()
                self._fail(str(error))
                return
            self._trouble = ""
            self._detector = Detector(self._prober.health)
        assert self._detector is not None  # made with the prober
        if self._detector.follow(wanted, self._prober.now()):
            self._prober.aim(self._detector.addresses)
            self._look()
        self._followed = wanted

    def _close(self) -> None:
        prober, self._prober, self._detector, self._followed = self._prober, None, None, None
        if prober is not None:
            with suppress(OSError):
                prober.close()

    def _fail(self, error: str) -> None:
        if error != self._trouble:
            LOG.warning("other hosts are not probed: %s", error)
        self._trouble = error
        condition = replace(UNKNOWN, message=error)
        self._put(replace(self.reach, hosts={}, dead=(), condition=condition))

    def _tell(self, step: Step) -> None:
        assert self._detector is not None
        for rows, level, what in (
            (step.dead, logging.WARNING, "no longer answer and are avoided"),
            (step.alive, logging.INFO, "answer again"),
        ):
            if len(rows):
                names = sorted(self._detector.names[each] for each in rows.tolist())
                LOG.log(level, "hosts that %s: %s", what, _listed(names))

    def _look(self, step: Step | None = None) -> None:
        """Say how things are now; `step` is what changed them."""
        assert self._detector is not None
        hosts, dead = self._detector.counts(), self._detector.dead_names()
        total = sum(hosts.values())
        if dead:
            message = f"{len(dead)} of {total} do not answer: {_listed(dead)}"
            condition = Condition("HostsReachable", "False", "Dead", message)
        elif hosts["new"]:
            message = f"{hosts['new']} of {total} have not answered yet"
            condition = Condition("HostsReachable", "Unknown", "New", message)
        else:
            message = f"{total} answer" if total else "packets go to no other host"
            condition = Condition("HostsReachable", "True", "Alive", message)
        verdicts = dict(self.reach.verdicts)
        if step is not None:
            verdicts["dead"] += len(step.dead)
            verdicts["alive"] += len(step.alive)
        self._put(Reach(hosts, dead, verdicts, condition))

    def _put(self, reach: Reach) -> None:
        """`since` is when the status changed last."""
        old, new = self.reach.condition, reach.condition
        since = old.since if old.status == new.status and old.since else stamp(self._clock.wall())
        self.reach = replace(reach, condition=replace(new, since=since))


def with_hosts(document: Mapping[str, Any], probing: Probing) -> dict[str, Any]:
    """The status document with what is known of other hosts; before the first round, nothing is."""
    if not document["conditions"]:
        return dict(document)
    reach = probing.reach
    hosts = {
        "states": dict(reach.hosts),
        "verdicts": dict(reach.verdicts),
        "probes": probing.probes,
        "dead": {"count": len(reach.dead), "first": list(reach.dead[:LISTED])},
    }
    return {
        **document,
        "conditions": [*document["conditions"], asdict(reach.condition)],
        "hosts": hosts,
    }


def _listed(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
