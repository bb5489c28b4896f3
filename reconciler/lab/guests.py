"""What stands behind an existing interface: on a real host a virtual machine, or a container.

The agent only attaches to such an interface; in a lab somebody has to make it, and an endpoint
that answers behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from socket import AF_INET, AF_INET6

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool

from reconciler.abi.generated import Wire
from reconciler.compile.host import compile_host
from reconciler.compile.state import HostName, Interface
from reconciler.lab import netns
from reconciler.model.topology import AttachKind, Attachment, Topology


@dataclass(frozen=True, slots=True)
class Guest:
    """`interface` is the existing one of the host, `inside` what its other end looks like."""

    host: HostName
    interface: str
    inside: Interface


def guests(topology: Topology, host: HostName) -> Iterator[Guest]:
    """The guests of a host: as if the same endpoints had asked for a veth."""
    points = topology.endpoints
    existing = {
        name: topology.attachments[points.attachment[number]].interface
        for number, name in enumerate(points.names)
        if topology.attachments[points.attachment[number]].kind is AttachKind.INTERFACE
    }
    if not existing:
        return
    veths = tuple(
        Attachment() if each.kind is AttachKind.INTERFACE else each for each in topology.attachments
    )
    for each in compile_host(replace(topology, attachments=veths), host).interfaces:
        if each.endpoint in existing:
            yield Guest(host, existing[each.endpoint], each)


def plug(guest: Guest, host: Path, inside: Path, mtu: int) -> None:
    """Make both ends unless they are there; `mtu` is the underlay's."""
    if netns.talk(host, lambda route: bool(route.link_lookup(ifname=guest.interface))):
        return
    netns.create(inside)

    def make(route: IPRoute) -> None:
        peer = {"ifname": guest.inside.peer, "net_ns_fd": str(inside)}
        route.link("add", ifname=guest.interface, kind="veth", peer=peer)
        index = route.link_lookup(ifname=guest.interface)[0]
        route.link("set", index=index, mtu=mtu - Wire.OVERHEAD, state="up")

    netns.talk(host, make)
    netns.talk(inside, lambda route: _configure(route, guest.inside, mtu - Wire.OVERHEAD))


def _configure(route: IPRoute, wanted: Interface, mtu: int) -> None:
    """As a guest's own network configuration would."""
    index = route.link_lookup(ifname=wanted.peer)[0]
    # XDP sees what the guest sends before anybody has computed its checksums, and a veth polls for
    # what XDP sends into it only with GRO.
    device = IoctlEthtool(wanted.peer)
    try:
        device.set_offload_flag("tx-checksumming", 0)
        device.set_offload_flag("generic-receive-offload", 1)
    finally:
        device.sock.close()
    route.link("set", index=index, address=wanted.mac, mtu=mtu, state="up")
    for each in wanted.addresses:
        address, _, length = each.partition("/")
        route.addr("replace", index=index, address=address, prefixlen=int(length))
    for way in wanted.routes:
        family = AF_INET6 if ":" in way.gateway else AF_INET
        route.route("replace", dst=way.destination, gateway=way.gateway, oif=index, family=family)
