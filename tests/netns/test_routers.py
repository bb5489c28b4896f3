"""Routers and neighbours of the underlay that change under traffic; queues and ports of its flows.

Hosts are in two subnets, so that packets of alpha to bravo pass a router.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.compile.state import HostName
from reconciler.datapath.pins import Pinned, Pins
from reconciler.lab.netns import create, remove
from tests.datapath.place import NETNS, command
from tests.netns.conftest import Cloud, endpoint, host, temporary_lab, tenant
from tests.netns.test_liveness import AVOIDED, Stream, at_the_switch, eventually, settled
from tests.netns.test_stack import uplink
from tests.netns.test_underlay import Capture

FILES = {
    "hosts.yaml": "---".join(
        [
            host("alpha", "192.168.1.1", "a", False),
            host("near", "192.168.1.3", "a", False),
            host("bravo", "192.168.2.1", "b", False),
            host("relay-a", "192.168.1.2", "a", True),
            host("relay-b", "192.168.2.2", "b", True),
        ]
    ),
    "red.yaml": "---".join(
        [
            tenant("red", 1001),
            endpoint("red", "l1", "left", 11, "alpha"),
            endpoint("red", "l2", "left", 12, "bravo"),
            endpoint("red", "l3", "left", 13, "near"),
        ]
    ),
}
SEGMENT = {"alpha": "z.a", "near": "z.a", "relay-a": "z.a", "bravo": "z.b", "relay-b": "z.b"}
OTHERS = 20  # packets of a host's stack, a test long, that are neither ours nor probes


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two subnets and their router; every test leaves one that works."""
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("routers"), FILES)


def gateway(cloud: Cloud, name: str) -> str:
    words = cloud.run(name, "ip", "route", "show", "default").stdout.split()
    return words[words.index("via") + 1]


def mac(cloud: Cloud, name: str) -> str:
    shown = cloud.run(name, "ip", "-o", "link", "show", uplink(cloud, name)).stdout
    return shown.partition("link/ether ")[2][:17]


def new_mac() -> str:
    return "02:" + secrets.token_bytes(5).hex(":")


def through_the_stack(cloud: Cloud, name: str) -> int:
    """IPv4 packets that a host's stack saw or sent, but for its probes."""
    lines = cloud.run(name, "cat", "/proc/net/snmp").stdout.splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Ip:"))
    found = dict(zip(names, map(int, values), strict=True))
    return found["InReceives"] + found["OutRequests"] - int(cloud.status(name)["hosts"]["probes"])


def followed(cloud: Cloud, target: str, change: Callable[[], object]) -> Stream:
    """Traffic by the direct path of alpha for 3 s, in which something changes its underlay.

    Nothing that was sent a second after the change may be lost, nor go through a stack.
    """
    settled(cloud)
    assert cloud.ping("red.l1", target) == 3  # so that alpha learns the path
    to = cloud.member(target).host
    with Stream(cloud, "red.l1", target) as stream:
        stream.run(0.5)
        assert not stream.lost
        before = [through_the_stack(cloud, each) for each in ("alpha", to)]
        sent = stream.sent
        with ThreadPoolExecutor(1) as another:
            since = time.monotonic()
            changed = another.submit(change)
            stream.run(3)
            changed.result()
        seen = [through_the_stack(cloud, each) for each in ("alpha", to)]
        seen = [now - then for now, then in zip(seen, before, strict=True)]
        print(
            f"{len(stream.lost)} of {stream.sent - sent} lost, for {stream.outage(since):.2f} s; "
            f"late by {stream.late:.3f} s at worst; through the stacks: {seen}"
        )
        assert stream.outage(since) <= AVOIDED + stream.late
        assert stream.sent - sent > 20 * OTHERS
        assert max(seen) < OTHERS
    return stream


def announcing(cloud: Cloud, bridge: str, aloud: bool) -> None:
    """Whether the router announces a new MAC in this subnet, by gratuitous ARP."""
    knob = f"/proc/sys/net/ipv4/conf/{bridge}/arp_notify"
    at_the_switch(cloud, "sh", "-c", f"echo {int(aloud)} > {knob}")


@pytest.mark.parametrize("aloud", [True, False], ids=["announced", "not announced"])
def test_a_router_with_a_new_mac_is_followed_within_a_second(routed: Cloud, aloud: bool) -> None:
    """If it does not announce it, its own question for a host's MAC tells: it forgot them all."""
    announcing(routed, "z.a", aloud)
    now = new_mac()
    change = ("ip", "link", "set", "z.a", "address", now)
    # What is lost was sent within milliseconds of the change: often a packet, at times none.
    followed(routed, "red.l2", lambda: at_the_switch(routed, *change))
    known = routed.run("alpha", "ip", "neigh", "show", gateway(routed, "alpha")).stdout
    assert f" lladdr {now} " in known


