"""Clusters whose tables were compiled: two commits and what is kept between them, host by host."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from ipaddress import IPv4Address
from itertools import pairwise

from reconciler.compile.bind import bind
from reconciler.compile.facts import Device, Facts, NextHop
from reconciler.compile.followed import Had, moved_since
from reconciler.compile.host import compile_all, host_index
from reconciler.compile.linger import PERIODS, Kept, keep, lingering, still, withdrawn
from reconciler.compile.overview import Overview
from reconciler.compile.state import HostName, HostState
from reconciler.manifest.document import Document
from tests.bpf.harness import INTERFACE, UPLINK, mac, next_hop, slot
from tests.bpf.journey import Cluster
from tests.compile.topologies import built

PERIOD = 60.0
TABLES = (
    *("endpoints", "networks", "bouncers", "dividers", "hosts", "interfaces", "routers"),
    *("next_hops", "uplinks", "uplink_macs"),
)


class Phase(IntEnum):
    """How far a host is with the newer of two commits."""

    BEFORE = 0
    SETS = 1  # its sets prefer old members, and rows stay
    ROWS = 2  # rows stay
    AFTER = 3


def together(hosts: Sequence[str]) -> Iterator[dict[str, Phase]]:
    """Every mixture of phases in which hosts can be, if all take up a commit within a period."""
    seen = set()
    for early in (Phase.BEFORE, Phase.SETS, Phase.ROWS):
        for phases in itertools.product((early, Phase(early + 1)), repeat=len(hosts)):
            if phases not in seen:
                seen.add(phases)
                yield dict(zip(hosts, phases, strict=True))


@dataclass(frozen=True)
class Commits:
    """Two commits of one cluster, and `more` right after them. `addresses` are the underlay's, by
    host name."""

    before: Sequence[Document]
    after: Sequence[Document]
    addresses: Mapping[str, str]
    sender: str = ""  # the endpoint whose interface frames of a run seem to come in on
    more: Sequence[Sequence[Document]] = ()
    _bound: dict[tuple[str, Phase], HostState] = field(default_factory=dict)

    @cached_property
    def _states(self) -> list[dict[HostName, HostState]]:
        return [compile_all(built(each)) for each in (self.before, self.after, *self.more)]

    @cached_property
    def _overviews(self) -> list[Overview]:
        return [Overview.of(built(each)) for each in (self.after, *self.more)]

    @cached_property
    def concerned(self) -> tuple[str, ...]:
        """The hosts whose tables are not the same in both."""
        old, *_, new = self._states
        hosts = [HostName(each) for each in self.addresses]
        return tuple(each for each in hosts if old.get(each) != new.get(each))

    def state(self, host: str, phase: Phase) -> HostState:
        """What a host holds, with its facts."""
        if (host, phase) not in self._bound:
            self._bound[host, phase] = self._bind(self._state(HostName(host), phase))
        return self._bound[host, phase]

    def _state(self, host: HostName, phase: Phase) -> HostState:
        nothing = HostState.empty(host)
        states = [each.get(host, nothing) for each in self._states]
        if phase is Phase.BEFORE:
            return states[0]
        kept: tuple[Kept, ...] = ()
        for (old, new), overview in zip(pairwise(states), self._overviews, strict=True):
            moved = None
            if new.programs:
                moved = moved_since(Had((old,)), new, overview, host_index(overview.topology, host))
            kept = keep(kept, withdrawn(old, new), new, 0.0, PERIOD, overview, moved)
        spent = (0.0, PERIOD, PERIODS * PERIOD)[phase - 1]
        return lingering(states[-1], still(kept, spent, PERIOD))

    def _bind(self, state: HostState) -> HostState:
        devices = {"eth0": Device(INTERFACE, mac(UPLINK), 1500, True)}
        for number, each in enumerate(state.interfaces):
            index = INTERFACE if each.endpoint == self.sender else INTERFACE + 1 + number
            devices[each.name] = Device(index, mac(each.mac), 1438, True)
        known = {IPv4Address(each): str(IPv4Address(each)) for each in _hosts(state)}
        facts = Facts(
            devices=devices,
            uplinks=("eth0",),
            next_hops={
                where: NextHop(mac(next_hop(text)), "eth0") for where, text in known.items()
            },
            host_slots={where: slot(text) for where, text in known.items()},
            counter_slots={each.endpoint: 1 + n for n, each in enumerate(state.interfaces)},
        )
        bound = bind(state, facts)
        assert not bound.waiting
        return bound.state

    def load(self, cluster: Cluster, phases: Mapping[str, Phase]) -> None:
        """Give every host of the cluster its tables; those that are not named have the newer."""
        for name in self.addresses:
            self.load_one(cluster, name, phases.get(name, Phase.AFTER))

    def load_one(self, cluster: Cluster, host: str, phase: Phase) -> None:
        """The same of one host."""
        world = cluster.worlds[self.addresses[host]]
        world.clear()
        state = self.state(host, phase)
        for table in TABLES:
            world.load(state.tables[table])


def _hosts(state: HostState) -> list[int]:
    found: list[int] = state.tables["hosts"].keys["address"].tolist()
    return found
