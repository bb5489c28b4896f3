"""A host that is an endpoint itself: its own processes speak in the VPC, beside the underlay."""

from collections.abc import Iterator

import pytest

from reconciler.lab.transfer import transfer
from tests.netns.conftest import MODES, Cloud, endpoint, host, in_mode, temporary_lab, tenant

SELF = endpoint("red", "box", "left", 21, "alpha").rstrip() + "\n  attach: {host: true}\n"
FILES = {
    "hosts.yaml": "---".join(
        [host("alpha", "192.168.1.1", "a", True), host("bravo", "192.168.2.1", "b", True)]
    ),
    "red.yaml": "---".join(
        [
            tenant("red", 1001),
            SELF,
            endpoint("red", "l1", "left", 11, "alpha"),
            endpoint("red", "o1", "other", 11, "bravo"),
        ]
    ),
}


@pytest.fixture(scope="module", params=MODES)
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("host"), in_mode(FILES, request.param))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", ["red.l1", "red.o1"])
def test_a_host_and_endpoints_ping_each_other(cloud: Cloud, name: str, version: int) -> None:
    box, other = cloud.member("red.box"), cloud.member(name)
    assert box.netns == cloud.member("alpha").netns
    assert cloud.ping("red.box", str(other.address(version))) == 3
    assert cloud.ping(name, str(box.address(version))) == 3


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", ["red.l1", "red.o1"])
def test_a_host_and_endpoints_exchange_tcp(cloud: Cloud, name: str, version: int) -> None:
    box, other = cloud.member("red.box"), cloud.member(name)
    there = transfer(box.netns, other.netns, other.address(version), 1 << 19)
    back = transfer(other.netns, box.netns, box.address(version), 1 << 19)
    assert (there.error, back.error) == ("", "")


def test_the_host_keeps_its_underlay_and_speaks_there_as_itself(cloud: Cloud) -> None:
    assert cloud.ping("alpha", "192.168.2.1") == 3
    route = cloud.run("alpha", "ip", "-o", "route", "get", "192.168.2.1").stdout
    assert "src 192.168.1.1" in route
    route = cloud.run("alpha", "ip", "-o", "route", "get", "10.0.2.11").stdout
    assert "src 10.0.1.21" in route
