"""One world for both datapaths: what a test does to the surroundings of the kernel or the fake."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

import numpy as np
from pyroute2 import IPRoute, netns

from reconciler.abi.generated import MAPS
from reconciler.abi.table import Rows, Table
from reconciler.compile.bind import Bound, bind
from reconciler.compile.facts import Device, NextHop
from reconciler.compile.host import compile_host
from reconciler.compile.state import HostName, HostState
from reconciler.datapath import tables
from reconciler.datapath.kernel import KernelConfig, KernelDatapath
from reconciler.datapath.memory import MemoryDatapath, Surroundings
from reconciler.datapath.pins import Pinned
from reconciler.datapath.protocol import Datapath, EndpointTraffic, Report
from reconciler.plan.guards import Limits
from reconciler.plan.plan import Plan, make_plan
from tests.compile.topologies import built, document
from tests.datapath.place import NETNS, Place, entered

UPLINK = "up0"
CAPACITIES = {
    "endpoints": 256,
    "networks": 64,
    "bouncers": 64,
    "dividers": 16,
    "hosts": 32,
    "next_hops": 64,
    "paths": 64,
    "counters": 64,
}
UNLIMITED = Limits(percent=100)
PASSES = 5


class Applying:
    """A host whose datapath is made to hold a state, as its agent would."""

    datapath: Datapath

    def __init__(self, place: Place) -> None:
        self.place = place
        self.host = HostName(place.host)

    def bound(self, desired: HostState) -> Bound:
        """With the facts of now."""
        return bind(desired, self.datapath.facts(desired))

    def plan(self, desired: HostState) -> Plan:
        """What would be written now."""
        bound = self.bound(desired)
        return make_plan(bound.state, self.datapath.read(), bound.waiting, limits=UNLIMITED)

    def settle(self, desired: HostState) -> list[Report]:
        """As the agent does: plan and apply until nothing is left to write."""
        reports = []
        for _ in range(PASSES):
            plan = self.plan(desired)
            if plan.empty:
                return reports
            reports.append(self.datapath.apply(plan))
        return reports

    def converged(self, desired: HostState) -> bool:
        """Nothing differs, and what was read equals what is wanted, byte for byte."""
        bound, live = self.bound(desired), self.datapath.read()
        return (
            make_plan(bound.state, live, limits=UNLIMITED).empty
            and all(bound.state.tables[name] == live.tables[name] for name in live.tables)
            and (bound.state.programs, bound.state.links, bound.state.interfaces)
            == (live.programs, live.links, live.interfaces)
        )


class World(Applying, ABC):
    """A host of a small cluster, with its uplink; `datapath` is what is tested."""

    @abstractmethod
    def restart(self) -> None:
        """A new process: whatever the datapath kept in memory is gone."""

    @abstractmethod
    def add_netns(self, short: str) -> None:
        """A network namespace appears."""

    @abstractmethod
    def add_device(self, name: str, *, native: bool = True) -> None:
        """Somebody else's interface appears; XDP in native mode may be more than it can do."""

    @abstractmethod
    def remove_device(self, name: str) -> None:
        """Somebody deletes an interface."""

    @abstractmethod
    def write(self, name: str, keys: Rows, values: Rows) -> None:
        """Somebody else writes a map."""

    @abstractmethod
    def delete(self, name: str, keys: Rows) -> None:
        """Somebody else deletes rows."""

    @abstractmethod
    def count(self, slot: int, traffic: EndpointTraffic) -> None:
        """The data plane counts packets of an endpoint."""

    def wanted(
        self,
        endpoints: Sequence[str] = (),
        others: int = 2,
        attach: dict[str, dict[str, Any]] | None = None,
        **host: Any,
    ) -> HostState:
        """What a commit with these endpoints on this host means for it."""
        spec = {"underlay": "172.31.0.1", "interface": UPLINK, **host}
        documents = [document("Host", "", self.host, spec)]
        for number in range(2, others + 2):
            underlay = {"underlay": f"172.31.0.{number}", "interface": UPLINK}
            documents.append(document("Host", "", f"other-{number}", underlay))
        cidrs = ["10.0.0.0/16", "2001:db8::/48"]
        documents.append(document("VPC", "shop", "shop", {"vni": 7, "cidrs": cidrs}))
        network = {"vpc": "shop", "cidrs": ["10.0.1.0/24", "2001:db8:0:1::/64"]}
        documents.append(document("Network", "shop", "web", network))
        for name in endpoints:
            number = int(name.rpartition("-")[2])
            addresses = [f"10.0.1.{number}", f"2001:db8:0:1::{number:x}"]
            at = (attach or {}).get(name, {"veth": {"netns": self.place.name(name)}})
            where = {"network": "web", "host": self.host, "addresses": addresses, "attach": at}
            documents.append(document("Endpoint", "shop", name, where))
        return compile_host(built(documents), self.host)


