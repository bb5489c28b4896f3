"""The rules that refuse a plan: nothing is deleted because something is suddenly empty.

Each rule reads the steps and a Context, and gives a Refusal with its code and figures. What may be
meant is allowed by forcing exactly the plan's digest; a full map is not a matter of meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

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
    """

    commit: str = ""
    before: Inventory | None = None
    after: Inventory | None = None
    last: HostState | None = None
    forced: str = ""  # a digest, or ANY_UPGRADE


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
        *_rows(live, steps, limits),
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


def _rows(live: HostState, steps: Iterable[Step], limits: Limits) -> Iterator[Refusal]:
    total, gone = sum(map(len, live.tables.values())), 0
    for step in steps:
        if isinstance(step, RowStep) and step.change is Change.DELETE:
            drifted = int(step.drift.sum())  # never wanted: no loss, and no part of the whole
            total -= drifted
            gone += len(step.rows) - drifted
    if limits.exceeded(gone, total):
        yield Refusal(
            codes.ROW_SHARE,
            f"deletes {_share(gone, total)} rows of this host; {limits.percent} % may go at once",
            figures={"deleted": gone, "before": total},
        )


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
