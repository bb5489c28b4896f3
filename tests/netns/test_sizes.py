"""Packets of every size, through real stacks: path MTU discovery, fragments, jumbo frames."""

import errno
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from reconciler.abi.generated import Wire
from reconciler.datapath.netlink import inside
from reconciler.lab.transfer import transfer
from reconciler.model.mac import ROUTER_MAC, format_mac
from tests.netns.conftest import (
    MODES,
    RELAYED,
    Cloud,
    endpoint,
    host,
    in_mode,
    temporary_lab,
    tenant,
)

MTU = 1500 - Wire.OVERHEAD
HEADERS = {4: 28, 6: 48}  # of a ping: IP and ICMP
UDP_SEGMENT = 103  # linux/udp.h
OF_UDP = {  # and how a socket is asked for its path's MTU: IP_MTU, IPV6_MTU
    4: (socket.AF_INET, socket.IPPROTO_IP, 14),
    6: (socket.AF_INET6, socket.IPPROTO_IPV6, 24),
}
GATEWAYS = {4: "10.0.1.1", 6: "2001:db8:1::1"}
GUEST_MAC = "02:00:00:00:00:aa"
VERSIONS = pytest.mark.parametrize("version", [4, 6])
ELSEWHERE = pytest.mark.parametrize("target", ["red.l2", "red.l3"], ids=["elsewhere", "same host"])


def existing(name: str, number: int, on: str) -> str:
    """An endpoint on an interface that is not ours to size."""
    return endpoint("red", name, "left", number, on) + f"  attach: {{interface: {name}0}}\n"


FILES = {
    "hosts.yaml": "---".join(
        [host("alpha", "192.168.1.1", "a", True), host("bravo", "192.168.2.1", "b", True)]
    ),
    "red.yaml": "---".join(
        [
            tenant("red", 1001),
            existing("big", 21, "alpha"),
            existing("vast", 22, "bravo"),
            endpoint("red", "l2", "left", 12, "bravo"),
            endpoint("red", "l3", "left", 13, "alpha"),
            endpoint("red", "guest", "left", 23, "alpha")
            + f"  mac: {GUEST_MAC}\n  attach: {{tap: {{name: tap-guest}}}}\n",
        ]
    ),
}
ON = {"big": "alpha", "vast": "bravo"}


@pytest.fixture(scope="module", params=MODES)
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """Two hosts whose endpoints `big` and `vast` believe that they have an ordinary network."""
    with temporary_lab() as lab:
        made = Cloud.of(lab, tmp_path_factory.mktemp("sizes"), in_mode(FILES, request.param))
        for name, where in ON.items():
            made.run(where, "ip", "link", "set", f"{name}0", "mtu", "1500")
            made.run(f"red.{name}", "ip", "link", "set", "eth0", "mtu", "1500")
        yield made


def forget(cloud: Cloud, *names: str) -> None:
    """Endpoints know nothing of paths any more."""
    for name in names:
        for family in ("-4", "-6"):
            cloud.run(name, "ip", family, "route", "flush", "cache")


@VERSIONS
@ELSEWHERE
def test_an_endpoint_with_a_larger_mtu_hears_from_its_gateway_what_fits(
    cloud: Cloud, version: int, target: str
) -> None:
    forget(cloud, "red.big")
    size = str(1500 - HEADERS[version])
    done = cloud.run("red.big", "ping", f"-{version}", "-Mdo", "-c2", "-W1", "-s", size, target)
    said = re.search(r"From (\S+) .*mtu[ =:]+(\d+)", done.stdout, re.I)
    assert said, done.stdout
    assert said.groups() == (GATEWAYS[version], str(MTU))
    address = cloud.member(target).address(version)
    assert f"mtu {MTU}" in cloud.run("red.big", "ip", "route", "get", str(address)).stdout
    fits = str(MTU - HEADERS[version])
    assert cloud.ping("red.big", target, f"-{version}", "-Mdo", "-s", fits) == 3


@VERSIONS
def test_what_may_be_fragmented_is_fragmented_by_its_sender_from_then_on(
    cloud: Cloud, version: int
) -> None:
    forget(cloud, "red.big")
    options = (f"-{version}", "-Mdont", "-s", "4000")
    assert cloud.ping("red.big", "red.l2", *options, "-i0.3", count=4) >= 3
    assert cloud.ping("red.l2", "red.big", *options) == 3


@VERSIONS
def test_tcp_between_ends_that_both_expect_too_much_carries_every_byte(
    cloud: Cloud, version: int
) -> None:
    forget(cloud, "red.big", "red.vast")
    before = cloud.reasons("alpha")["answered_too_big"]
    ends = cloud.member("red.big"), cloud.member("red.vast")
    for one, other in (ends, ends[::-1]):
        done = transfer(one.netns, other.netns, other.address(version), 4 << 20)
        assert not done.error
    assert cloud.reasons("alpha")["answered_too_big"] > before


