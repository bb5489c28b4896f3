"""Topology: the typed, validated whole of a commit. Few things are objects, endpoints are columns.

model.build makes it from documents; compile turns it into one HostState per host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NewType

import numpy as np
from numpy.typing import NDArray

Vni = NewType("Vni", int)
Identity = NewType("Identity", int)
Cidr = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
MAPPED = bytes(10) + b"\xff\xff"  # before the IPv4 address (RFC 4291, 2.5.5.2)


def packed(address: Address) -> bytes:
    """16 bytes in network order, IPv4 as ::ffff:a.b.c.d."""
    return address.packed if address.version == 6 else MAPPED + address.packed


def unpacked(octets: bytes) -> Address:
    """The address of 16 bytes as `packed` makes them."""
    address = IPv6Address(octets)
    return address.ipv4_mapped or address


@dataclass(frozen=True, slots=True)
class Placement:
    """How many hosts take a role, and whether zones must differ while they can."""

    count: int = 2
    spread: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that runs the programs; `managed` False is a foreign tunnel end."""

    name: str
    underlay: IPv4Address
    interface: str
    external_interface: str | None
    labels: Mapping[str, str]
    zone: str
    bounce: bool
    divide: bool
    gateway: bool
    cordon: bool
    managed: bool
    weight: int
    attach_mode: str


@dataclass(frozen=True, slots=True)
class Vpc:
    """A tenant's flat address space."""

    namespace: str
    name: str
    vni: Vni
    cidrs: tuple[Cidr, ...]
    dividers: Placement


@dataclass(frozen=True, slots=True)
class Network:
    """A subnet of a VPC. `number` is a 32-bit hash of namespace and name, never 0."""

    namespace: str
    name: str
    vpc: int  # index into Topology.vpcs
    number: int
    cidrs: tuple[Cidr, ...]
    gateways: tuple[Address, ...]  # one per CIDR, in order
    bouncers: Placement


class AttachKind(StrEnum):
    """The ways of `spec.attach`."""

    VETH = "veth"
    INTERFACE = "interface"
    HOST = "host"
    TAP = "tap"


@dataclass(frozen=True, slots=True)
class Attachment:
    """`netns` '' means the default, `<namespace>.<endpoint>`; `interface` is the peer's name for
    a veth (default eth0), the existing interface's for an interface, the device's for a tap ('':
    a name made of the endpoint's)."""

    kind: AttachKind = AttachKind.VETH
    netns: str = ""
    interface: str = "eth0"


@dataclass(frozen=True, slots=True, eq=False)
class Endpoints:
    """n endpoints with m addresses, as columns, sorted by "namespace/name".

    Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; `address_owner` ascends.
    """

    names: Sequence[str]  # (n,) "namespace/name"
    network: NDArray[np.int32]  # (n,) index into Topology.networks
    host: NDArray[np.int32]  # (n,) index into Topology.hosts
    mac: NDArray[np.uint8]  # (n, 6)
    identity: NDArray[np.uint32]  # (n,)
    attachment: NDArray[np.int32]  # (n,) index into Topology.attachments
    address: NDArray[np.uint8]  # (m, 16)
    address_owner: NDArray[np.int32]  # (m,) index into the n endpoints

    def __len__(self) -> int:
        """Number of endpoints."""
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Everything of a commit; each tuple is sorted by name, so equal manifests give equal bytes."""

    hosts: tuple[Host, ...]
    vpcs: tuple[Vpc, ...]
    networks: tuple[Network, ...]
    attachments: tuple[Attachment, ...]
    endpoints: Endpoints
