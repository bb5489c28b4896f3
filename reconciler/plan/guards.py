"""The rules that refuse a plan: nothing is deleted because something is suddenly empty.

Each rule reads the steps and a Context, and gives a Refusal with its code and figures. What may be
meant is allowed by forcing exactly the plan's digest; a full map is not a matter of meaning.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.merge import locate
from reconciler.abi.shape import Shape, differences, losses
from reconciler.abi.table import Table
from reconciler.compile.state import HostState, Interface
from reconciler.manifest.document import Document
from reconciler.plan import codes
from reconciler.plan.diff import Change, Diff
from reconciler.plan.steps import ItemStep, RowStep, Step

ANY_UPGRADE = "upgrade"  # said instead of a digest, which is hexadecimal

Inventory = Mapping[str, Set[str]]  # kind -> "namespace/name" of each manifest


@dataclass(frozen=True, slots=True)
class Limits:
    """More than `percent` of what there is may not go at once, once there are `least` of it.

    `upgrades`: whether maps may be made anew without being asked for, as long as nothing is lost.
    """

    percent: int = 30
    least: int = 10
    upgrades: bool = True

    def exceeded(self, gone: int, total: int) -> bool:
        """Whether the deletion of `gone` out of `total` is too much."""
        return total >= self.least and gone * 100 > self.percent * total


@dataclass(frozen=True, slots=True)
class Context:
    """What the guards know beyond the two states.

    `after` is the inventory of this commit, `before` that of the last commit that was applied here
    (not of the last one seen: a refused commit must not become the measure). None: not known, as
    for a state from a file, or on a host's first round.
    `last` is what the commit of `before` means for this host, bound with the facts of now; without
    it, every change counts as pending.
    Of rows that other hosts may still use: `leaving` are those that this commit takes away, which
    counts now, though they stay for a while; `beside` those that earlier ones took away, whose end
    does not count again; `own` is the commit's own state, without any of them.
    """

    commit: str = ""
    before: Inventory | None = None
    after: Inventory | None = None
    last: HostState | None = None
    forced: str = ""  # a digest, or ANY_UPGRADE
    own: HostState | None = None
    leaving: HostState | None = None
    beside: HostState | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a plan is not carried out. `forceable`: an operator may say that it is meant."""

    code: str
    message: str
    forceable: bool = True
    figures: Mapping[str, int | str] = field(default_factory=dict)


def inventory(documents: Iterable[Document]) -> Inventory:
    """The identities of the documents, by kind; files and their paths do not matter."""
    names: dict[str, set[str]] = {}
    for each in documents:
        identity = f"{each.namespace}/{each.name}" if each.namespace else each.name
        names.setdefault(each.kind, set()).add(identity)
    return {kind: frozenset(names[kind]) for kind in sorted(names)}


def check(
    diff: Diff, live: HostState, steps: Sequence[Step], context: Context, limits: Limits
) -> tuple[Refusal, ...]:
    """Every reason to refuse, most basic first."""
    return (
        *_upgrade(diff, limits),
        *_source(diff.host, context),
        *_kinds(context, limits),
        *_rows(diff, live, steps, context, limits),
        *_interfaces(live, steps, limits),
        *_capacity(diff, live),
    )


def _upgrade(diff: Diff, limits: Limits) -> Iterator[Refusal]:
    """Maps that cannot be taken over as they are; one that is only to be added is no matter."""
    lost, different = [], []
    for each in diff.maps:
        if not isinstance(each.old, Shape):
            continue
        wanted = each.new if isinstance(each.new, Shape) else None
        lost += [f"map {each.old.name}: {why}" for why in losses(each.old, wanted)]
        if wanted is not None and not each.old.behind:
            different += [f"map {wanted.name}: {why}" for why in differences(each.old, wanted)]
    if lost or (different and not limits.upgrades):
        parts = [*different, *(f"would be lost: {each}" for each in lost)]
        yield Refusal(
            codes.UPGRADE,
            f"{'; '.join(parts)}; upgrade the datapath with `reconciler apply --upgrade`",
            forceable=False,
            figures={"maps": len(diff.maps), "lost": len(lost)},
        )


def _source(host: str, context: Context) -> Iterator[Refusal]:
    before, after = context.before, context.after
    if after is None:
        return
    had = None if before is None else sum(map(len, before.values()))
    if not any(after.values()):
        if had != 0:
            was = "" if had is None else f"; the last one applied here has {had}"
            figures = {} if had is None else {"before": had, "after": 0}
            yield Refusal(codes.EMPTY_SOURCE, f"the commit has no manifests{was}", figures=figures)
    elif host not in after.get("Host", ()) and (before is None or host in before.get("Host", ())):
        known = len(after.get("Host", ()))
        yield Refusal(
            codes.HOST_MISSING,
            f"the commit has no Host {host}; it has {_many(known, 'other host')}",
            figures={"host": host, "hosts": known},
        )


