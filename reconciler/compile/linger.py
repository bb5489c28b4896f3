"""linger: what a commit takes away here though other hosts may still use it stays for a while.

Between hosts there is no order: while some hold the commit before, a former bouncer or divider is
still asked, and a new one does not know its rows yet. So sets prefer their old members for one
period, and rows go after two: the first in which others still ask here, and one more. What only
this host's endpoints use goes at once. Times are seconds of the wall, and the caller's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import EndpointFlag, HostFlag, Limit, VniMark
from reconciler.abi.merge import TableDiff, diff_tables, locate
from reconciler.abi.table import Rows, Table, raw, zeros
from reconciler.compile.networks import VNI_BITS
from reconciler.compile.overview import Overview
from reconciler.compile.programs import is_transit
from reconciler.compile.sets import members_of
from reconciler.compile.state import HostState

SETS = ("bouncers", "dividers")
ROWS = ("hosts", "endpoints", "networks", *SETS)
OWN = EndpointFlag.LOCAL | EndpointFlag.GATEWAY
PERIODS = 2  # the longest that anything is kept

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of an earlier state that stay until a second of the wall's clock.

    Of a set that the newest state has too, they are its old members. There are programs and links
    only where the newest state has none: a host that a commit forgets relays for a while.
    """

    rows: HostState
    until: float

    def __len__(self) -> int:
        """Number of rows."""
        return sum(map(len, self.rows.tables.values()))


def still(kept: tuple[Kept, ...], now: float, period: float) -> tuple[Kept, ...]:
    """Those whose time is not over. A clock that was put back makes it no longer than a new one."""
    latest = now + PERIODS * period
    if all(now < each.until <= latest for each in kept):
        return kept
    found = (each if each.until <= latest else replace(each, until=latest) for each in kept)
    return tuple(each for each in found if each.until > now)


@dataclass(frozen=True, slots=True, eq=False)
class Withdrawn:
    """What a commit takes away though other hosts may still use it: `rows`, and `sets` as they were
    that have other members now; `former` has where endpoints of other hosts were that moved."""

    rows: HostState
    sets: HostState
    former: HostState


def withdrawn(old: HostState, new: HostState) -> Withdrawn:
    """What `new` takes away from `old`."""
    relays = bool(old.programs) and not new.programs
    rows: dict[str, Table] = {}
    sets: dict[str, Table] = {}
    former: dict[str, Table] = {}
    for name in ROWS:
        found = diff_tables(new.tables[name], old.tables[name])
        if found is not None:
            gone = found.live.take(found.deletes)
            rows[name] = gone.take(_of_others(gone, relays))
            if name in SETS:
                sets[name] = found.live.take(found.replaced)
            elif name == "endpoints":
                former[name] = _former(found)
    made = _only(old, rows)
    if relays:
        links = tuple(each for each in old.links if is_transit(each.program))
        made = replace(made, programs=old.programs, links=links)
    return Withdrawn(*(_apt(each, new) for each in (made, _only(old, sets), _only(old, former))))


def keep(
    kept: tuple[Kept, ...],
    gone: Withdrawn,
    new: HostState,
    now: float,
    period: float,
    overview: Overview | None = None,
    moved: HostState | None = None,
) -> tuple[Kept, ...]:
    """What is kept beside `new` from now on, oldest first: of what was, and what it takes away.

    With the commit's `overview`, sets that this host has no part in any more learn whom to ask for
    what is newer than they are. `moved` leads to endpoints that it had.
    """
    if period <= 0:
        return ()
    before = [_with(each, _apt(each.rows, new)) for each in still(kept, now, period)]
    late = now + PERIODS * period
    more = [Kept(gone.sets, now + period), Kept(gone.rows, late), Kept(gone.former, late)]
    if moved is not None:
        more.append(Kept(_apt(moved, new), late))
    found = tuple(each for each in (*before, *more) if len(each))
    if overview is not None:
        found = tuple(_with(each, _refreshed(each.rows, new, overview)) for each in found)
    same = [id(each) for each in found] == [id(each) for each in kept]
    return kept if same else found


def beside(state: HostState, kept: tuple[Kept, ...]) -> HostState | None:
    """The rows that are kept and that the state has not; None for none."""
    tables = dict(HostState.empty(state.host).tables)
    texts = _Texts(())
    hosts = state.tables["hosts"].keys["address"]
    for name in ROWS:
        for each in (_apt(each.rows, state) for each in reversed(kept)):
            table = each.tables[name]  # of several rows of one key the newest
            known = locate(table, state.tables[name])[1] | locate(table, tables[name])[1]
            rows = _marked(_reachable(table.take(~known), hosts))
            if len(rows):
                tables[name] = tables[name].insert(texts.translated(rows, each.origins))
        if name == "hosts":
            hosts = np.concatenate([hosts, tables[name].keys["address"]])
    found = replace(HostState.empty(state.host).with_tables(tables), origins=texts.all)
    return found if any(map(len, tables.values())) else None