def test_a_replaced_router_that_says_nothing_is_found_when_hosts_behind_it_fall_silent(
    routed: Cloud,
) -> None:
    """It knows every host's MAC already and asks nobody; only the hosts can ask."""
    announcing(routed, "z.a", False)
    lines = [f"link set z.a address {new_mac()}"]
    for name in (each for each, bridge in SEGMENT.items() if bridge == "z.a"):
        known = f"{routed.member(name).address(4)} lladdr {mac(routed, name)} dev z.a"
        lines.append(f"neigh replace {known} nud permanent")
    batch = "\n".join(lines)
    try:
        change = ("sh", "-c", f"echo '{batch}' | ip -batch -")
        stream = followed(routed, "red.l2", lambda: at_the_switch(routed, *change))
        assert stream.lost, "nobody told alpha"
    finally:
        at_the_switch(routed, "ip", "neigh", "flush", "dev", "z.a", "nud", "permanent")


@contextmanager
def another_router(cloud: Cloud) -> Iterator[str]:
    """A second router between the two subnets; its address in that of alpha."""
    name = f"{cloud.lab.places.name}-spare"
    create(NETNS / name, "a router of a test")
    try:
        command("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for subnet, letter in ((1, "a"), (2, "b")):
            at = f"s.{letter}"
            at_the_switch(cloud, *f"ip link add {at} type veth peer name up{letter}".split())
            command(
                "nsenter",
                f"--net={cloud.lab.places.router}",
                "ip",
                "link",
                "set",
                f"up{letter}",
                "netns",
                name,
            )
            at_the_switch(cloud, *f"ip link set {at} master z.{letter} up".split())
            command(
                "ip", "-n", name, "addr", "add", f"192.168.{subnet}.200/24", "dev", f"up{letter}"
            )
            command("ip", "-n", name, "link", "set", f"up{letter}", "up")
        yield "192.168.1.200"
    finally:
        for letter in "ab":
            at_the_switch(cloud, "ip", "link", "del", f"s.{letter}")
        remove(NETNS / name)


def test_a_route_by_another_router_is_followed_without_loss(routed: Cloud) -> None:
    """Both work, and the new one is not known yet: packets go by the old one until it is."""
    old, device = gateway(routed, "alpha"), uplink(routed, "alpha")
    with another_router(routed) as new:
        for to in (new, old):
            change = f"ip route replace default via {to} dev {device}".split()
            stream = followed(routed, "red.l2", lambda words=change: routed.run("alpha", *words))
            assert not stream.lost
            assert gateway(routed, "alpha") == to


@pytest.mark.parametrize("aloud", [True, False], ids=["announced", "not announced"])
def test_a_host_on_the_link_with_a_new_mac_is_followed_within_a_second(
    routed: Cloud, aloud: bool
) -> None:
    """The switch carries what is for the old one to another host, as if it had moved there."""
    device, old = uplink(routed, "near"), mac(routed, "near")
    knob = f"/proc/sys/net/ipv4/conf/{device}/arp_notify"
    routed.run("near", "sh", "-c", f"echo {int(aloud)} > {knob}")
    change = f"ip link set {device} address {new_mac()}"
    elsewhere = f"bridge fdb replace {old} dev h.relay-a master static sticky"

    def move() -> None:
        at_the_switch(routed, *elsewhere.split())
        assert not routed.run("near", *change.split()).returncode

    try:
        followed(routed, "red.l3", move)
    finally:
        at_the_switch(routed, *f"bridge fdb del {old} dev h.relay-a master".split())


def queues(cloud: Cloud, name: str) -> list[int]:
    """Packets that the host's program transit saw, by queue of its uplink."""
    text = cloud.run(name, "ethtool", "-S", uplink(cloud, name)).stdout
    return [int(each) for each in re.findall(r"rx_queue_\d+_xdp_packets: (\d+)", text)]


def two_queues(cloud: Cloud, name: str) -> None:
    """On the host's uplink, whose program is attached anew: veth gives a new queue none (6.18)."""
    cloud.run(name, "ethtool", "-L", uplink(cloud, name), "rx", "2")
    at_the_switch(cloud, "ethtool", "-L", f"h.{name}", "tx", "2")
    pins = Pins(cloud.lab.places.bpffs, HostName(name))
    pins.remove(Pinned.LINK, uplink(cloud, name))
    eventually(lambda: uplink(cloud, name) in pins.names(Pinned.LINK))


def test_flows_between_two_endpoints_have_ports_of_their_own_and_use_every_queue(
    routed: Cloud, tmp_path: Path
) -> None:
    settled(routed)
    assert routed.ping("red.l1", "red.l2") == 3
    two_queues(routed, "bravo")
    capture = Capture(routed, tmp_path / "ports.pcap")
    before = queues(routed, "bravo")
    with Stream(routed, "red.l1", "red.l2", flows=64) as stream, capture.of("alpha"):
        stream.run(1)
    assert not stream.lost
    ports: dict[str, set[str]] = {}
    for each in capture.packets("geneve && udp.dstport == 7000"):
        ports.setdefault(each["udp.srcport"][-1], set()).add(each["udp.srcport"][0])
    got = [now - then for now, then in zip(queues(routed, "bravo"), before, strict=True)]
    outer = {port for each in ports.values() for port in each}
    print(f"{len(ports)} flows by {len(outer)} ports; packets by queue: {got}")
    assert len(ports) == 64
    assert {len(each) for each in ports.values()} == {1}, "a flow keeps its port, and its order"
    assert len(outer) >= 60
    assert min(got) > stream.sent / 5