def _kinds(context: Context, limits: Limits) -> Iterator[Refusal]:
    if context.before is None or context.after is None:
        return
    for kind, names in sorted(context.before.items()):
        now = context.after.get(kind, frozenset())
        if now is names:
            continue
        gone = sorted(names - now)
        if limits.exceeded(len(gone), len(names)):
            shown = ", ".join(gone[:3]) + (", ..." if len(gone) > 3 else "")
            yield Refusal(
                codes.KIND_SHARE,
                f"deletes {_share(len(gone), len(names))} manifests of kind {kind} ({shown}); "
                f"{limits.percent} % may go at once",
                figures={"kind": kind, "deleted": len(gone), "before": len(names)},
            )


def _rows(
    diff: Diff, live: HostState, steps: Iterable[Step], context: Context, limits: Limits
) -> Iterator[Refusal]:
    total, gone = sum(map(len, live.tables.values())), 0
    here = diff.origins if context.own is None else context.own.origins
    if context.leaving is not None:
        for table in context.leaving.tables.values():
            gone += _lost(table.origins, context.leaving.origins, here, context)
    if context.beside is not None:
        total -= sum(map(len, context.beside.tables.values()))
    for step in steps:
        if isinstance(step, RowStep) and step.change is Change.DELETE:
            drifted = int(step.drift.sum())  # never wanted: no loss, and no part of the whole
            total -= drifted
            counted = ~step.drift & ~_ended(step, context.beside)
            gone += _lost(step.rows.origins[counted], step.origins, here, context)
    if limits.exceeded(gone, total):
        yield Refusal(
            codes.ROW_SHARE,
            f"deletes {_share(gone, total)} rows of this host; {limits.percent} % may go at once",
            figures={"deleted": gone, "before": total},
        )


def _lost(
    origins: NDArray[np.int32], texts: Sequence[str], here: Sequence[str], context: Context
) -> int:
    """How many rows of these origins are lost, not counting those of a role that went elsewhere:
    the commit has their manifest, and none of `here`, the sorted origins of what stays, is it."""
    count = 0
    numbers, rows = np.unique(origins, return_counts=True)
    for number, each in zip(numbers.tolist(), rows.tolist(), strict=True):
        text = texts[number] if number >= 0 else ""
        kind, _, name = text.partition(" ")
        elsewhere = context.after is not None and name in context.after.get(kind, ())
        count += 0 if elsewhere and not _holds(here, text) else each
    return count


def _holds(texts: Sequence[str], text: str) -> bool:
    place = bisect_left(texts, text)
    return place < len(texts) and texts[place] == text


def _ended(step: RowStep, beside: HostState | None) -> NDArray[np.bool_]:
    """Which deletions are of rows whose time is over, or of the way to a host that is no more."""
    none = np.zeros(len(step.rows), np.bool_)
    if beside is None:
        return none
    if step.rows.spec.name == "next_hops":
        hosts = {beside.origins[each] for each in beside.tables["hosts"].origins.tolist()}
        origins = [step.origins[each] if each >= 0 else "" for each in step.rows.origins.tolist()]
        return np.array([each in hosts for each in origins], np.bool_)
    table = beside.tables.get(step.rows.spec.name)
    return none if table is None else locate(step.rows, table)[1]


def _interfaces(live: HostState, steps: Iterable[Step], limits: Limits) -> Iterator[Refusal]:
    total, gone = len(live.interfaces), 0
    for step in steps:
        if (
            isinstance(step, ItemStep)
            and isinstance(step.item, Interface)
            and step.change is Change.DELETE
        ):
            total -= step.drift
            gone += not step.drift
    if limits.exceeded(gone, total):
        yield Refusal(
            codes.INTERFACE_SHARE,
            f"takes away {_share(gone, total)} interfaces of this host; "
            f"{limits.percent} % may go at once",
            figures={"deleted": gone, "before": total},
        )


def _capacity(diff: Diff, live: HostState) -> Iterator[Refusal]:
    """Deletions come last, so at the peak a map holds what is live and what is new."""
    chosen = {each.name: each.capacity for each in diff.wanted_maps}
    for name in sorted({*live.tables, *diff.tables}):
        each = diff.tables.get(name)
        table = each.live if each else live.tables[name]
        capacity = chosen.get(name, table.spec.capacity)
        desired, created = (each.desired, len(each.creates)) if each else (table, 0)
        peak, final = _peak(desired, len(table) + created), len(desired)
        if peak > capacity:
            remedy = (
                "delete first, in a commit of its own" if final <= capacity else "use more hosts"
            )
            yield Refusal(
                codes.CAPACITY,
                f"map {name} holds {capacity} rows, {peak} are needed while it changes "
                f"and {final} afterwards; {remedy}",
                forceable=False,
                figures={"map": name, "capacity": capacity, "peak": peak, "final": final},
            )


def _peak(desired: Table, rows: int) -> int:
    """Rows at the peak; of an array, which has all of them always, the highest index used."""
    if not desired.spec.dense:
        return rows
    return int(desired.keys["index"].max(initial=0)) + 1


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def _many(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
