"""How programs are attached: as the Host manifest says, and said aloud where it cannot be so."""

import re
from collections.abc import Iterator

import pytest

from reconciler.agent import client
from reconciler.lab.transfer import transfer
from tests.netns.conftest import Cloud, endpoint, host, temporary_lab, tenant


def hosts(alpha: str, bravo: str) -> str:
    modes = {"alpha": alpha, "bravo": bravo}
    both = [("alpha", "192.168.1.1", "a"), ("bravo", "192.168.2.1", "b")]
    return "---".join(
        host(name, underlay, zone, True).rstrip().removesuffix("}")
        + f", attachMode: {modes[name]}}}\n"
        for name, underlay, zone in both
    )


RED = "---".join(
    [
        tenant("red", 1001),
        endpoint("red", "l1", "left", 11, "alpha"),
        endpoint("red", "l2", "left", 12, "bravo"),
    ]
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    files = {"hosts.yaml": hosts("generic", "offload"), "red.yaml": RED}
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("modes"), files)


def attached(cloud: Cloud, name: str) -> set[str]:
    """The modes in which programs run on a host, as iproute2 calls them."""
    shown = cloud.run(name, "ip", "-o", "link").stdout
    return set(re.findall(r"mtu \d+ (xdp\w*) ", shown))


def fallbacks(cloud: Cloud, name: str) -> list[str]:
    return list(client.status(cloud.lab.places.host_run(name))["traffic"]["fallbacks"])


def works(cloud: Cloud) -> None:
    ends = cloud.member("red.l1"), cloud.member("red.l2")
    for one, other in (ends, ends[::-1]):
        for version in (4, 6):
            assert not transfer(one.netns, other.netns, other.address(version), 1 << 19).error


def test_generic_mode_is_as_good_as_native_but_for_speed(cloud: Cloud) -> None:
    assert attached(cloud, "alpha") == {"xdpgeneric"}
    assert fallbacks(cloud, "alpha") == []
    works(cloud)


def test_what_cannot_be_offloaded_runs_in_native_mode_and_status_says_so(cloud: Cloud) -> None:
    assert attached(cloud, "bravo") == {"xdp"}
    (said,) = fallbacks(cloud, "bravo")
    assert re.match(r"\S+ runs in native mode: offload is refused \(.+\)$", said), said


def test_another_mode_is_a_commit_away_and_back(cloud: Cloud) -> None:
    cloud.push({"hosts.yaml": hosts("native", "native")})
    assert (attached(cloud, "alpha"), attached(cloud, "bravo")) == ({"xdp"}, {"xdp"})
    assert fallbacks(cloud, "bravo") == []
    works(cloud)
    cloud.push({"hosts.yaml": hosts("generic", "offload")})
    assert attached(cloud, "alpha") == {"xdpgeneric"}
    works(cloud)
