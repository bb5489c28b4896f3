"""Status: reports of rounds -> what the agent says of itself, as one JSON document.

Socket, status file, metrics and the verb `status` all show this document; times are in UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from reconciler.agent.conditions import Condition, conditions
from reconciler.agent.report import Result, RoundReport, Stay, Verdict
from reconciler.plan.diff import Counts

HISTORY = 5  # commits
LISTED = 100  # problems and waiting manifests that the document names; their number is always told


@dataclass(slots=True)
class Status:
    """Everything so far. `identity` is what does not change: host, release, pid, repository, ..."""

    identity: Mapping[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    conditions: dict[str, Condition] = field(default_factory=dict)
    rounds: Counter[str] = field(default_factory=Counter)  # by result
    writes: dict[str, Counts] = field(default_factory=dict)  # by "table NAME", "links", ...
    phase_seconds: dict[str, float] = field(default_factory=dict)
    drift: dict[str, Any] = field(default_factory=lambda: {"found": 0, "healed": 0})
    failures: int = 0  # in a row
    last_applied: str = ""
    last_applied_at: str = ""
    push_to_applied: float | None = None
    last: RoundReport | None = None

    def add(self, report: RoundReport, retry_in: float | None = None) -> None:
        """Take in a round. `retry_in` is in how many seconds the failed one is tried again."""
        self.last = report
        enforced = report.enforced
        self.failures = self.failures + 1 if report.failed else 0
        self.rounds[enforced.result] += 1
        for name, spent in report.phases.items():
            self.phase_seconds[name] = self.phase_seconds.get(name, 0.0) + spent / 1000
        for name, counts in enforced.changed.items():
            self.writes[name] = self.writes.get(name, Counts()) + counts
        if enforced.result is Result.CONVERGED and enforced.revision != self.last_applied:
            self.last_applied, self.last_applied_at = enforced.revision, stamp(report.at)
        if report.push_to_applied is not None:
            self.push_to_applied = report.push_to_applied
        if enforced.drift:
            self._count_drift(report)
        self._record(report)
        for each in conditions(report, retry_in):
            self._set(each, stamp(report.at))

    def _count_drift(self, report: RoundReport) -> None:
        enforced = report.enforced
        healed = enforced.drift if enforced.result is Result.CONVERGED else 0
        self.drift = {
            "found": self.drift["found"] + enforced.drift,
            "healed": self.drift["healed"] + healed,
            "last": {"at": stamp(report.at), "changed": _counted(enforced.changed)},
        }

    def _set(self, new: Condition, now: str) -> None:
        old = self.conditions.get(new.type)
        since = old.since if old and old.status == new.status else now
        self.conditions[new.type] = Condition(new.type, new.status, new.reason, new.message, since)

    def _record(self, report: RoundReport) -> None:
        """One entry for each commit, the newest first, with what became of it last."""
        newest = report.newest
        if not newest.revision:
            return
        if not self.history or self.history[0]["commit"] != newest.revision:
            self.history.insert(0, {"commit": newest.revision, "seen": stamp(report.at)})
            del self.history[HISTORY:]
        entry = self.history[0]
        outcome: str = newest.verdict
        if newest.verdict is Verdict.ACCEPTED:
            outcome = report.enforced.result
            if outcome == Result.CONVERGED and "applied" not in entry:
                entry["applied"] = stamp(report.at)
                entry["milliseconds"] = round(sum(report.phases.values()), 1)
                entry["changes"] = asdict(report.enforced.counts)
        if newest.verdict is not Verdict.UNREADABLE:
            entry["outcome"] = outcome

    def document(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars."""
        found: dict[str, Any] = {
            **self.identity,
            "conditions": [asdict(each) for each in self.conditions.values()],
            "lastApplied": self.last_applied,
            "lastAppliedAt": self.last_applied_at,
            "pushToAppliedMs": _milliseconds(self.push_to_applied),
            "drift": self.drift,
            "failures": self.failures,
            "rounds": dict(sorted(self.rounds.items())),
            "writes": _counted(self.writes),
            "phaseSeconds": {name: round(each, 6) for name, each in self.phase_seconds.items()},
            "history": self.history,
        }
        if self.last:
            found |= _of_last(self.last)
        return found


def _of_last(report: RoundReport) -> dict[str, Any]:
    newest, enforced = report.newest, report.enforced
    found: dict[str, Any] = {
        "at": stamp(report.at),
        "lastAttempted": newest.revision,
        "enforced": enforced.revision,
        "problems": {"count": len(newest.problems), "first": list(newest.problems[:LISTED])},
        "waiting": {
            "count": len(enforced.waiting),
            "first": [asdict(each) for each in enforced.waiting[:LISTED]],
        },
        "rows": dict(sorted(enforced.rows.items())),
        "lastRound": {
            "wakes": list(report.wakes),
            "verdict": newest.verdict,
            "result": enforced.result,
            "cause": enforced.cause,
            "changed": _counted(enforced.changed),
            "phasesMs": dict(report.phases),
        },
    }
    if enforced.stay is not None:
        found["kept"] = {"rows": enforced.stay.rows, "until": stamp(enforced.stay.until)}
    if newest.verdict is Verdict.HELD:
        found["held"] = {
            "commit": newest.revision,
            "digest": newest.digest,
            "refusals": list(newest.refusals),
            "remedy": newest.remedy,
        }
    return found


def _counted(counts: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
    return {name: asdict(each) for name, each in sorted(counts.items())}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def stay_line(stay: Stay) -> str:
    """What is kept, in a line."""
    rows = f"{stay.rows} row{'s are' if stay.rows != 1 else ' is'} kept"
    return f"{rows} for hosts that may not have the newest commit, until {stamp(stay.until)}"


def stamp(wall: float) -> str:
    """RFC 3339, with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