class MemoryWorld(World):
    """The fake's."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.around = Surroundings()
        self.around.devices[UPLINK] = Device(2, b"\2\0\0\0\0\xaa", 1500, True)
        for number in range(2, 60):
            hop = NextHop(b"\2\0\0\0\1" + bytes([number]), UPLINK)
            self.around.next_hops[IPv4Address(f"172.31.0.{number}")] = hop
        self.memory = MemoryDatapath(self.host, self.around, CAPACITIES)
        self.datapath = self.memory

    def restart(self) -> None:
        pass

    def add_netns(self, short: str) -> None:
        self.around.namespaces.add(self.place.name(short))

    def add_device(self, name: str, *, native: bool = True) -> None:
        index = 10 + len(self.around.devices)
        self.around.devices[name] = Device(index, b"\2\0\0\0\0\xbb", 1500, True)
        if not native:
            self.around.no_native.add(name)

    def remove_device(self, name: str) -> None:
        del self.around.devices[name]

    def write(self, name: str, keys: Rows, values: Rows) -> None:
        self.memory.write(Table.make(MAPS[name], keys, values))

    def delete(self, name: str, keys: Rows) -> None:
        self.memory.delete(Table.make(MAPS[name], keys, np.ones(len(keys), MAPS[name].value.dtype)))

    def count(self, slot: int, traffic: EndpointTraffic) -> None:
        self.memory.counters[slot] = traffic


class KernelWorld(World):
    """The kernel's: the test's thread is in the host's namespace."""

    def __init__(self, place: Place, **config: Any) -> None:
        super().__init__(place)
        self.config = KernelConfig(place.bpffs, NETNS, capacities=CAPACITIES, **config)
        place.ip("host", "link", "add", UPLINK, "type", "veth", "peer", "name", "far0")
        for each in (UPLINK, "far0"):
            place.ip("host", "link", "set", each, "addrgenmode", "none", "up")
        place.ip("host", "addr", "add", "172.31.0.1/24", "dev", UPLINK)
        with IPRoute() as route:
            index = route.link_lookup(ifname=UPLINK)[0]
            for number in range(2, 60):
                mac = f"02:00:00:00:01:{number:02x}"
                where = {"dst": f"172.31.0.{number}", "lladdr": mac, "ifindex": index}
                route.neigh("add", **where, state="permanent")
        self.restart()

    def restart(self) -> None:
        self.datapath = KernelDatapath(self.host, self.config)

    def add_netns(self, short: str) -> None:
        path = NETNS / self.place.name(short)
        netns.create(str(path))
        with entered(path), IPRoute() as route:
            route.link("set", index=1, state="up")

    def add_device(self, name: str, *, native: bool = True) -> None:
        kind = ["bridge"] if not native else ["veth", "peer", "name", f"{name}p"]
        self.place.ip("host", "link", "add", name, "type", *kind)
        self.place.ip("host", "link", "set", name, "up")

    def remove_device(self, name: str) -> None:
        self.place.ip("host", "link", "del", name)

    def write(self, name: str, keys: Rows, values: Rows) -> None:
        with self.map(name) as fd:
            tables.write_rows(fd, MAPS[name], keys, values)

    def delete(self, name: str, keys: Rows) -> None:
        with self.map(name) as fd:
            tables.delete_rows(fd, MAPS[name], keys)

    def count(self, slot: int, traffic: EndpointTraffic) -> None:
        from reconciler.datapath import elements, libbpf

        row = [traffic.rx_packets, traffic.rx_bytes, traffic.tx_packets, traffic.tx_bytes]
        values = np.zeros((libbpf.possible_cpus(), 4), np.uint64)
        values[-1] = row
        with self.map("counters") as fd:
            elements.update(fd, slot.to_bytes(4, "little"), values.tobytes())

    def map(self, name: str) -> Any:
        fd = self.place.pins.get(Pinned.MAP, name)
        assert fd is not None
        return fd
