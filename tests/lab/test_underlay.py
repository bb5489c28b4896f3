import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.datapath.netlink import netns_exists
from reconciler.lab import netns
from reconciler.lab.directory import Member
from reconciler.lab.echo import Stream, ask_everywhere
from reconciler.lab.layout import LabError, Layout, plan_underlay
from reconciler.lab.reach import check
from reconciler.lab.transfer import transfer
from reconciler.lab.underlay import Underlay
from tests.lab.conftest import NamespaceMaker
from tests.lab.test_layout import host

HOSTS = [
    host("east-1", "192.168.1.1", "east"),
    host("east-2", "192.168.1.2", "east"),
    host("west-1", "192.168.2.1", "west", interface="underlay0"),
]


def ignore(_: str) -> None:
    pass


class Built:
    """An underlay in namespaces of its own."""

    def __init__(self, namespace: NamespaceMaker) -> None:
        self.router = namespace(":underlay")
        self.hosts = {each.name: namespace(each.name) for each in HOSTS}
        self.layout = plan_underlay(HOSTS)
        self.build(self.layout)

    def build(self, layout: Layout, mtu: int = 1500) -> None:
        Underlay(self.router, self.hosts, mtu, "test").build(layout, ignore)

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        path = self.hosts.get(name, self.router)
        return subprocess.run(
            ["nsenter", f"--net={path}", "--", *command],
            capture_output=True,
            text=True,
            check=False,
        )

    def links(self, name: str) -> dict[str, int]:
        """Interfaces and their indices."""
        path = self.hosts.get(name, self.router)
        return netns.talk(
            path, lambda route: {link.get("ifname"): link["index"] for link in route.get_links()}
        )


@pytest.fixture
def built(namespace: NamespaceMaker) -> Built:
    return Built(namespace)


def test_hosts_reach_each_other_within_and_across_zones(built: Built) -> None:
    asked = [(0, HOSTS[1].underlay), (0, HOSTS[2].underlay), (2, HOSTS[0].underlay)]
    namespaces = [built.hosts[each.name] for each in HOSTS]
    reached = ask_everywhere(namespaces, asked)
    assert [(set(each.heard), each.answered) for each in reached] == [
        ({1}, True),
        ({2}, True),
        ({0}, True),
    ]


def test_an_interface_has_the_name_and_address_of_its_manifest(built: Built) -> None:
    assert "192.168.2.1/24" in built.run("west-1", "ip", "addr", "show", "underlay0").stdout


def test_a_packet_between_zones_is_routed_and_within_a_zone_switched(built: Built) -> None:
    assert "ttl=63" in built.run("east-1", "ping", "-c1", "192.168.2.1").stdout
    assert "ttl=64" in built.run("east-1", "ping", "-c1", "192.168.1.2").stdout


def test_building_twice_changes_no_interface(built: Built) -> None:
    before = {name: built.links(name) for name in (*built.hosts, "router")}
    built.build(built.layout)
    assert {name: built.links(name) for name in (*built.hosts, "router")} == before


def test_a_host_that_lost_its_namespace_is_made_again(built: Built) -> None:
    netns.remove(built.hosts["east-2"])
    built.build(built.layout)
    assert "1 received" in built.run("east-1", "ping", "-c1", "192.168.1.2").stdout


def test_a_host_with_another_address_and_interface_is_changed_in_place(built: Built) -> None:
    moved = replace(HOSTS[0], interface="eth1")
    built.build(plan_underlay([moved, HOSTS[1], replace(HOSTS[2], underlay=HOSTS[2].underlay + 8)]))
    assert set(built.links("east-1")) == {"lo", "eth1"}
    addresses = built.run("west-1", "ip", "-4", "-o", "addr", "show", "underlay0").stdout
    assert "192.168.2.9/24" in addresses
    assert "192.168.2.1/24" not in addresses
    assert "1 received" in built.run("east-1", "ping", "-c1", "192.168.2.9").stdout


def test_a_zone_that_is_gone_leaves_no_switch(built: Built) -> None:
    del built.hosts["west-1"]
    built.build(plan_underlay(HOSTS[:2]))
    assert set(built.links("router")) == {"lo", "z.east", "h.east-1", "h.east-2"}


def test_the_mtu_asked_for_holds_on_the_whole_way(built: Built) -> None:
    built.build(built.layout, mtu=9000)
    ping = ("ping", "-c1", "-M", "do", "-s")
    assert "1 received" in built.run("east-1", *ping, "8972", "192.168.2.1").stdout
    assert "1 received" not in built.run("east-1", *ping, "8973", "192.168.2.1").stdout


def test_an_interface_that_is_taken_is_refused_with_the_remedy(namespace: NamespaceMaker) -> None:
    taken = namespace("east-1")
    netns.create(taken, "test")
    netns.talk(taken, lambda route: route.link("add", ifname="eth0", kind="bridge"))
    underlay = Underlay(namespace(":underlay"), {"east-1": taken}, 1500, "test")
    with pytest.raises(LabError, match=r"already has an interface eth0; choose another"):
        underlay.build(plan_underlay(HOSTS), ignore)


def test_a_file_that_is_no_namespace_is_replaced_by_one(namespace: NamespaceMaker) -> None:
    path: Path = namespace("half-made")
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert not netns_exists(path)
    netns.create(path, "test")
    assert netns_exists(path)


def member(built: Built, number: int, vni: int) -> Member:
    each = HOSTS[number]
    return Member(each.name, each.name, built.hosts[each.name], (each.underlay,), vni)


def test_reaching_another_tenant_is_found(built: Built) -> None:
    """The underlay lets everybody through, so two tenants on it do meet."""
    claims = check([member(built, 0, 1), member(built, 2, 2)])
    assert [(each.expected, each.heard, each.holds) for each in claims] == [
        (False, True, False)
    ] * 2


def test_not_reaching_the_own_tenant_is_found(built: Built) -> None:
    built.run("west-1", "ip", "link", "set", "underlay0", "down")
    claims = check([member(built, 0, 1), member(built, 2, 1)])
    assert claims
    assert not any(each.holds or each.heard or each.answered for each in claims)


def test_a_stream_knows_which_of_its_requests_were_lost(built: Built) -> None:
    with Stream(built.hosts["east-1"], HOSTS[2].underlay, interval=0.005) as stream:
        while len(stream.samples) < 20:
            time.sleep(0.01)
        built.run("west-1", "ip", "link", "set", "underlay0", "down")
        lost_from = len(stream.samples)
        while len(stream.samples) < lost_from + 20:
            time.sleep(0.01)
    answered = [each.answered is not None for each in stream.samples]
    assert all(answered[:20])
    assert not any(answered[lost_from:])


def test_a_transfer_arrives_as_it_was_sent(built: Built) -> None:
    ends = built.hosts["east-1"], built.hosts["west-1"]
    done = transfer(*ends, HOSTS[2].underlay, 1_000_001)
    assert (done.size, done.error) == (1_000_001, "")


def test_a_transfer_to_where_nobody_is_says_so(built: Built) -> None:
    ends = built.hosts["east-1"], built.hosts["west-1"]
    assert transfer(*ends, HOSTS[1].underlay, 1000).error
