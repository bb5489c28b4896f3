"""Layout -> namespaces, switches, cables. Idempotent: makes what is missing, mends what differs.

Every segment is a bridge in one namespace that also routes between them; every host is a namespace
with a veth to its bridge.
"""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError
from pyroute2.ethtool.ioctl import IoctlEthtool

from reconciler.datapath.netlink import attempting, inside
from reconciler.lab import netns
from reconciler.lab.layout import BRIDGE, PORT, Cable, LabError, Layout, Segment

ROUTER = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # Router and switches carry an IPv4 underlay; silence keeps captures readable.
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}
HOST = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
}


class Underlay:
    """Builds a layout; `router` is the router's namespace, `hosts` are those of the hosts.

    `mark` is what the namespaces are marked with.
    """

    def __init__(self, router: Path, hosts: Mapping[str, Path], mtu: int, mark: str) -> None:
        self.router, self.hosts, self.mtu, self.mark = router, hosts, mtu, mark

    def build(self, layout: Layout, progress: Callable[[str], None]) -> None:
        """Everything of the layout whose host is in `hosts`; takes out what is no longer in it."""
        with attempting("the underlay's router"):
            netns.create(self.router, self.mark)
            inside(self.router, lambda: netns.sysctl(ROUTER))
            netns.talk(self.router, lambda route: self._prune(route, layout))
        for segment in layout.segments:
            self._bridge(segment)
            for cable in segment.cables:
                if cable.host in self.hosts:
                    with attempting(f"host {cable.host}: interface {cable.interface}"):
                        self._host(segment, cable)
                    progress(cable.host)

    def _prune(self, router: IPRoute, layout: Layout) -> None:
        """Take out switches and cables that the layout no longer has."""
        wanted = {segment.bridge for segment in layout.segments}
        wanted |= {cable.port for cable in layout.cables if cable.host in self.hosts}
        for link in router.get_links():
            if link.get("ifname") not in wanted and link.get("ifname").startswith((BRIDGE, PORT)):
                _delete(router, link["index"])

    def _bridge(self, segment: Segment) -> None:
        """The segment's switch, up and with the router's address in it."""

        def build(route: IPRoute) -> None:
            if _lookup(route, segment.bridge) is None:
                mac = _stable_mac(segment.bridge)
                route.link("add", ifname=segment.bridge, kind="bridge", address=mac)
            index = _required(route, segment.bridge)
            route.link("set", index=index, mtu=self.mtu, state="up")
            _only_address(route, index, segment.gateway, segment.subnet.prefixlen)

        netns.talk(self.router, build)

    def _host(self, segment: Segment, cable: Cable) -> None:
        """A host's namespace and its cable: plugged in, addressed, routed through the segment."""
        namespace = self.hosts[cable.host]
        netns.create(namespace, self.mark)
        inside(namespace, lambda: netns.sysctl(HOST))
        present = netns.talk(namespace, lambda route: _lookup(route, cable.interface)) is not None

        def plug(route: IPRoute) -> None:
            port = _lookup(route, cable.port)
            if port is None or not present:
                _new_cable(route, cable, namespace, port, present)
            index, bridge = _required(route, cable.port), _required(route, segment.bridge)
            route.link("set", index=index, master=bridge, mtu=self.mtu, state="up")
            _suit_xdp(cable.port)

        def address(route: IPRoute) -> None:
            index = _required(route, cable.interface)
            route.link("set", index=index, mtu=self.mtu, state="up")
            _only_address(route, index, cable.address, segment.subnet.prefixlen)
            route.route("replace", dst="default", gateway=str(segment.gateway), oif=index)

        netns.talk(self.router, plug)
        netns.talk(namespace, address)


def _new_cable(
    router: IPRoute, cable: Cable, namespace: Path, port: int | None, present: bool
) -> None:
    """Make the veth pair, in place of one whose other end is gone."""
    if port is not None:
        _delete(router, port)
    elif present:
        raise LabError(
            f"host {cable.host}: its namespace already has an interface {cable.interface}; "
            "choose another `spec.interface`"
        )
    peer = {"ifname": cable.interface, "net_ns_fd": str(namespace)}
    router.link("add", ifname=cable.port, kind="veth", peer=peer)


def _delete(route: IPRoute, index: int) -> None:
    """A veth also goes by itself, a moment after the namespace of its other end was removed."""
    try:
        route.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def _lookup(route: IPRoute, name: str) -> int | None:
    """The index of an interface by name."""
    found: list[int] = list(route.link_lookup(ifname=name))
    return found[0] if found else None


def _required(route: IPRoute, name: str) -> int:
    index = _lookup(route, name)
    if index is None:
        raise LabError(f"interface {name} vanished while the lab was built; try again")
    return index


def _only_address(route: IPRoute, index: int, address: IPv4Address, length: int) -> None:
    """Give an interface this IPv4 address, and no other one."""
    have = {
        (each.get("address"), each["prefixlen"])
        for each in route.get_addr(index=index, family=socket.AF_INET)
    }
    wanted = (str(address), length)
    for other, prefix in have - {wanted}:
        route.addr("del", index=index, address=other, prefixlen=prefix)
    if wanted not in have:
        route.addr("add", index=index, address=str(address), prefixlen=length)


def _suit_xdp(interface: str) -> None:
    """Make the router's end of a host's cable fit for XDP at the other.

    What XDP sends into a veth is lost unless this end polls, which GRO makes it do. What it gets
    must have its checksums, which the frames of a host of tc may not have yet.
    """
    device = IoctlEthtool(interface)
    try:
        device.set_offload_flag("generic-receive-offload", 1)
        device.set_offload_flag("tx-checksumming", 0)
    finally:
        device.sock.close()


def _stable_mac(name: str) -> str:
    """A bridge takes the lowest MAC of its ports unless given one, and would change with them."""
    digest = hashlib.sha256(name.encode()).digest()
    return ":".join(f"{each:02x}" for each in (0x02, *digest[:5]))
