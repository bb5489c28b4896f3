"""The host's own business on the underlay: what is not ours reaches its stack untouched."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.abi.generated import Wire
from reconciler.datapath.netlink import inside
from tests.netns.conftest import Cloud, endpoint, host, temporary_lab, tenant

ALPHA, NEAR, FAR, SECOND = "192.168.1.1", "192.168.1.2", "192.168.2.1", "192.168.1.77"
GENEVE = struct.pack("!BBHI", 0, 0, 0x6558, 1001 << 8) + bytes(60)  # plain, with a VNI of ours
ETH_P_ALL = 3
FILES = {
    "hosts.yaml": "---".join(
        [
            host("alpha", ALPHA, "a", True),
            host("near", NEAR, "a", True),
            host("far", FAR, "b", False),
        ]
    ),
    "red.yaml": "---".join(
        [
            tenant("red", 1001),
            endpoint("red", "l1", "left", 11, "alpha"),
            endpoint("red", "l2", "left", 12, "far"),
        ]
    ),
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A host, one on the same segment, and one behind a router; alpha has a second address."""
    with temporary_lab() as lab:
        made = Cloud.of(lab, tmp_path_factory.mktemp("stack"), FILES)
        made.run("alpha", "ip", "addr", "add", f"{SECOND}/24", "dev", uplink(made, "alpha"))
        yield made


def uplink(cloud: Cloud, name: str) -> str:
    """The interface that a host's default route leaves by."""
    route = cloud.run(name, "ip", "route", "show", "default").stdout.split()
    return route[route.index("dev") + 1]


@contextmanager
def opened(netns: Path, make: Callable[[], socket.socket]) -> Iterator[socket.socket]:
    """A socket of a namespace, with patience."""
    made = inside(netns, make)
    made.settimeout(3)
    with made:
        yield made


def udp(address: str = "", port: int = 0) -> Callable[[], socket.socket]:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.bind((address, port))
        return made

    return make


@pytest.mark.parametrize("sender", ["near", "far"])
@pytest.mark.parametrize(
    ("address", "port", "what"),
    [
        (ALPHA, Wire.PORT, GENEVE),
        (ALPHA, Wire.PORT, b"no Geneve at all"),
        (SECOND, Wire.PORT, GENEVE),
        (ALPHA, 4789, GENEVE),
        (ALPHA, 53, b"a question"),
    ],
    ids=["others' Geneve", "junk", "second address", "VXLAN", "DNS"],
)
def test_other_udp_reaches_the_stack(
    cloud: Cloud, sender: str, address: str, port: int, what: bytes
) -> None:
    alpha, other = cloud.member("alpha").netns, cloud.member(sender).netns
    with opened(alpha, udp(address, port)) as here, opened(other, udp()) as there:
        there.sendto(what, (address, port))
        assert here.recv(2048) == what


@pytest.mark.parametrize("address", ["192.168.1.255", "255.255.255.255"])
@pytest.mark.parametrize("port", [68, Wire.PORT], ids=["DHCP", "Geneve's port"])
def test_broadcasts_reach_the_stack(cloud: Cloud, address: str, port: int) -> None:
    """An offer of DHCP among them."""
    alpha, near = cloud.member("alpha").netns, cloud.member("near").netns
    with opened(alpha, udp("", port)) as here, opened(near, udp(NEAR, 67)) as there:
        there.sendto(GENEVE, (address, port))
        assert here.recv(2048) == GENEVE


@pytest.mark.parametrize("tag", [b"\x81\x00\x00\x05", b"\x88\xa8\x00\x05\x81\x00\x00\x06"])
def test_tagged_frames_reach_the_stack(cloud: Cloud, tag: bytes) -> None:
    """Whatever is in them: here a packet of the tunnel, as it is without tags."""
    alpha, near = cloud.member("alpha"), cloud.member("near")
    body = bytes(20) + struct.pack("!HHHH", 50000, Wire.PORT, 8 + len(GENEVE), 0) + GENEVE
    devices = {each.name: uplink(cloud, each.name) for each in (alpha, near)}

    def packets(name: str) -> Callable[[], socket.socket]:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            made.bind((devices[name], ETH_P_ALL))
            made.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA: a tag that the kernel took off
            return made

        return make

    with (
        opened(alpha.netns, packets("alpha")) as here,
        opened(near.netns, packets("near")) as there,
    ):
        mac = here.getsockname()[4]
        there.send(mac + there.getsockname()[4] + tag + b"\x08\x00" + body)
        while True:
            frame, auxiliary, _, _ = here.recvmsg(2048, 256)
            if frame.endswith(GENEVE):
                break
    taken = any(kind == 8 and data[16:18] != b"\0\0" for _, kind, data in auxiliary)
    assert tag[-2:] in frame or taken


def test_an_endpoints_traffic_goes_on_beside_all_that(cloud: Cloud) -> None:
    assert cloud.ping("red.l1", "red.l2") == 3
