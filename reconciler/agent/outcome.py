"""Outcome: a round's report -> what became of it for somebody who asked for that round.

The socket sends it and the verb `apply` prints it, whoever ran the round.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Any

from reconciler.agent.report import Result, RoundReport, Verdict
from reconciler.agent.status import stay_line


class Outcome(StrEnum):
    """In a word; cli.exits has the exit code of each."""

    CONVERGED = "converged"
    HELD = "held"  # a guard refuses
    STALE = "stale"  # the digest that was named is not that of today's plan
    PARTLY = "partly"
    FAILED = "failed"
    INVALID = "invalid"
    UNREADABLE = "unreadable"


def outcome(report: RoundReport) -> Outcome:
    """The first that holds: what the newest commit wants comes before what was done."""
    newest, result = report.newest, report.enforced.result
    if newest.verdict is Verdict.INVALID:
        return Outcome.INVALID
    if newest.verdict is Verdict.HELD:
        return Outcome.STALE if newest.stale else Outcome.HELD
    if newest.error:
        return Outcome.UNREADABLE
    if result is Result.CONVERGED:
        return Outcome.CONVERGED
    return Outcome.PARTLY if result in (Result.PARTLY, Result.STOPPED) else Outcome.FAILED


def describe(report: RoundReport) -> dict[str, Any]:
    """Plain dicts, lists and scalars. `plan` is the text of what was written, or refused."""
    newest, enforced = report.newest, report.enforced
    return {
        "outcome": outcome(report),
        "commit": newest.revision,
        "enforced": enforced.revision,
        "digest": newest.digest,
        "messages": _messages(report),
        "plan": newest.text or enforced.text,
        "changed": asdict(enforced.counts),
        "waiting": [asdict(each) for each in enforced.waiting],
        "kept": "" if enforced.stay is None else stay_line(enforced.stay),
    }


def _messages(report: RoundReport) -> list[str]:
    newest, enforced = report.newest, report.enforced
    found = list(newest.problems)
    found += [each for each in (newest.error, enforced.error, report.unsaved) if each]
    return [*found, *enforced.notes]