@VERSIONS
@ELSEWHERE
def test_a_large_segment_passes_if_each_of_its_packets_does(
    cloud: Cloud, version: int, target: str
) -> None:
    """Else its sender hears what would. Datagrams, since TCP's are as large as both ends allow."""
    forget(cloud, "red.big")
    family, level, asked = OF_UDP[version]
    one, other = cloud.member("red.big"), cloud.member(target)
    fits, where = MTU - HEADERS[version], (str(other.address(version)), 7001)
    with ExitStack() as opened:
        sender, receiver = (
            opened.enter_context(inside(each.netns, lambda: socket.socket(family, 2)))
            for each in (one, other)
        )
        receiver.settimeout(5)
        receiver.bind(where)
        sender.connect(where)
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, fits + 1)
        sender.send(bytes(4 * (fits + 1)))
        limit = time.monotonic() + 5
        while sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != errno.EMSGSIZE:
            assert time.monotonic() < limit
        assert sender.getsockopt(level, asked) == MTU
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, fits)
        sender.send(bytes(4 * fits))
        assert [len(receiver.recv(9000)) for _ in range(4)] == [fits] * 4


@VERSIONS
def test_a_guest_that_sized_its_own_card_hears_it_through_its_tap(
    cloud: Cloud, version: int
) -> None:
    own, other = {4: ("10.0.1.23", "10.0.1.12"), 6: ("2001:db8:1::23", "2001:db8:1::12")}[version]
    ether = Ether(src=GUEST_MAC, dst=format_mac(ROUTER_MAC))
    packet = (
        IP(src=own, dst=other, flags="DF") if version == 4 else IPv6(src=own, dst=other)
    ) / UDP()
    packet /= Raw(bytes(1500 - len(packet)))
    with opened_tap(cloud.lab.places.host_netns("alpha"), "tap-guest") as tap:
        heard = Ether(asked(tap, bytes(ether / packet), lambda frame: frame[6:12] == ROUTER_MAC))
    assert heard[IP if version == 4 else IPv6].src == GATEWAYS[version]
    said = heard[ICMP].nexthopmtu if version == 4 else heard[ICMPv6PacketTooBig].mtu
    assert said == MTU


@contextmanager
def opened_tap(netns: Path, name: str) -> Iterator[int]:
    """A tap as a virtual machine opens it."""
    request = struct.pack("16sH22x", name.encode(), 0x1002)  # IFF_TAP, IFF_NO_PI
    tap = inside(netns, lambda: os.open("/dev/net/tun", os.O_RDWR))
    try:
        inside(netns, lambda: fcntl.ioctl(tap, 0x400454CA, request))  # TUNSETIFF
        yield tap
    finally:
        os.close(tap)


def asked(tap: int, question: bytes, wanted: Callable[[bytes], bool]) -> bytes:
    """The first frame that is wanted; asked again, since a new carrier's queue opens later."""
    for _ in range(10):
        os.write(tap, question)
        limit = time.monotonic() + 0.5
        while select.select([tap], [], [], max(0, limit - time.monotonic()))[0]:
            frame = os.read(tap, 1 << 16)
            if wanted(frame):
                return frame
    raise AssertionError("the guest hears nothing")


@pytest.mark.parametrize("source", ["red.l3", "red.l2"])
@VERSIONS
def test_fragments_arrive(cloud: Cloud, source: str, version: int) -> None:
    target = {"red.l3": "red.l2", "red.l2": "red.l3"}[source]
    assert cloud.ping(source, target, f"-{version}", "-s", "5000") == 3


# Jumbo frames


@pytest.fixture(scope="module", params=MODES)
def jumbo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """An underlay of 9,000 bytes; the relays are others than the endpoints' hosts."""
    files = {
        "hosts.yaml": RELAYED,
        "red.yaml": "---".join(
            [
                tenant("red", 1001, bouncers=1),
                endpoint("red", "l1", "left", 11, "alpha"),
                endpoint("red", "l2", "left", 12, "bravo"),
                endpoint("red", "l3", "left", 13, "alpha"),
                endpoint("red", "o1", "other", 11, "bravo"),
                endpoint("red", "mute", "other", 12, "bravo"),
            ]
        ),
    }
    with temporary_lab() as lab:
        yield Cloud.of(
            lab, tmp_path_factory.mktemp("jumbo"), in_mode(files, request.param), mtu=9000
        )


