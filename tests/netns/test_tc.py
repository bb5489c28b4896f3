"""Hosts in attach mode tc, among themselves and with one of XDP: the same network, real packets."""

import re
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from reconciler.datapath.netlink import inside
from reconciler.lab.transfer import transfer
from reconciler.model.mac import ROUTER_MAC, format_mac
from tests.netns.conftest import Cloud, endpoint, host, temporary_lab, tenant

SIZE = 1 << 22


def of_mode(name: str, underlay: str, zone: str, role: bool, mode: str) -> str:
    text = host(name, underlay, zone, role).rstrip().removesuffix("}")
    return f"{text}, attachMode: {mode}}}\n"


def hosts(alpha: str = "tc", charlie: str = "native") -> str:
    """charlie alone bounces and divides, so that packets between networks take it first."""
    return "---".join(
        [
            of_mode("alpha", "192.168.1.1", "a", False, alpha),
            of_mode("bravo", "192.168.2.1", "b", False, "tc"),
            of_mode("charlie", "192.168.3.1", "c", True, charlie),
        ]
    )


RED = "---".join(
    [
        tenant("red", 1001, bouncers=1),
        endpoint("red", "l1", "left", 11, "alpha"),
        endpoint("red", "l2", "left", 12, "bravo"),
        endpoint("red", "l3", "left", 13, "alpha"),
        endpoint("red", "o1", "other", 11, "bravo"),
        endpoint("red", "o2", "other", 12, "charlie"),
    ]
)
BLUE = "---".join(
    [
        tenant("blue", 1002, bouncers=1),
        endpoint("blue", "l1", "left", 11, "bravo"),
        endpoint("blue", "l9", "left", 19, "alpha"),
    ]
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    files = {"hosts.yaml": hosts(), "red.yaml": RED, "blue.yaml": BLUE}
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("tc"), files)


def moved(cloud: Cloud, one: str, other: str) -> None:
    """A transfer over TCP each way, in both families, arrives as it was sent."""
    ends = cloud.member(one), cloud.member(other)
    for source, target in (ends, ends[::-1]):
        for version in (4, 6):
            got = transfer(source.netns, target.netns, target.address(version), SIZE)
            assert not got.error, (source, target, version, got.error)


def attached(cloud: Cloud, name: str) -> set[str]:
    shown = cloud.run(name, "ip", "-o", "link").stdout
    return set(re.findall(r"mtu \d+ (xdp\w*) ", shown))


def test_nothing_of_xdp_is_attached(cloud: Cloud) -> None:
    assert attached(cloud, "alpha") == set()
    assert attached(cloud, "charlie") == {"xdp"}


def test_tenants_stay_apart(cloud: Cloud) -> None:
    """Both VPCs have the address, and one of them has the other."""
    assert cloud.ping("blue.l9", "10.0.1.11") == 3
    assert cloud.ping("blue.l9", "10.0.1.12") == 0


@pytest.mark.parametrize("target", ["red.l2", "red.l3", "red.o1", "red.o2"])
def test_everybody_is_reached(cloud: Cloud, target: str) -> None:
    for version in ("-4", "-6"):
        assert cloud.ping("red.l1", target, version) == 3


@pytest.mark.parametrize(
    ("one", "other"), [("red.l1", "red.l2"), ("red.l1", "red.l3"), ("red.l1", "red.o2")]
)
def test_tcp_has_right_checksums(cloud: Cloud, one: str, other: str) -> None:
    moved(cloud, one, other)


@pytest.mark.parametrize("target", ["red.l2", "red.l3"], ids=["elsewhere", "same host"])
def test_large_segments_stay_whole(cloud: Cloud, target: str) -> None:
    one, other = cloud.member("red.l1"), cloud.member(target)
    before = cloud.traffic("alpha", "rx")["red/l1"]
    assert not transfer(one.netns, other.netns, other.address(4), SIZE).error
    sent = cloud.traffic("alpha", "rx")["red/l1"] - before
    assert sent < SIZE / 1438 / 4, "each is counted as one packet"


@pytest.mark.parametrize("target", ["red.l2", "red.o2"], ids=["tc", "XDP"])
def test_a_tunnel_within_the_tunnel_works(cloud: Cloud, target: str) -> None:
    """Of an endpoint's own, whose kernel has to cut its segments before they get here."""
    ends = {"red.l1": target, target: "red.l1"}
    try:
        for number, (name, far) in enumerate(ends.items(), start=1):
            own, there = (str(cloud.member(each).address(4)) for each in (name, far))
            made = ("type", "vxlan", "id", "9", "local", own, "remote", there, "dstport", "4789")
            for words in (
                ("ip", "link", "add", "vx9", *made),
                ("ip", "addr", "add", f"192.168.99.{number}/24", "dev", "vx9"),
                ("ip", "link", "set", "vx9", "mtu", "1388", "up"),
            ):
                done = cloud.run(name, *words)
                assert not done.returncode, done.stderr
        one, other = cloud.member("red.l1"), cloud.member(target)
        assert not transfer(one.netns, other.netns, ip_address("192.168.99.2"), SIZE).error
    finally:
        for name in ends:
            cloud.run(name, "ip", "link", "del", "vx9")


def test_a_tagged_frame_goes_nowhere(cloud: Cloud) -> None:
    """The kernel takes the tag off before tc sees the frame."""
    member, target = cloud.member("red.l1"), cloud.member("red.l2")
    before = cloud.reasons("alpha")["drop_not_ip"]
    packet = IP(src=str(member.address(4)), dst=str(target.address(4))) / UDP(dport=9)

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as opened:
            opened.bind(("eth0", 0))
            own = opened.getsockname()[4].hex(":")
            opened.send(bytes(Ether(src=own, dst=format_mac(ROUTER_MAC)) / Dot1Q(vlan=5) / packet))

    inside(member.netns, send)
    assert cloud.reasons("alpha")["drop_not_ip"] == before + 1


def test_the_stack_gets_what_is_not_ours(cloud: Cloud) -> None:
    """Also Geneve that is somebody else's: the host answers that nobody listens there."""
    before = cloud.reasons("alpha")["passed"]
    assert cloud.ping("bravo", str(cloud.member("alpha").address(4))) == 3
    words = "import socket; s = socket.socket(2, 2); s.connect((%r, 6081)); s.send(%r); s.recv(9)"
    geneve = bytes.fromhex("0000655800002a00") + bytes(40)
    target = str(cloud.member("alpha").address(4))
    done = cloud.run("bravo", "python3", "-c", words % (target, geneve))
    assert "ConnectionRefusedError" in done.stderr
    assert cloud.reasons("alpha")["passed"] > before


def test_another_mode_is_a_commit_away_and_back(cloud: Cloud) -> None:
    cloud.push({"hosts.yaml": hosts(alpha="native", charlie="tc")})
    assert (attached(cloud, "alpha"), attached(cloud, "charlie")) == ({"xdp"}, set())
    moved(cloud, "red.l1", "red.l2")
    moved(cloud, "red.l1", "red.o2")
    cloud.push({"hosts.yaml": hosts()})
    assert (attached(cloud, "alpha"), attached(cloud, "charlie")) == (set(), {"xdp"})
    moved(cloud, "red.l1", "red.l2")
    moved(cloud, "red.l1", "red.o2")
