"""What carrying out steps does to a host state: the pure model reconciler.datapath is held to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from reconciler.abi.merge import locate
from reconciler.abi.shape import Shape
from reconciler.abi.table import Table, join
from reconciler.compile.state import HostState, Interface, Link, Program
from reconciler.plan.diff import Change, item_name
from reconciler.plan.plan import Plan
from reconciler.plan.steps import ItemStep, RowStep, Step

T = TypeVar("T", Program, Link, Interface, Shape)


def apply_to(plan: Plan, state: HostState) -> HostState:
    """The state after the whole plan."""
    return apply_steps(plan.steps, state)


def apply_steps(steps: Iterable[Step], state: HostState) -> HostState:
    """The state after the steps; to write what is there, or delete what is gone, is no error."""
    for step in steps:
        state = _rows(step, state) if isinstance(step, RowStep) else _item(step, state)
    return state


def _rows(step: RowStep, state: HostState) -> HostState:
    spec = step.rows.spec
    table = state.tables.get(spec.name, Table.empty(spec))
    place, present = locate(step.rows, table)
    kept = np.ones(len(table), np.bool_)
    kept[place[present]] = False
    rest = table.take(kept)
    if step.change is Change.DELETE:
        return state.with_tables({spec.name: rest})
    keys = join(spec.key, [rest.keys, step.rows.keys])
    values = join(spec.value, [rest.values, step.rows.values])
    return state.with_tables({spec.name: Table.make(spec, keys, values)})


def _item(step: ItemStep, state: HostState) -> HostState:
    item, keep = step.item, step.new is not None
    if isinstance(item, Program):
        return replace(state, programs=_put(state.programs, item, keep=keep))
    if isinstance(item, Shape):
        return replace(state, maps=_put(state.maps, item, keep=keep))
    if isinstance(item, Link):
        return replace(state, links=_put(state.links, item, keep=keep))
    return replace(state, interfaces=_put(state.interfaces, item, keep=keep))


def _put(items: tuple[T, ...], item: T, *, keep: bool) -> tuple[T, ...]:
    by_name: dict[str, T] = {item_name(each): each for each in items}
    by_name.pop(item_name(item), None)
    if keep:
        by_name[item_name(item)] = item
    return tuple(by_name[name] for name in sorted(by_name))
