"""Conditions: a round -> Ready, Converged, Held, Invalid, Stalled and Waiting, each with why.

Ready says that the host does what the newest commit says, but for what waits for a fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.agent.report import Newest, Result, RoundReport, Verdict, Waits
from reconciler.plan.lines import short


@dataclass(frozen=True, slots=True)
class Condition:
    """`status` is True, False or Unknown, as in Kubernetes; `since` is when it last changed."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: str = ""


def conditions(report: RoundReport, retry_in: float | None) -> tuple[Condition, ...]:
    """One of each type, `since` left out. `retry_in`: seconds until what failed is tried again."""
    newest, enforced = report.newest, report.enforced
    blocker, why = _blocker(report)
    ready = Condition("Ready", "False", blocker, why) if blocker else _ready(report)
    unread = newest.verdict is Verdict.UNREADABLE
    converged = enforced.result is Result.CONVERGED
    equal = f"live equals {short(enforced.revision)}, read back"
    return (
        ready,
        Condition(
            "Converged",
            _status(converged),
            enforced.result.capitalize(),
            equal if converged else enforced.error,
        ),
        _of_commit("Held", "Guard", newest.verdict is Verdict.HELD, _held(newest), unread),
        _of_commit(
            "Invalid", "Problems", newest.verdict is Verdict.INVALID, _invalid(newest), unread
        ),
        _stalled(report, retry_in),
        _waiting(enforced.waiting),
    )


def _ready(report: RoundReport) -> Condition:
    waiting = len(report.enforced.waiting)
    rest = f", {waiting} waiting" if waiting else ""
    message = f"the host does what {short(report.newest.revision)} says{rest}"
    return Condition("Ready", "True", "Converged", message)


def _blocker(report: RoundReport) -> tuple[str, str]:
    """(reason, message) why the host does not do what the newest commit says; '' if it does."""
    newest, enforced = report.newest, report.enforced
    if newest.verdict is Verdict.INVALID:
        return "Invalid", _invalid(newest)
    if newest.verdict is Verdict.HELD:
        return "Held", _held(newest)
    if newest.error:
        return "RepositoryUnreadable", newest.error
    if enforced.result is not Result.CONVERGED:
        return enforced.result.capitalize(), enforced.error
    return "", ""


def _of_commit(kind: str, reason: str, holds: bool, message: str, unread: bool) -> Condition:
    """What is said about the newest commit is unknown while it cannot be read."""
    if holds:
        return Condition(kind, "True", reason, message)
    return Condition(kind, "Unknown" if unread else "False")


def _stalled(report: RoundReport, retry_in: float | None) -> Condition:
    enforced = report.enforced
    if enforced.hopeless:
        return Condition("Stalled", "True", "HostError", enforced.error)
    if not report.failed:
        return Condition("Stalled", "False")
    again = "" if retry_in is None else f"; next try in {retry_in:.1f} s"
    if enforced.result in (Result.PARTLY, Result.FAILED):
        return Condition("Stalled", "True", "ApplyFailed", enforced.error + again)
    if report.newest.error:
        return Condition("Stalled", "True", "RepositoryUnreadable", report.newest.error + again)
    return Condition("Stalled", "True", "StateNotKept", report.unsaved + again)


def _waiting(waiting: Sequence[Waits]) -> Condition:
    if not waiting:
        return Condition("Waiting", "False")
    first = f"{waiting[0].origin} for {waiting[0].fact}"
    more = f", and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return Condition("Waiting", "True", "Facts", first + more)


def _held(newest: Newest) -> str:
    return "; ".join((*newest.refusals, newest.remedy))


def _invalid(newest: Newest) -> str:
    count = len(newest.problems)
    return f"{count} problem{'s' * (count != 1)}, first: {newest.problems[0]}" if count else ""


def _status(value: bool) -> str:
    return "True" if value else "False"
