"""Topology -> HostState of one host, or of all: the features put together."""

from __future__ import annotations

from reconciler.compile.endpoints import endpoints
from reconciler.compile.hosts import hosts
from reconciler.compile.interfaces import interfaces
from reconciler.compile.networks import networks
from reconciler.compile.origins import Numbering, settle
from reconciler.compile.overview import Overview
from reconciler.compile.programs import links, programs
from reconciler.compile.routers import routers
from reconciler.compile.sets import bouncers, dividers, vpcs_of
from reconciler.compile.state import HostName, HostState
from reconciler.model.topology import Topology

FEATURES = {
    "bouncers": bouncers,
    "dividers": dividers,
    "endpoints": endpoints,
    "hosts": hosts,
    "networks": networks,
    "routers": routers,
}


class UnknownHostError(LookupError):
    """The commit has no such host, or it is foreign, so there is nothing to hold."""


def compile_host(topology: Topology, host: HostName) -> HostState:
    """What one host should hold, before its facts; raises UnknownHostError."""
    return state_of(Overview.of(topology), host_index(topology, host))


def host_index(topology: Topology, host: HostName) -> int:
    """The number of a host that somebody runs; raises UnknownHostError."""
    index = next((i for i, each in enumerate(topology.hosts) if each.name == host), None)
    if index is None:
        raise UnknownHostError(
            f"host {host}: the commit has no such Host; add one, or check --host"
        )
    if not topology.hosts[index].managed:
        raise UnknownHostError(f"host {host}: is foreign (managed: false), so no agent runs there")
    return index


def compile_all(topology: Topology) -> dict[HostName, HostState]:
    """What every managed host should hold, by name."""
    overview = Overview.of(topology)
    return {
        HostName(host.name): state_of(overview, index)
        for index, host in enumerate(topology.hosts)
        if host.managed
    }


def state_of(overview: Overview, index: int) -> HostState:
    """What the host of that number should hold."""
    host = overview.topology.hosts[index]
    made = {name: feature(overview, index) for name, feature in FEATURES.items()}
    tables, origins = settle(Numbering(overview.topology), made)
    ends = interfaces(overview, index)
    return HostState(
        HostName(host.name),
        {**HostState.empty(HostName(host.name)).tables, **tables},
        programs(host),
        links(host, ends),
        ends,
        origins,
        vpcs=vpcs_of(overview.topology, tables["bouncers"]),
    )
