"""The lines that plans and reviews are shown in: one a change, counts, what waits, what is refused.

What could disturb a terminal or a comment is escaped here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.plan.codes import UPGRADE
from reconciler.plan.diff import Change, Counts, Diff, item_name
from reconciler.plan.entries import Entry, entries
from reconciler.plan.guards import Refusal
from reconciler.plan.plan import Plan
from reconciler.plan.steps import Cause, RowStep, Step

SIGNS = {Change.DELETE: "-", Change.UPDATE: "~", Change.CREATE: "+"}
DERIVED = "check"  # a digest of the other columns says nothing beside them
NOTHING = ("", "0.0.0.0", "00:00:00:00:00:00", "::")  # as good as absent


def last_line(counts: Counts) -> str:
    """The one greppable line."""
    return f"Plan: {amounts(counts)}"


def amounts(counts: Counts) -> str:
    """`1 to add, 2 to change, 3 to delete`."""
    return f"{counts.add} to add, {counts.change} to change, {counts.delete} to delete"


def kind_lines(kinds: Mapping[str, Counts]) -> list[str]:
    """`endpoints  1 to add, ...` for each kind, in columns."""
    width = max(map(len, kinds), default=0)
    return [f"{name:{width}}  {amounts(each)}" for name, each in kinds.items()]


def change_lines(plan: Plan, shown: int | None) -> list[str]:
    """Deletions, updates, creations; in each the kinds by name, of each `shown` or all."""
    lines = []
    for change, sign in SIGNS.items():
        steps = [step for step in plan.steps if step.change is change]
        found = [(each.what, entry_line(each)) for step in steps for each in entries(step, shown)]
        found += [more for step in steps for more in _left_out(step, sign, shown)]
        lines += [line for _, line in sorted(found, key=lambda pair: pair[0])]
    return lines


def entry_line(entry: Entry) -> str:
    """`~ endpoints vni=1 address=10.0.0.1: network 3 -> 4  (Endpoint shop/web-1, drift)`."""
    key = cell(entry.key["name"]) if set(entry.key) == {"name"} else columns(entry.key)
    line = f"{SIGNS[entry.change]} {entry.what} {key}"
    if entry.why:
        line += f": {_plain(entry.why)}"
    elif entry.old is not None and entry.new is not None:
        old, new = entry.old, entry.new
        names = [each for each in entry.changed if each != DERIVED] or entry.changed
        parts = (f"{name} {cell(old.get(name))} -> {cell(new[name])}" for name in names)
        line += ": " + ", ".join(parts)
    elif entry.new is not None:
        filled = {name: each for name, each in entry.new.items() if _says_something(name, each)}
        line += f": {columns(filled)}" if filled else ""
    notes = [_plain(entry.origin)] if entry.origin else []
    notes += [str(entry.cause)] if entry.cause is Cause.DRIFT else []
    return f"{line}  ({', '.join(notes)})" if notes else line


def waiting_lines(plan: Plan, shown: int) -> list[str]:
    """What waits for which fact."""
    lines = [f"{each.origin}: {_plain(each.fact)}" for each in plan.waiting[:shown]]
    more = len(plan.waiting) - len(lines)
    return [*lines, f"{more} more"] if more else lines


def refusal_line(refusal: Refusal) -> str:
    """`GRD1004: deletes 12 of 20 rows ...`."""
    return f"{refusal.code}: {_plain(refusal.message)}"


def remedy(refusals: Sequence[Refusal], digest: str) -> str:
    """What an operator can do about a refused plan."""
    if [each.code for each in refusals] == [UPGRADE]:
        return "If that is meant: reconciler apply --upgrade"
    fixed = [each.code for each in refusals if not each.forceable]
    if fixed:
        return f"{fixed[0]} cannot be forced; see: reconciler explain {fixed[0]}"
    return f"If that is meant: reconciler apply --force {digest}"


def upgrade_line(diff: Diff) -> str:
    """What an operator should know of a plan that replaces programs or maps; '' of any other."""
    changed = [each.item for each in diff.maps if each.old and each.new]
    loaded = [each.item for each in diff.programs if each.old and each.new]
    if not changed and not loaded:
        return ""
    names = ", ".join(item_name(each) for each in changed)
    maps = f"made anew and filled: maps {names}" if names else "every map is kept"
    return f"Upgrades the datapath while packets go on; {maps}"


def columns(cells: Mapping[str, Any]) -> str:
    """`name=value name=value`."""
    return " ".join(f"{name}={cell(value)}" for name, value in cells.items())


def cell(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + columns(value) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(cell, value)) + "]"
    return _plain(str(value)) or "none"


def short(commit: str) -> str:
    """A commit id as people read it; another name of a commit as it is."""
    return commit[:12] if re.fullmatch(r"[0-9a-f]{40,64}", commit) else commit


def _plain(value: str) -> str:
    return value if value.isprintable() else ascii(value)


def _says_something(name: str, value: Any) -> bool:
    return bool(value) and value not in NOTHING and name != DERIVED


def _left_out(step: Step, sign: str, shown: int | None) -> list[tuple[str, str]]:
    if shown is None or not isinstance(step, RowStep) or len(step) <= shown:
        return []
    what = step.rows.spec.name
    return [(what, f"{sign} {what}: {len(step) - shown} more")]
