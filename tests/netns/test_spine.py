"""The spine without agent or lab: a git commit, two hosts on one cable, a ping from end to end,
and one that the kernel drops.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest
from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool

from reconciler.compile.bind import bind
from reconciler.compile.host import compile_all
from reconciler.compile.state import HostName, HostState
from reconciler.datapath.kernel import KernelConfig, KernelDatapath
from reconciler.datapath.protocol import Lost
from reconciler.model.commit import read_commit
from reconciler.plan.plan import make_plan
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas
from tests.datapath.place import NETNS, Place, command, entered

MANIFESTS = """
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {{name: left}}
spec: {{underlay: 192.168.7.1, interface: up0}}
---
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {{name: right}}
spec: {{underlay: 192.168.7.2, interface: up0}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
apiVersion: reconciler/v1alpha1
kind: VPC
metadata: {{name: shop, namespace: shop}}
spec: {{vni: 4097, cidrs: [10.1.0.0/16]}}
---
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {{name: web, namespace: shop}}
spec: {{vpc: shop, cidrs: [10.1.0.0/24]}}
---
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {{name: one, namespace: shop}}
spec: {{network: web, host: left, addresses: [10.1.0.11], attach: {{veth: {{netns: {one}}}}}}}
---
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {{name: two, namespace: shop}}
spec: {{network: web, host: right, addresses: [10.1.0.12], attach: {{veth: {{netns: {two}}}}}}}
"""
HOSTS = ("left", "right")
ENDS = ("one", "two")


@pytest.fixture
def place() -> Iterator[Place]:
    """Two hosts, on one cable, and a namespace for each endpoint."""
    made = Place()
    try:
        left, right, *_ = [made.netns(each) for each in (*HOSTS, *ENDS)]
        with right.open("rb") as other, entered(left), IPRoute() as route:
            peer = {"ifname": "up0", "net_ns_fd": other.fileno()}
            route.link("add", ifname="up0", kind="veth", peer=peer)
        for number, netns in enumerate((left, right), 1):
            with entered(netns):
                plug(f"192.168.7.{number}")
        yield made
    finally:
        made.clear()


def plug(address: str) -> None:
    """A cable's end, which takes frames that XDP redirects: its NAPI runs with GRO."""
    tool = IoctlEthtool("up0")
    features = tool.get_features()
    features["rx-gro"] = True
    tool.set_features(features)
    tool.close()
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname="up0")
        route.addr("add", index=index, address=address, prefixlen=24)
        route.link("set", index=index, state="up")


def commit(folder: Path, text: str) -> dict[HostName, HostState]:
    """What every host should hold, through a real commit of a real repository."""
    repository = pygit2.init_repository(str(folder), initial_head="main")
    (folder / "shop.yaml").write_text(text)
    repository.index.add("shop.yaml")
    author = pygit2.Signature("operator", "operator@example.com")
    tree = repository.index.write_tree()
    repository.create_commit("refs/heads/main", author, author, "begin", tree, [])
    source = Repository.open(GitSource(str(folder)))
    read = read_commit(source.snapshot(source.resolve()), schemas())
    assert read.topology is not None, read.problems
    return compile_all(read.topology)


class Host:
    """One host, as its agent would work on it."""

    def __init__(self, place: Place, name: str, wanted: HostState) -> None:
        self.netns = NETNS / place.name(name)
        self.wanted = wanted
        self.datapath = KernelDatapath(HostName(name), KernelConfig(place.bpffs))

    def round(self) -> int:
        """Plan and apply once; how much was written."""
        with entered(self.netns):
            bound = bind(self.wanted, self.datapath.facts(self.wanted))
            plan = make_plan(bound.state, self.datapath.read(), bound.waiting)
            report = self.datapath.apply(plan)
        assert report.done, report.failures
        assert report.counts == plan.counts
        return report.counts.total

    def states(self) -> tuple[HostState, HostState]:
        """What it should hold with the facts of now, and what it holds."""
        with entered(self.netns):
            bound = bind(self.wanted, self.datapath.facts(self.wanted))
            assert not bound.waiting
            return bound.state, self.datapath.read()

    def lost(self) -> list[Lost]:
        """What the kernel dropped after a verdict."""
        with entered(self.netns):
            traffic = self.datapath.traffic()
        assert not traffic.uncounted
        return list(traffic.lost)

    def remove(self) -> None:
        with entered(self.netns):
            self.datapath.remove()


def test_two_hosts_of_one_commit_carry_a_ping(place: Place, tmp_path: Path) -> None:
    manifests = MANIFESTS.format(one=place.name("one"), two=place.name("two"))
    states = commit(tmp_path, manifests)
    hosts = [Host(place, name, states[HostName(name)]) for name in HOSTS]
    try:
        # The first ping of the underlay finds the neighbours, which rows wait for.
        for _ in range(100):
            if sum(host.round() for host in hosts) == 0 and not waiting(hosts):
                break
        for host in hosts:
            desired, live = host.states()
            for name, table in desired.tables.items():
                assert live.tables[name].keys.tobytes() == table.keys.tobytes(), name
                assert live.tables[name].values.tobytes() == table.values.tobytes(), name
            assert len(live.tables["endpoints"])
            assert live.programs == desired.programs
            assert live.links == desired.links
            assert live.interfaces == desired.interfaces
            assert not [each.fallback for each in (*live.links, *live.programs) if each.fallback]
        for source, target in (("one", "10.1.0.12"), ("two", "10.1.0.11")):
            ping = ("ping", "-c3", "-i0.05", "-W2", target)
            netns = NETNS / place.name(source)
            shown = command("nsenter", f"--net={netns}", "--", *ping)
            assert shown.count("bytes from") == 3
        assert [host.round() for host in hosts] == [0, 0]
        assert hosts[1].lost() == []
        (end,) = hosts[1].wanted.interfaces
        place.ip("right", "link", "set", end.name, "down")
        netns = NETNS / place.name("one")
        ping = ("nsenter", f"--net={netns}", "--", "ping", "-c3", "-i0.05", "-W1", "10.1.0.12")
        assert subprocess.run(ping, stdout=subprocess.DEVNULL, check=False).returncode == 1
        assert hosts[1].lost() == [Lost(end.name, "shop/two", "redirect_enetdown", 3)]
    finally:
        for host in hosts:
            host.remove()
    assert list(place.bpffs.iterdir()) == []
    assert place.ip("left", "-br", "link", "show", "type", "veth").split()[0].startswith("up0")
    assert "eth0" not in place.ip("one", "-br", "link")


def waiting(hosts: list[Host]) -> bool:
    """Whether a host still waits for a fact."""
    for host in hosts:
        with entered(host.netns):
            if bind(host.wanted, host.datapath.facts(host.wanted)).waiting:
                return True
    return False
