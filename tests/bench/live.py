"""Two hosts in network namespaces, an endpoint on each, and a veth between them: built three ways.

`Ours` is the real datapath on both; `Vxlan` the kernel's, with a bridge; `Bare` two XDP programs
that only push and pop a fixed header. All use veths of the same kind. An endpoint's own end has
transmit offloads off and GRO on in all three, as ours needs it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from reconciler.abi.generated import Wire
from reconciler.compile.host import compile_host
from reconciler.compile.state import HostName
from reconciler.datapath import libbpf
from reconciler.datapath.kernel import KernelConfig, KernelDatapath
from reconciler.datapath.netlink import inside
from tests.compile.topologies import built, document
from tests.datapath.place import NETNS, Place, command, entered
from tests.datapath.worlds import Applying

UPLINK, DRIVER = "up0", 1 << 2  # XDP_FLAGS_DRV_MODE
SIDES = (1, 2)
PATIENCE = 20.0  # seconds until next hops are known
OFFLOADS = ("tx", "rx", "sg", "tso", "gso", "gro")
VXLAN_OVERHEAD = 50


class Pair:
    """Both ends; side 1 sends, side 2 serves. Everything of it goes with clear()."""

    name = ""

    def __init__(self) -> None:
        self.place = Place()
        self.endpoints = {side: NETNS / self.place.name(f"e{side}") for side in SIDES}
        self.addresses = {side: f"10.0.1.{10 + side}" for side in SIDES}

    def clear(self) -> None:
        """Take away what was made."""
        self.place.clear()

    def cable(self) -> None:
        """Hosts with a veth between them."""
        for side in SIDES:
            self.place.netns(f"h{side}")
        far = ("peer", "name", UPLINK, "netns", self.place.name("h2"))
        self.place.ip("h1", "link", "add", UPLINK, "type", "veth", *far)
        for side in SIDES:
            self.place.ip(f"h{side}", "addr", "add", f"172.31.0.{side}/24", "dev", UPLINK)
            self.up(f"h{side}", UPLINK)

    def up(self, where: str, interface: str) -> None:
        """Up, and silent."""
        self.place.ip(where, "link", "set", interface, "addrgenmode", "none", "up")

    def plug(self, mtu: int) -> None:
        """Endpoints in namespaces of their own, by hand: eth0 there, ep0 on their host."""
        for side in SIDES:
            host, inside = f"h{side}", f"e{side}"
            self.place.netns(inside)
            peer = ("peer", "name", "eth0", "netns", self.place.name(inside))
            self.place.ip(host, "link", "add", "ep0", "type", "veth", *peer)
            self.place.ip(inside, "link", "set", "eth0", "address", f"02:00:00:00:00:0{side}")
            self.place.ip(inside, "link", "set", "eth0", "mtu", str(mtu))
            self.place.ip(inside, "addr", "add", f"{self.addresses[side]}/24", "dev", "eth0")
            self.up(inside, "eth0")
            self.up(host, "ep0")

    def offloads(self, where: str, interface: str, **wanted: str) -> None:
        """Offloads of an interface off, but for those wanted otherwise; some cannot be changed."""
        for name in OFFLOADS:
            value = wanted.get(name, "off")
            words = ("ethtool", "-K", interface, name, value)
            enter = ("nsenter", f"--net={NETNS / self.place.name(where)}")
            subprocess.run([*enter, *words], capture_output=True, check=False)

    def index(self, where: str, interface: str) -> int:
        """The number of an interface."""
        with entered(NETNS / self.place.name(where)), IPRoute() as route:
            return int(route.link_lookup(ifname=interface)[0])

    def ping(self) -> None:
        """The ends reach each other; caches and paths are warm."""
        where, words = self.place.name("e1"), ("ping", "-c3", "-i0.2", "-W2", self.addresses[2])
        command("ip", "netns", "exec", where, *words)


class Side(Applying):
    """One host of ours, in its namespace."""

    def __init__(self, pair: Pair, place: Place, number: int) -> None:
        super().__init__(place)
        self.netns = NETNS / pair.place.name(f"h{number}")
        self.datapath = KernelDatapath(self.host, KernelConfig(place.bpffs, NETNS))


class Ours(Pair):
    """The overlay as it is: compiled from manifests, applied by the datapath.

    `modes`: by side, the attach modes of hosts that are not to be native.
    """

    name = "ours"

    def __init__(self, modes: Mapping[int, str] | None = None) -> None:
        super().__init__()
        self.modes = modes or {}
        self.places = {side: Place() for side in SIDES}
        self.hosts: dict[int, Side] = {}

    def clear(self) -> None:
        for place in self.places.values():
            place.clear()
        super().clear()

    def build(self) -> None:
        """Until both hosts hold what the manifests say."""
        self.cable()
        for side in SIDES:
            self.place.netns(f"e{side}")
            self.hosts[side] = Side(self, self.places[side], side)
        self.desired = {side: self._compiled(side) for side in SIDES}
        limit = time.monotonic() + PATIENCE
        waits = list(SIDES)
        while waits and time.monotonic() < limit:
            waits = [side for side in SIDES if not self._settled(side)]
            time.sleep(0.1)
        assert not waits, f"sides {waits} do not converge"
        self.ping()

    def _settled(self, side: int) -> bool:
        host = self.hosts[side]
        with entered(host.netns):
            host.settle(self.desired[side])
            return not host.bound(self.desired[side]).waiting and host.converged(self.desired[side])

    def _compiled(self, side: int) -> Any:
        documents = [document("VPC", "shop", "shop", {"vni": 7, "cidrs": ["10.0.0.0/16"]})]
        network = {"vpc": "shop", "cidrs": ["10.0.1.0/24"]}
        documents.append(document("Network", "shop", "web", network))
        for each, place in self.places.items():
            mode = self.modes.get(each, "native")
            spec = {"underlay": f"172.31.0.{each}", "interface": UPLINK, "attachMode": mode}
            documents.append(document("Host", "", place.host, spec))
            spec = {
                "network": "web",
                "host": place.host,
                "addresses": [self.addresses[each]],
                "attach": {"veth": {"netns": self.place.name(f"e{each}")}},
            }
            documents.append(document("Endpoint", "shop", f"web-{each}", spec))
        return compile_host(built(documents), HostName(self.places[side].host))

    def reasons(self, side: int) -> dict[str, int]:
        """Packets of a host by the reason of their verdict."""
        host = self.hosts[side]
        with entered(host.netns):
            counted = host.datapath.traffic().reasons
        return {reason: each.packets for reason, each in counted.items()}


class Vxlan(Pair):
    """The kernel's own, with a bridge. `offloads`: as they are by default, or all off."""

    name = "vxlan"

    def __init__(self, offloaded: bool = False) -> None:
        super().__init__()
        self._offloaded = offloaded

    def build(self) -> None:
        """Bridges, tunnels, endpoints."""
        self.cable()
        self.plug(1500 - VXLAN_OVERHEAD)
        for side in SIDES:
            host, other = f"h{side}", 3 - side
            self.place.ip(host, "link", "add", "br0", "type", "bridge")
            self._spare_netfilter(host)
            ends = ("local", f"172.31.0.{side}", "remote", f"172.31.0.{other}", "dstport", "4789")
            kind = ("type", "vxlan", "id", "7", *ends, "dev", UPLINK, "noudpcsum")
            self.place.ip(host, "link", "add", "vx0", *kind)
            for each in ("vx0", "ep0"):
                self.place.ip(host, "link", "set", each, "master", "br0")
            for each in ("vx0", "br0"):
                self.up(host, each)
            if not self._offloaded:
                for each in (UPLINK, "vx0", "br0", "ep0"):
                    self.offloads(host, each)
                self.offloads(f"e{side}", "eth0", gro="on", rx="on")
        self.ping()

    def _spare_netfilter(self, host: str) -> None:
        """Bridges show frames to iptables where br_netfilter is loaded; that would be unfair."""

        def turn_off() -> None:
            for each in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
                each.write_text("0")

        inside(NETNS / self.place.name(host), turn_off)


