"""What stands behind an existing interface: on a real host a virtual machine, or a container.

The agent only attaches to such an interface; in a lab somebody has to make it, and an endpoint
that answers behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pyroute2 import IPRoute

from reconciler.abi.generated import Wire
from reconciler.compile.host import compile_host
from reconciler.compile.state import HostName, Interface
from reconciler.datapath import peers
from reconciler.datapath.netlink import attempting, inside
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


def plug(guest: Guest, host: Path, namespace: Path, mtu: int, mark: str) -> None:
    """Make both ends, or repair what differs; `mtu` is the underlay's."""
    with attempting(f"interface {guest.interface} of host {guest.host}"):
        _plug(guest, host, namespace, mtu, mark)


def _plug(guest: Guest, host: Path, namespace: Path, mtu: int, mark: str) -> None:
    netns.create(namespace, mark)
    wanted = replace(guest.inside, mtu=mtu - Wire.OVERHEAD)
    peer = {"ifname": wanted.peer, "net_ns_fd": str(namespace)}

    def outside(route: IPRoute) -> None:
        if not route.link_lookup(ifname=guest.interface):
            route.link("add", ifname=guest.interface, kind="veth", peer=peer)
        index = route.link_lookup(ifname=guest.interface)[0]
        route.link("set", index=index, mtu=wanted.mtu, state="up")

    netns.talk(host, outside)
    inside(namespace, lambda: peers.repair(wanted))