def joined(newer: HostState, older: HostState) -> HostState:
    """The endpoints' rows of two states; of two with one key the newer's."""
    texts, table, more = _Texts(newer.origins), newer.tables["endpoints"], older.tables["endpoints"]
    more = texts.translated(more.take(~locate(more, table)[1]), older.origins)
    made = newer.with_tables({"endpoints": table.insert(more)})
    return replace(made, origins=texts.all, vpcs={**older.vpcs, **newer.vpcs})


def lingering(state: HostState, kept: tuple[Kept, ...]) -> HostState:
    """The state with what is kept beside it; the same object if that is nothing."""
    if not kept:
        return state
    texts, tables = _Texts(state.origins), dict(state.tables)
    if (more := beside(state, kept)) is not None:
        for name, rows in more.tables.items():
            if len(rows):
                tables[name] = tables[name].insert(texts.translated(rows, more.origins))
    apt = [_apt(each.rows, state) for each in kept]
    for name in SETS:
        old = [each.tables[name] for each in apt]
        united = _united(state.tables[name], old, tables["hosts"])
        if united is not None:
            place, _ = locate(state.tables[name], tables[name])
            values = tables[name].values.copy()
            values[place] = united
            tables[name] = replace(tables[name], values=values)
    relays = [each for each in apt if each.programs]
    if relays:
        state = replace(state, programs=relays[-1].programs, links=relays[-1].links)
    elif all(tables[name] is state.tables[name] for name in ROWS):
        return state
    return replace(state, tables=tables, origins=texts.all)


def _of_others(rows: Table, relays: bool) -> Mask:
    """Which of a host's rows are there for other hosts too."""
    own = 0
    if rows.spec.name == "endpoints":
        own = OWN
    elif rows.spec.name == "hosts" and not relays:
        own = HostFlag.SELF
    if not own:
        return np.ones(len(rows), np.bool_)
    mask: Mask = rows.values["flags"] & own == 0
    return mask


def _former(found: TableDiff) -> Table:
    """Rows of endpoints that were on one other host and are on another, with keys of their own.

    The host that an endpoint moved to may not have it yet; then the one that it left has.
    """
    new, old = found.desired.take(found.updates), found.live.take(found.replaced)
    flags = (new.values["flags"] | old.values["flags"]) & (OWN | EndpointFlag.FOREIGN)
    rows = old.take((flags == 0) & (new.values["host"] != old.values["host"]))
    keys = rows.keys.copy()
    keys["vni"] |= np.uint32(VniMark.FORMER)  # of all of them, so their order stays
    return replace(rows, keys=keys)


def _vnis(table: Table) -> NDArray[np.uint32]:
    """The VNI of each row of a table other than `hosts`."""
    marked: NDArray[np.uint32] = table.keys["vni"].astype(np.uint32)
    return marked & ~np.uint32(VniMark.FORMER)


def _with(kept: Kept, rows: HostState) -> Kept:
    return kept if rows is kept.rows else replace(kept, rows=rows)


def _refreshed(rows: HostState, state: HostState, overview: Overview) -> HostState:
    """With the commit's members after the old ones, in sets that are not the state's own any more.

    The same object if that changes nothing."""
    tables = {}
    for name in SETS:
        table = rows.tables[name]
        other = np.flatnonzero(~locate(table, state.tables[name])[1])
        if not len(other):
            continue
        values, chosen = table.values.copy(), table.take(other)
        both = zip(other.tolist(), _old(chosen), members_of(overview, chosen), strict=True)
        for row, old, current in both:
            _unite(values, row, current, [old])
        if raw(values).tobytes() != raw(table.values).tobytes():
            tables[name] = replace(table, values=values)
    return rows.with_tables(tables) if tables else rows


def _apt(rows: HostState, state: HostState) -> HostState:
    """Without what the state supersedes for good: the same object if that is nothing."""
    vnis = np.array([*_same_vpcs(rows, state)], np.uint32)
    tables, shorter = {}, bool(rows.programs) and bool(state.programs)
    for name in ROWS:
        table = rows.tables[name]
        if not len(table):
            continue
        apt = np.ones(len(table), np.bool_)
        if name == "hosts":
            apt &= (table.values["flags"] & HostFlag.SELF == 0) | (not state.programs)
        else:
            apt &= np.isin(_vnis(table), vnis)
        if name not in SETS:
            apt &= ~locate(table, state.tables[name])[1]
        if name == "networks":
            apt &= ~_covered(table, state.tables[name])
        tables[name], shorter = table.take(apt), shorter or not apt.all()
    if not shorter:
        return rows
    made = _only(rows, tables)
    return made if state.programs else replace(made, programs=rows.programs, links=rows.links)


def _same_vpcs(rows: HostState, state: HostState) -> Iterable[int]:
    """The VNIs that are still the same VPC's, or nobody's here.

    One that is another's on another host alone cannot be meant by a packet that comes here: hosts
    learn from their own tables where to send it.
    """
    present = set(np.unique(state.tables["bouncers"].keys["vni"]).tolist())
    for vni, name in rows.vpcs.items():
        if vni not in present or state.vpcs.get(vni) == name:
            yield vni