class Bare(Pair):
    """Two programs that know where everything goes."""

    name = "bare"

    def __init__(self, compiled: Path) -> None:
        super().__init__()
        self._compiled = compiled
        self._held: list[libbpf.Fd] = []

    def clear(self) -> None:
        for each in self._held:
            each.close()
        super().clear()

    def build(self) -> None:
        """Every frame of an endpoint goes to the other one."""
        self.wire()
        for side in SIDES:
            self.attach(f"h{side}", "ep0", "push", self.index(f"h{side}", UPLINK), self.header())
            self.attach(f"h{side}", UPLINK, "pop", self.index(f"h{side}", "ep0"))
        self.ping()

    def wire(self) -> None:
        """The interfaces, without programs."""
        self.cable()
        self.plug(1500 - VXLAN_OVERHEAD)
        for side in SIDES:
            mac, other = f"02:00:00:00:00:0{3 - side}", self.addresses[3 - side]
            where = ("lladdr", mac, "dev", "eth0")
            self.place.ip(f"e{side}", "neigh", "replace", other, *where)
            self.offloads(f"e{side}", "eth0", gro="on", rx="on")

    def header(self) -> bytes:
        """Of some Geneve packet; nobody looks at it."""
        ip = IP(src=str(IPv4Address("172.31.0.1")), dst="172.31.0.2", flags="DF")
        return bytes(Ether() / ip / UDP(dport=Wire.PORT) / bytes(8))

    def attach(
        self, where: str, interface: str, program: str, target: int = 0, header: bytes = bytes(50)
    ) -> None:
        """Put a program of bare.bpf.c on an interface, natively."""
        index = self.index(where, interface)
        with entered(NETNS / self.place.name(where)):
            opened = bare_program(self._compiled, program, target, header=header)
            self._held += [opened[0], libbpf.create_xdp_link(opened[0], index, DRIVER)]


def bare_program(
    compiled: Path, name: str, target: int, macs: bytes = bytes(12), header: bytes = bytes(50)
) -> tuple[libbpf.Fd, libbpf.Fd]:
    """A program of bare.bpf.c with its settings, and its counter."""
    with libbpf.Object.open(compiled) as opened:
        settings = target.to_bytes(4, "little") + macs + header
        opened.set_initial_value(".rodata", settings.ljust(72, b"\0"))
        opened.load()
        return opened.program_fd(name), opened.map_fd("ended")


@contextmanager
def standing(*pairs: Any) -> Iterator[None]:
    """Build them, and take them away whatever happens."""
    try:
        for each in pairs:
            each.build()
        yield
    finally:
        for each in pairs:
            each.clear()
