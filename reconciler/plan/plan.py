"""Plan: a diff against live, ordered and checked against the guards, as a value.

Made before anything is touched; rendered by plan.render, carried out by reconciler.datapath.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.abi.generated import ABI
from reconciler.compile.state import HostName, HostState
from reconciler.plan.codes import UPGRADE
from reconciler.plan.diff import Counts, Diff, diff
from reconciler.plan.guards import ANY_UPGRADE, Context, Limits, Refusal, check
from reconciler.plan.steps import RowStep, Step, make_steps

if TYPE_CHECKING:
    from reconciler.compile.bind import Waiting


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What has to be written, in order. Nothing may be written while there are `refusals`.

    `forced` are the refusals that an operator overrode by naming this plan's digest, or by asking
    for the upgrade. `leaving` are rows that the commit takes away, but that are kept for a while.
    """

    host: HostName
    commit: str
    diff: Diff
    steps: tuple[Step, ...]
    waiting: tuple[Waiting, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    forced: tuple[Refusal, ...] = ()
    leaving: HostState | None = None

    @property
    def leaves(self) -> int:
        """How many rows are to be deleted later, though nothing else says so then."""
        return 0 if self.leaving is None else sum(map(len, self.leaving.tables.values()))

    @property
    def empty(self) -> bool:
        """Nothing to write; rows may still be waiting for a fact."""
        return not self.steps

    @property
    def refused(self) -> bool:
        """A guard says no."""
        return bool(self.refusals)

    @property
    def counts(self) -> Counts:
        """Writes by change: as many as there are differing rows and items."""
        return self.diff.counts

    @property
    def drift(self) -> int:
        """How many of the writes undo a change that no commit made."""
        return sum(
            int(each.drift.sum()) if isinstance(each, RowStep) else int(each.drift)
            for each in self.steps
        )

    @property
    def pending(self) -> int:
        """How many of the writes follow a commit."""
        return self.counts.total - self.drift

    @property
    def digest(self) -> str:
        """64 bits, in hexadecimal, over the host, the layout and every write with what it replaces.

        Equal for equal changes, whatever else the plan says; to be named by `apply --force`.
        """
        seen = hashlib.sha256(f"{self.host}\n{ABI}\n".encode())
        for step in self.steps:
            if isinstance(step, RowStep):
                seen.update(f"{step.change} {step.rows.spec.name} {len(step.rows)}\n".encode())
                for table in (step.rows, step.replaced):
                    if table is not None:
                        seen.update(table.keys.tobytes())
                        seen.update(table.values.tobytes())
            else:
                seen.update(f"{step.change} {step.old!r} {step.new!r}\n".encode())
        for name, table in sorted(self.leaving.tables.items()) if self.leaving else ():
            if len(table):
                seen.update(f"leaving {name} {len(table)}\n".encode())
                seen.update(table.keys.tobytes())
        return seen.hexdigest()[:16]


def make_plan(
    desired: HostState,
    live: HostState,
    waiting: Iterable[Waiting] = (),
    context: Context | None = None,
    limits: Limits | None = None,
) -> Plan:
    """The writes that turn `live` into `desired`, judged by the guards."""
    context, limits = context or Context(), limits or Limits()
    found = diff(desired, live)
    steps = make_steps(found, context.last)
    plan = Plan(desired.host, context.commit, found, steps, tuple(waiting), leaving=context.leaving)
    refusals = check(found, live, steps, context, limits)
    if context.forced == ANY_UPGRADE:
        forced = tuple(each for each in refusals if each.code == UPGRADE)
        kept = tuple(each for each in refusals if each.code != UPGRADE)
        return replace(plan, refusals=kept, forced=forced)
    if refusals and context.forced and context.forced == plan.digest:
        kept = tuple(each for each in refusals if not each.forceable)
        forced = tuple(each for each in refusals if each.forceable)
        return replace(plan, refusals=kept, forced=forced)
    return replace(plan, refusals=refusals)