def _covered(rows: Table, table: Table) -> Mask:
    """Which networks lie within one of the table, so that they would hide it."""
    found = np.zeros(len(rows), np.bool_)
    for length in np.unique(table.keys["prefix_length"]).tolist():
        keys = rows.keys.copy()
        keys["prefix_length"] = length
        bits = np.unpackbits(keys["address"], axis=1)
        bits[:, length - VNI_BITS :] = 0
        keys["address"] = np.packbits(bits, axis=1)
        longer = rows.keys["prefix_length"] >= length
        found |= longer & np.isin(raw(keys), raw(table.keys))
    return found


def _reachable(rows: Table, hosts: NDArray[np.uint32]) -> Table:
    """The rows without hosts that are not known any more; sets without any are left out."""
    if rows.spec.name == "endpoints":
        return rows.take(np.isin(rows.values["host"], hosts))
    if rows.spec.name not in SETS or not len(rows):
        return rows
    known = frozenset(hosts.tolist())
    values = zeros(rows.spec.value, len(rows))
    for row, (old, members) in enumerate(zip(_old(rows), _members(rows), strict=True)):
        _unite(values, row, members & known, [old & known])
    return replace(rows, values=values).take(values["count"] > 0)


def _marked(rows: Table) -> Table:
    """Endpoints are believed to be where these rows say until their host refuses one."""
    if rows.spec.name != "endpoints":
        return rows
    values = rows.values.copy()
    values["flags"] |= np.uint16(EndpointFlag.LEAVING)
    return replace(rows, values=values)


def _united(table: Table, kept: Iterable[Table], hosts: Table) -> Rows | None:
    """The values of a table of sets with old members of each set before its new ones."""
    old: dict[int, list[frozenset[int]]] = {}  # by row, oldest first
    for each in kept:
        place, present = locate(each, table)
        for row, members in zip(place[present].tolist(), _old(each.take(present)), strict=True):
            old.setdefault(row, []).append(members)
    rows = np.array(sorted(old), np.intp)
    known = frozenset(hosts.keys["address"].tolist()) if old else frozenset()
    values = table.values.copy()
    for row, current in zip(rows.tolist(), _members(table.take(rows)), strict=True):
        _unite(values, row, current, [members & known for members in old[row]])
    return values if old else None


def _members(table: Table) -> list[frozenset[int]]:
    counts, hosts = table.values["count"].tolist(), table.values["host"].tolist()
    return [frozenset(each[:count]) for count, each in zip(counts, hosts, strict=True)]


def _old(table: Table) -> list[frozenset[int]]:
    """The members of kept sets without those that they learned of later."""
    counts = [len(each) for each in _members(table)]
    settled, hosts = table.values["settled"].tolist(), table.values["host"].tolist()
    return [
        frozenset(each[: first or count])
        for first, count, each in zip(settled, counts, hosts, strict=True)
    ]


def _unite(values: Rows, row: int, current: frozenset[int], old: list[frozenset[int]]) -> None:
    """One `struct host_set` of current members and, as far as there is room, old ones, which are
    by age. The oldest come first; with nobody new, or nobody old, all are equal."""
    first, *later = old
    leaving = [*sorted(first - current), *sorted(frozenset().union(*later) - first - current)]
    found = current | frozenset(leaving[: Limit.SET - len(current)])
    members = [*sorted(found & first), *sorted(found - first)]
    values["count"][row] = len(members)
    values["settled"][row] = len(found & first) % len(members) if members else 0
    values["host"][row] = 0
    values["host"][row, : len(members)] = members


def _only(state: HostState, tables: Mapping[str, Table]) -> HostState:
    """The state with these of its rows alone."""
    none = np.zeros(0, np.int32)
    used = np.unique(np.concatenate([none, *(each.origins for each in tables.values())]))
    used = used[used >= 0]
    ranked = {}
    vnis: set[int] = set()
    for name, table in tables.items():
        known = table.origins >= 0
        origins = np.where(known, np.searchsorted(used, table.origins), -1).astype(np.int32)
        ranked[name] = replace(table, origins=origins)
        if name != "hosts":
            vnis.update(np.unique(_vnis(table)).tolist())
    return replace(
        HostState.empty(state.host).with_tables(ranked),
        origins=tuple(state.origins[each] for each in used.tolist()),
        vpcs={vni: state.vpcs[vni] for vni in sorted(vnis) if vni in state.vpcs},
    )


class _Texts:
    """Origins of a state, and of what is kept beside it after them."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._known = origins
        self._more: dict[str, int] = {}

    @property
    def all(self) -> tuple[str, ...]:
        """All of them."""
        return (*self._known, *self._more) if self._more else self._known

    def translated(self, table: Table, origins: tuple[str, ...]) -> Table:
        """The table with origins of here."""
        numbers = np.array([*map(self._number, origins), -1], np.int32)
        return replace(table, origins=numbers[table.origins])

    def _number(self, text: str) -> int:
        place = bisect_left(self._known, text)
        if place < len(self._known) and self._known[place] == text:
            return place
        return self._more.setdefault(text, len(self._known) + len(self._more))
