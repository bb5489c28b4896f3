"""Plan -> text for people, markdown for comments, JSON for programs. Knows nothing of the kernel.

Stable and sorted; the summary comes first, deletions before other changes, and the last line is
always `Plan: N to add, N to change, N to delete`.
"""

from __future__ import annotations

from typing import Any

from reconciler.plan.codes import GUARDS
from reconciler.plan.comment import bounded, counts_table, folded
from reconciler.plan.diff import Counts
from reconciler.plan.entries import Entry, entries
from reconciler.plan.guards import Refusal
from reconciler.plan.lines import (
    change_lines,
    kind_lines,
    last_line,
    refusal_line,
    remedy,
    short,
    upgrade_line,
    waiting_lines,
)
from reconciler.plan.plan import Plan

FORMAT, VERSION = "reconciler plan", 1
SHOWN = 100  # rows of each table and change that a text shows


def text(plan: Plan, shown: int | None = SHOWN) -> str:
    """What `plan` prints; `shown` rows of each table and change, None for all."""
    blocks = [[_title(plan)], _summary(plan), change_lines(plan, shown)]
    if plan.waiting:
        waiting = waiting_lines(plan, SHOWN if shown is None else max(shown, 1))
        blocks.append(["Waiting for a fact:", *(f"  {each}" for each in waiting)])
    if plan.refusals:
        reasons = (f"  {refusal_line(each)}" for each in plan.refusals)
        blocks.append(["Refused:", *reasons, remedy(plan.refusals, plan.digest)])
    if plan.forced:
        blocks.append(["Forced:", *(f"  {refusal_line(each)}" for each in plan.forced)])
    blocks.append([last_line(plan.counts)])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def markdown(plan: Plan) -> str:
    """The same for a comment, in less than 65,536 characters: longer ones show fewer rows."""
    return bounded(lambda shown: _markdown(plan, shown), last_line(plan.counts))


def as_json(plan: Plan) -> dict[str, Any]:
    """The whole plan; changes stand in the order in which they are written."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "host": plan.host,
        "commit": plan.commit,
        "digest": plan.digest,
        "refused": plan.refused,
        "summary": {**json_counts(plan.counts), "pending": plan.pending, "drift": plan.drift},
        "leaving": plan.leaves,
        "kinds": {name: json_counts(each) for name, each in plan.diff.counts_by_kind.items()},
        "changes": [_json_entry(each) for step in plan.steps for each in entries(step)],
        "waiting": [{"origin": each.origin, "fact": each.fact} for each in plan.waiting],
        "refusals": [_json_refusal(each) for each in plan.refusals],
        "forced": [_json_refusal(each) for each in plan.forced],
    }


def json_counts(counts: Counts) -> dict[str, int]:
    """Counts as an object."""
    return {"add": counts.add, "change": counts.change, "delete": counts.delete}


def _title(plan: Plan) -> str:
    at = f", commit {short(plan.commit)}" if plan.commit else ""
    return f"Host {plan.host}{at}, plan {plan.digest}"


def _summary(plan: Plan) -> list[str]:
    kept = f"{plan.leaves} to be kept a while for other hosts, then deleted"
    if plan.empty and plan.leaves:
        return [f"Nothing to write. Rows: {kept}."]
    if plan.empty:
        waits = f"; {len(plan.waiting)} waiting for a fact" if plan.waiting else ""
        return [f"No changes. The host is as it should be{waits}."]
    lines = [f"  {line}" for line in kind_lines(plan.diff.counts_by_kind)]
    if upgrade := upgrade_line(plan.diff):
        lines.append(f"  {upgrade}")
    if plan.leaves:
        lines.append(f"  rows {kept}")
    return [*lines, f"  {plan.pending} pending, {plan.drift} drift"] if plan.drift else lines


def _markdown(plan: Plan, shown: int) -> str:
    parts = [f"### {_title(plan)}"]
    for refusal in plan.refusals:
        parts += ["", f"> **Refused** {refusal_line(refusal)}"]
    if plan.refusals:
        parts += ["", f"`{remedy(plan.refusals, plan.digest)}`"]
    if plan.empty:
        parts += ["", *_summary(plan)]
    parts += counts_table("", plan.diff.counts_by_kind)
    if upgrade := upgrade_line(plan.diff):
        parts += ["", upgrade]
    if plan.leaves and not plan.empty:
        parts += ["", f"Rows to be kept a while for other hosts, then deleted: {plan.leaves}"]
    if plan.drift:
        parts += ["", f"{plan.pending} pending, {plan.drift} drift"]
    if plan.steps:
        parts += folded("Changes", change_lines(plan, shown), "diff")
    if plan.waiting:
        waiting = waiting_lines(plan, max(shown, 1))
        parts += folded(f"{len(plan.waiting)} waiting for a fact", waiting, "text")
    return "\n".join([*parts, "", last_line(plan.counts), ""])


def _json_entry(entry: Entry) -> dict[str, Any]:
    shown = {
        "change": str(entry.change),
        "what": entry.what,
        "key": entry.key,
        "old": entry.old,
        "new": entry.new,
        "origin": entry.origin or None,
        "cause": str(entry.cause),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _json_refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "code": refusal.code,
        "title": GUARDS[refusal.code].title,
        "message": refusal.message,
        "forceable": refusal.forceable,
        "figures": dict(refusal.figures),
    }
