"""Carrying out a plan, step by step, on a target: the kernel or the fake; counting what went wrong.

An item that fails leaves the others alone. A table that fails stops everything after it: rows that
refer to missing ones must not be written, and nothing is deleted before the wanted state is there.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.abi.shape import Shape
from reconciler.abi.spec import MapSpec
from reconciler.abi.table import Table
from reconciler.compile.state import Interface, Link, Program
from reconciler.datapath.errors import HostError, TransientError, WriteError
from reconciler.datapath.protocol import Failure, Report, Stopping
from reconciler.plan.diff import Change, Counts, Item, item_name
from reconciler.plan.plan import Plan
from reconciler.plan.steps import ItemStep, RowStep, Step

_KINDS = {Program: "program", Link: "link", Interface: "interface", Shape: "map"}
_PASSING = (errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM)


class CapacityError(HostError):
    """Maps are too small for a plan; nothing was written."""


class Target(Protocol):
    """What steps are done to. Errors are HostError, TransientError and, of rows, WriteError."""

    def write(self, rows: Table) -> None:
        """Create or overwrite rows, in order."""
        ...

    def delete(self, rows: Table) -> None:
        """Delete rows; what is gone is gone."""
        ...

    def put(self, item: Item) -> str:
        """Make a program, link, interface or map as wanted; what an operator should hear, or ''."""
        ...

    def drop(self, item: Item) -> None:
        """Take one away; what is gone is gone."""
        ...


@dataclass(slots=True)
class Progress:
    """What has been done so far; `report` makes it final."""

    written: dict[str, Counts] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: int = 0
    broken: bool = False  # a table could not be written, or somebody asked to stop
    missing: set[str] = field(default_factory=set)  # interfaces that could not be made

    def count(self, name: str, change: Change, number: int) -> None:
        """Add writes that were done."""
        if number:
            counts = {Change.CREATE: (number, 0, 0), Change.UPDATE: (0, number, 0)}
            added = Counts(*counts.get(change, (0, 0, number)))
            self.written[name] = self.written.get(name, Counts()) + added

    def fail(self, step: str, reason: str, *, again: bool) -> None:
        """Add a failure."""
        self.failures.append(Failure(step, reason, again))

    def report(self) -> Report:
        """The value."""
        return Report(self.written, tuple(self.failures), self.skipped, tuple(self.notes))


def carry_out(plan: Plan, target: Target, stopping: Stopping) -> Progress:
    """Every step in the plan's order; never raises for a step that fails."""
    progress = Progress()
    for step in plan.steps:
        if not progress.broken and stopping():
            progress.broken = True
            progress.fail("plan", "stopped before its end, as asked", again=True)
        if progress.broken or pointless(step, progress):
            progress.skipped += len(step)
        elif isinstance(step, RowStep):
            _rows(step, target, progress)
        else:
            _item(step, target, progress)
    return progress


def step_name(item: Item) -> str:
    """What reports call it: "link eth0"."""
    return f"{_KINDS[type(item)]} {item_name(item)}"


def pointless(step: Step, progress: Progress) -> bool:
    """Whether it attaches to an interface that could not be made."""
    return (
        isinstance(step, ItemStep)
        and isinstance(step.new, Link)
        and step.new.interface in progress.missing
    )


def _rows(step: RowStep, target: Target, progress: Progress) -> None:
    name, done = f"table {step.rows.spec.name}", len(step)
    try:
        if step.change is Change.DELETE:
            target.delete(step.rows)
        else:
            target.write(step.rows)
    except WriteError as error:
        done = error.written
        progress.broken = True
        reason = f"{done} of {len(step)} rows written, then: {error.reason}"
        progress.fail(name, reason, again=error.errno in _PASSING)
    progress.count(name, step.change, done)


def _item(step: ItemStep, target: Target, progress: Progress) -> None:
    kind = _KINDS[type(step.item)]
    name = step_name(step.item)
    try:
        if step.new is None:
            target.drop(step.item)
        else:
            note = target.put(step.new)
            if note:
                progress.notes.append(f"{name} {note}")
    except (HostError, TransientError) as error:
        progress.fail(name, str(error), again=isinstance(error, TransientError))
        if isinstance(step.new, Interface):
            progress.missing.add(step.new.name)
        # Rows are in maps that nobody uses, and what follows counts on them.
        progress.broken |= isinstance(step.new, Shape)
        return
    progress.count(f"{kind}s", step.change, 1)


def check_capacity(plan: Plan, host: str, capacities: Mapping[str, int]) -> None:
    """Raise CapacityError, naming every map, if some cannot hold what is there and what is added.

    Additions come before deletions, so for a moment a map holds both.
    """
    wrong = []
    for name, table in sorted(plan.diff.tables.items()):
        spec, capacity = table.desired.spec, capacities[name]
        needed = _highest(table.desired, spec) if spec.dense else len(table.live)
        needed += 0 if spec.dense else len(table.creates)
        if needed > capacity:
            wrong.append(f"host {host}: map {name} holds {capacity} rows, {needed} are needed")
    if wrong:
        raise CapacityError("\n".join(wrong))


def _highest(table: Table, spec: MapSpec) -> int:
    """Rows an array must have for the highest index of the table."""
    column = (spec.key.dtype.names or ("",))[0]
    return int(table.keys[column].max()) + 1 if len(table) else 0
