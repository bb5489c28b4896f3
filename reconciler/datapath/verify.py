"""Reading back what a plan wrote: rows by lookup or whole tables, items by their live selves."""

from __future__ import annotations

from reconciler.abi.spec import MapKind
from reconciler.abi.table import Table
from reconciler.compile.state import Interface
from reconciler.datapath import tables
from reconciler.datapath.apply import Progress, pointless, step_name
from reconciler.datapath.libbpf import Fd
from reconciler.plan.diff import Change, Item
from reconciler.plan.steps import ItemStep, RowStep


def as_written(desired: Table, steps: list[RowStep], fd: Fd, capacity: int) -> bool:
    """Look up the rows that were written, or read all if they are many."""
    spec = desired.spec
    many = sum(len(each) for each in steps) > min(tables.FEW, len(desired) // 8 + 64)
    if many or spec.kind is MapKind.LPM_TRIE:  # there, a lookup finds shorter prefixes too
        return tables.read_table(fd, spec, capacity) == desired
    for each in steps:
        values, present = tables.read_rows(fd, spec, each.rows.keys)
        if each.change is Change.DELETE:
            if present.any():
                return False
        elif not present.all() or values.tobytes() != each.rows.values.tobytes():
            return False
    return True


def check_items(
    steps: list[ItemStep], live: set[Item], later: set[str], progress: Progress
) -> None:
    """Add a failure for every item that is not as its step left it.

    `later` are interfaces whose inner ends wait for something else.
    """
    names = {step_name(each) for each in live}
    failed = {each.step for each in progress.failures}
    for step in steps:
        name = step_name(step.item)
        right = name not in names if step.new is None else step.new in live
        if isinstance(step.new, Interface) and step.new.name in later:
            right = name in names
        if not right and name not in failed and not pointless(step, progress):
            progress.fail(name, "is not as it was made; somebody else changes it", again=True)