PATHS = pytest.mark.parametrize(
    ("source", "target"),
    [("red.l1", "red.l2"), ("red.l2", "red.l1"), ("red.l1", "red.l3"), ("red.l1", "red.o1")],
    ids=["there", "and back", "same host", "another network"],
)


@VERSIONS
@PATHS
def test_the_largest_packet_of_a_jumbo_underlay_arrives(
    jumbo: Cloud, source: str, target: str, version: int
) -> None:
    largest = 9000 - Wire.OVERHEAD - HEADERS[version]
    options = (f"-{version}", "-Mdo", "-s")
    assert jumbo.ping(source, target, *options, str(largest)) == 3
    assert jumbo.ping(source, target, *options, str(largest + 1), count=1) == 0


@VERSIONS
@PATHS
def test_jumbo_tcp_carries_every_byte(jumbo: Cloud, source: str, target: str, version: int) -> None:
    ends = jumbo.member(source), jumbo.member(target)
    done = transfer(ends[0].netns, ends[1].netns, ends[1].address(version), 8 << 20)
    assert not done.error


@VERSIONS
def test_relays_pass_jumbo_frames_on(jumbo: Cloud, version: int) -> None:
    """Nobody learns of an endpoint that never answers, so every packet goes by the relays."""
    family = {4: "net.ipv4.icmp_echo_ignore_all", 6: "net.ipv6.icmp.echo_ignore_all"}[version]
    assert jumbo.run("red.mute", "sysctl", "-w", f"{family}=1").returncode == 0
    before = jumbo.traffic("bravo", "tx")["red/mute"], relayed(jumbo)
    size = str(9000 - Wire.OVERHEAD - HEADERS[version])
    jumbo.ping("red.l1", "red.mute", f"-{version}", "-Mdo", "-s", size, count=5)
    assert jumbo.traffic("bravo", "tx")["red/mute"] - before[0] >= 5
    assert relayed(jumbo) - before[1] >= 5, "how many relays each passes, placement says"


def relayed(cloud: Cloud) -> int:
    """Packets that relays sent on."""
    counted = [cloud.reasons(each) for each in ("relay-a", "relay-b")]
    return sum(n[each] for n in counted for each in ("bounced", "divided", "relayed_divider"))


# Changes


def test_endpoints_follow_the_underlays_mtu_within_a_second(
    jumbo: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    worst = 0.0
    for mtu in (4000, 9000):
        jumbo.run("alpha", "ip", "link", "set", uplink(jumbo, "alpha"), "mtu", str(mtu))
        began = time.monotonic()
        while endpoint_mtu(jumbo, "red.l1") != mtu - Wire.OVERHEAD:
            assert time.monotonic() - began < 10, "the agent does not react"
            time.sleep(0.02)
        worst = max(worst, time.monotonic() - began)
    with capsys.disabled():
        print(f"\n  endpoints follow the underlay's MTU in {worst:.2f} s")
    assert worst < 2, "stated: about a second"


def uplink(cloud: Cloud, name: str) -> str:
    """The interface that a host's default route leaves by."""
    route = cloud.run(name, "ip", "route", "show", "default").stdout.split()
    return route[route.index("dev") + 1]


def endpoint_mtu(cloud: Cloud, name: str) -> int:
    found = re.search(r"mtu (\d+)", cloud.run(name, "ip", "link", "show", "eth0").stdout)
    assert found
    return int(found[1])


# A narrower part of the underlay


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Cloud]:
    """Two hosts on ordinary cables; what lies between them takes 1,400 bytes at most."""
    with temporary_lab() as lab:
        made = Cloud.of(lab, tmp_path, FILES)
        for segment in made.came.layout.segments:
            narrower = ("ip", "link", "set", segment.bridge, "mtu", "1400")
            inside = ("nsenter", f"--net={lab.places.router}", "--", *narrower)
            subprocess.run(inside, check=True)
        yield made


def test_what_a_router_of_the_underlay_says_reaches_the_endpoints(narrow: Cloud) -> None:
    ends = narrow.member("red.l3"), narrow.member("red.l2")
    for version in (4, 6):
        size = str(MTU - HEADERS[version])
        done = narrow.run(
            "red.l3", "ping", f"-{version}", "-Mdo", "-c4", "-i0.3", "-W1", "-s", size, "red.l2"
        )
        said = re.search(r"From (\S+) .*mtu[ =:]+(\d+)", done.stdout, re.I)
        assert said, done.stdout
        assert said.groups() == (GATEWAYS[version], str(1400 - Wire.OVERHEAD))
        for one, other in (ends, ends[::-1]):
            assert not transfer(one.netns, other.netns, other.address(version), 1 << 20).error
