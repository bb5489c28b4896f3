"""HostState: what one host should hold, or holds; desired and live are this one type.

compile makes one per host, bind fills its facts, datapath reads the live one, plan compares two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from reconciler.abi.generated import MAPS
from reconciler.abi.shape import Shape
from reconciler.abi.spec import Ownership
from reconciler.abi.table import Table

HostName = NewType("HostName", str)


class AttachMode(StrEnum):
    """How a program is attached to an interface: as one of XDP, or of tc."""

    NATIVE = "native"
    GENERIC = "generic"
    OFFLOAD = "offload"
    TC = "tc"


class InterfaceKind(StrEnum):
    """Who makes an endpoint's interface: we a veth pair or a tap, or somebody else."""

    VETH = "veth"
    TAP = "tap"
    EXISTING = "existing"


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """A route inside the endpoint: destination CIDR (`default` for a zero prefix) and gateway."""

    destination: str
    gateway: str


@dataclass(frozen=True, slots=True, order=True)
class Interface:
    """An endpoint's interface. Existing ones have only `name`, `endpoint`, `vni` and `network`,
    taps an `mtu` besides.

    `name` is the host's side, at most 15 bytes. `netns` is the namespace of the peer: a name under
    the runtime's netns folder, an absolute path, or '' for the host's own (attach: {host: true}).
    `addresses` carry prefix lengths. `mtu` is a fact: 0 until bind, then the underlay's less the
    overhead. `offloads`: the peer may leave checksums and the cutting of large segments to whoever
    sends its frames on, which tc programs allow. `faults` says what else is wrong with a live one
    ("down", "peer down"); never desired.
    """

    name: str
    endpoint: str
    kind: InterfaceKind
    vni: int
    network: int
    netns: str = ""
    peer: str = ""
    mac: str = ""
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    offloads: bool = False
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Program:
    """A program by the name of its object, with the bytes of its `struct constants`, if it has one.

    `fallback` says of a live one what it does without, and why; it is not a difference.
    """

    name: str
    constants: bytes
    digest: str = ""  # of the object's bytes; a fact: set by bind, read from the pinned program
    fallback: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A program attached to an interface of the host.

    `fallback` says of a live one in which mode it runs instead, and why; it is not a difference.
    """

    interface: str
    program: str
    mode: AttachMode = AttachMode.NATIVE
    fallback: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class HostState:
    """Everything a host holds. `tables` has one Table per owned map, by name, also empty ones.

    `maps`, of every map, are facts: the release's layouts, with this host's capacities. `vpcs` says
    of every VNI in the tables whose it is; what is live does not know that.
    """

    host: HostName
    tables: Mapping[str, Table]
    programs: tuple[Program, ...] = ()
    links: tuple[Link, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    # "Endpoint shop/web-1", indexed by Table.origins; like those in no comparison
    origins: tuple[str, ...] = field(default=(), compare=False)
    maps: tuple[Shape, ...] = ()
    vpcs: Mapping[int, str] = field(default_factory=dict, compare=False)  # VNI -> "shop/shop"

    @classmethod
    def empty(cls, host: HostName) -> HostState:
        """A host that holds nothing."""
        return cls(host, {name: Table.empty(MAPS[name]) for name in OWNED_MAPS})

    def with_tables(self, tables: Mapping[str, Table]) -> HostState:
        """The same state with some tables replaced."""
        return replace(self, tables={**self.tables, **tables})


OWNED_MAPS = tuple(sorted(n for n, spec in MAPS.items() if spec.ownership is Ownership.OWNED))
