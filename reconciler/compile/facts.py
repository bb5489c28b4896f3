"""Facts: what only a host can know. Gathered by reconciler.datapath, put into rows by bind."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from reconciler.abi.shape import Shape
from reconciler.compile.state import HostState


@dataclass(frozen=True, slots=True)
class Device:
    """An interface that exists in the host's namespace now. `mac` is six bytes."""

    ifindex: int
    mac: bytes
    mtu: int
    up: bool


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where the kernel's routes and neighbours send packets for a host. `mac` is six bytes."""

    mac: bytes
    uplink: str  # interface name


@dataclass(frozen=True, slots=True)
class Facts:
    """One snapshot. Slots are given out by `assign_slots` and stay with their owner."""

    devices: Mapping[str, Device] = field(default_factory=dict)
    uplinks: tuple[str, ...] = ()  # underlay interface names; the position is the index in the maps
    next_hops: Mapping[IPv4Address, NextHop] = field(default_factory=dict)
    host_slots: Mapping[IPv4Address, int] = field(default_factory=dict)
    counter_slots: Mapping[str, int] = field(default_factory=dict)  # by "namespace/name"
    unready: Mapping[str, str] = field(default_factory=dict)  # interface name -> what it waits for
    objects: Mapping[str, str] = field(default_factory=dict)  # program name -> digest of its object
    maps: tuple[Shape, ...] = ()  # by name: this release's layouts, with this host's capacities


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The facts of a moment ago, and of which state they were: what need not be read again.

    `anew` are names of interfaces that may have changed since.
    """

    desired: HostState
    facts: Facts
    anew: Set[str] = frozenset()

    def same_hosts(self, desired: HostState) -> bool:
        """Whether `desired` knows the same hosts, so that slots and next hops are the same."""
        return desired.tables["hosts"] == self.desired.tables["hosts"]

    def devices(self) -> dict[str, Device]:
        """Those that are as they were."""
        lost = self.anew | self.facts.unready.keys()
        return {name: each for name, each in self.facts.devices.items() if name not in lost}
