"""Layout -> namespaces, switches, cables. Idempotent: makes what is missing, mends what differs.

Every segment is a bridge in one namespace that also routes between them; every host is a namespace
with a veth to its bridge.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool

from reconciler.lab import netns
from reconciler.lab.layout import Cable, LabError, Layout, Segment

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
    """Builds a layout; `router` is the name of the router's namespace, `hosts` those of hosts'."""

    def __init__(self, router: str, hosts: Mapping[str, str], mtu: int) -> None:
        self.router, self.hosts, self.mtu = router, hosts, mtu

    def build(self, layout: Layout, progress: Callable[[str], None]) -> None:
        """Everything of the layout whose host is in `hosts`; removes what is no longer in it."""
        netns.create(self.router)
        netns.inside(self.router, lambda: netns.sysctl(ROUTER))
        with IPRoute(netns=str(netns.path(self.router))) as route:
            self._prune(route, layout)
            for segment in layout.segments:
                bridge = self._bridge(route, segment)
                for cable in segment.cables:
                    if cable.host in self.hosts:
                        self._host(route, bridge, segment, cable)
                        progress(cable.host)

    def _prune(self, router: IPRoute, layout: Layout) -> None:
        """Take out switches and cables that the layout no longer has."""
        wanted = {segment.bridge for segment in layout.segments}
        wanted |= {cable.port for cable in layout.cables if cable.host in self.hosts}
        for link in router.get_links():
            if link.get("ifname") not in wanted and link.get("ifname").startswith(("h.", "z.")):
                router.link("del", index=link["index"])

    def _bridge(self, router: IPRoute, segment: Segment) -> int:
        """The segment's switch, up and with the router's address in it; its index."""
        index = _lookup(router, segment.bridge)
        if index is None:
            mac = _stable_mac(segment.bridge)
            router.link("add", ifname=segment.bridge, kind="bridge", address=mac)
            index = _required(router, segment.bridge)
        router.link("set", index=index, mtu=self.mtu, state="up")
        _only_address(router, index, segment.gateway, segment.subnet.prefixlen)
        return index

    def _host(self, router: IPRoute, bridge: int, segment: Segment, cable: Cable) -> None:
        """A host's namespace and its cable, addressed, up, and routed through the segment."""
        name = self.hosts[cable.host]
        netns.create(name)
        netns.inside(name, lambda: netns.sysctl(HOST))
        with IPRoute(netns=str(netns.path(name))) as host:
            port, index = self._cable(router, host, name, cable)
            router.link("set", index=port, master=bridge, mtu=self.mtu, state="up")
            host.link("set", index=index, mtu=self.mtu, state="up")
            _only_address(host, index, cable.address, segment.subnet.prefixlen)
            host.route("replace", dst="default", gateway=str(segment.gateway), oif=index)
        # What XDP sends into a veth is lost unless the other end polls, which GRO makes it do.
        netns.inside(self.router, lambda: _receive_offload(cable.port))

    def _cable(self, router: IPRoute, host: IPRoute, name: str, cable: Cable) -> tuple[int, int]:
        """(router's index, host's index) of the veth pair, made if it is missing."""
        port, index = _lookup(router, cable.port), _lookup(host, cable.interface)
        if port is not None and index is not None:
            return port, index
        if port is not None:
            router.link("del", index=port)
        if index is not None:
            raise LabError(
                f"host {cable.host}: namespace {name} already has an interface "
                f"{cable.interface}; choose another `spec.interface`"
            )
        peer = {"ifname": cable.interface, "net_ns_fd": str(netns.path(name))}
        router.link("add", ifname=cable.port, kind="veth", peer=peer)
        return _required(router, cable.port), _required(host, cable.interface)


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
    for other, mask in have - {wanted}:
        route.addr("del", index=index, address=other, mask=mask)
    if wanted not in have:
        route.addr("add", index=index, address=str(address), mask=length)


def _receive_offload(interface: str) -> None:
    """Turn GRO on for an interface of the calling thread's namespace."""
    device = IoctlEthtool(interface)
    try:
        device.set_offload_flag("generic-receive-offload", 1)
    finally:
        device.sock.close()


def _stable_mac(name: str) -> str:
    """A bridge takes the lowest MAC of its ports unless given one, and would change with them."""
    digest = hashlib.sha256(name.encode()).digest()
    return ":".join(f"{each:02x}" for each in (0x02, *digest[:5]))
