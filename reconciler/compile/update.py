"""update: a host's state and what changed among endpoints -> its next state, at that cost.

It gives the bytes that compiling the whole commit gives; tests and the agent hold it to that.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import compress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import EndpointFlag
from reconciler.abi.table import Table, raw
from reconciler.compile.endpoints import endpoints
from reconciler.compile.interfaces import interfaces
from reconciler.compile.origins import Numbering
from reconciler.compile.overview import Overview
from reconciler.compile.programs import is_access, links
from reconciler.compile.routers import routers_of
from reconciler.compile.sets import bouncers_of, vpcs_of
from reconciler.compile.state import HostState

Item = TypeVar("Item", bound=Any)  # of an ordered type
Numbers = NDArray[np.int32]


def touched(old: Overview, new: Overview) -> list[int]:
    """The numbers of the hosts that a change may reach: those of its endpoints, and bouncers."""
    found: set[int] = set()
    for each in (old, new):
        found.update(each.topology.endpoints.host.tolist())
        for network in np.unique(each.topology.endpoints.network).tolist():
            found.update(each.bouncers[network].tolist())
    return sorted(found)


def update(state: HostState, old: Overview, new: Overview, host: int) -> HostState:
    """`old` and `new` have only the endpoints that differ, as they were and as they are; `state`
    is what the host of that number should hold before."""
    went, came = endpoints(old, host), endpoints(new, host)
    if not len(went) and not len(came):
        return state
    table = state.tables["endpoints"]
    before, after = _presence(table, went, came, old, new, host)
    went = went.take(~_gateways_of(went, after, new))
    texts = _Texts(state.origins)
    numbering = Numbering(new.topology)
    tables = {
        **state.tables,
        "endpoints": _replaced(table, went, texts.translated(came, numbering)),
    }
    vpcs = state.vpcs
    if before != after:
        local = table.values["flags"] & EndpointFlag.LOCAL != 0
        present = _networks(new, table.take(local)) - before | after
        networks = np.array(sorted(present), np.int32)
        for name, make in (("bouncers", bouncers_of), ("routers", routers_of)):
            tables[name] = texts.translated(make(new, host, networks), numbering)
        vpcs = vpcs_of(new.topology, tables["bouncers"])
    ends, shown = _items(state, old, new, host)
    tables, origins = texts.settle(tables)
    return replace(state, tables=tables, interfaces=ends, links=shown, origins=origins, vpcs=vpcs)


def _presence(
    table: Table, went: Table, came: Table, old: Overview, new: Overview, host: int
) -> tuple[set[int], set[int]]:
    """Of the networks of changed endpoints, those that have endpoints here before, and after."""
    before, after = set(), set()
    for network in {*old.networks_of(host).tolist(), *new.networks_of(host).tolist()}:
        rows = _local_rows(table, new, network)
        if rows:
            before.add(network)
        if rows - _local_rows(went, new, network) + _local_rows(came, new, network):
            after.add(network)
    return before, after


def _local_rows(table: Table, overview: Overview, network: int) -> int:
    values = table.values
    mine = (values["flags"] & EndpointFlag.LOCAL != 0) & _of_network(table, overview, network)
    return int(np.count_nonzero(mine))


def _of_network(table: Table, overview: Overview, network: int) -> NDArray[np.bool_]:
    number, vni = overview.number[network], overview.vni[network]
    rows: NDArray[np.bool_] = (table.values["network"] == number) & (table.keys["vni"] == vni)
    return rows


def _gateways_of(table: Table, networks: Iterable[int], overview: Overview) -> NDArray[np.bool_]:
    found = np.zeros(len(table), np.bool_)
    for network in networks:
        found |= _of_network(table, overview, network)
    found &= table.values["flags"] & EndpointFlag.GATEWAY != 0
    return found


def _networks(overview: Overview, table: Table) -> set[int]:
    """The networks that rows belong to."""
    pairs = zip(overview.vni.tolist(), overview.number.tolist(), strict=True)
    known = {pair: network for network, pair in enumerate(pairs)}
    seen = set(zip(table.keys["vni"].tolist(), table.values["network"].tolist(), strict=True))
    return {known[pair] for pair in seen}


def _replaced(table: Table, went: Table, came: Table) -> Table:
    """Without the keys of `went`, with the rows of `came`."""
    kept = np.ones(len(table), np.bool_)
    names = raw(table.keys)
    for each in (went, came):
        place = np.minimum(np.searchsorted(names, raw(each.keys)), len(table) - 1)
        kept[place[names[place] == raw(each.keys)] if len(table) else place[:0]] = False
    return table.take(kept).insert(came)


class _Texts:
    """Origins by text: those of the state, and those that come."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._known = origins
        self._numbers: dict[str, int] = {}  # from len(origins) on

    def translated(self, table: Table, numbering: Numbering) -> Table:
        """The table with origins of here instead of a topology's."""
        used, place = np.unique(table.origins, return_inverse=True)
        found = [self._number(numbering.text(each)) for each in used.tolist()]
        return replace(table, origins=np.array(found, np.int32)[place])

    def _number(self, text: str) -> int:
        place = bisect_left(self._known, text)
        if place < len(self._known) and self._known[place] == text:
            return place
        return self._numbers.setdefault(text, len(self._known) + len(self._numbers))

    def settle(self, tables: Mapping[str, Table]) -> tuple[dict[str, Table], tuple[str, ...]]:
        """Origins that index only the texts in use, in their order."""
        used = np.zeros(len(self._known) + len(self._numbers), np.bool_)
        for table in tables.values():
            used[table.origins] = True
        if not self._numbers and used.all():
            return dict(tables), self._known
        texts = list(compress(self._known, used.tolist()))
        rank = np.cumsum(used) - 1  # of the old ones, among themselves
        for text in sorted(self._numbers):
            if used[self._numbers[text]]:
                place = bisect_left(texts, text)
                texts.insert(place, text)
                rank[: len(self._known)] += rank[: len(self._known)] >= place
        for text, number in self._numbers.items():
            if used[number]:
                rank[number] = bisect_left(texts, text)
        settled = {
            name: replace(table, origins=rank[table.origins].astype(np.int32))
            for name, table in tables.items()
        }
        return settled, tuple(texts)


def _items(state: HostState, old: Overview, new: Overview, host: int) -> tuple[Any, Any]:
    """Interfaces and links."""
    gone, come = interfaces(old, host), interfaces(new, host)
    names = {each.name for each in gone}
    ends = [each for each in state.interfaces if each.name not in names]
    shown = [
        each for each in state.links if not is_access(each.program) or each.interface not in names
    ]
    _insert(ends, come)
    _insert(
        shown, (each for each in links(new.topology.hosts[host], come) if is_access(each.program))
    )
    return tuple(ends), tuple(shown)


def _insert(items: list[Item], more: Iterable[Item]) -> None:
    for each in more:
        insort(items, each)
