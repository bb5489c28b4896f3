"""What endpoints see of each other, of their gateways and of the underlay."""

import re
import time

import pytest

from reconciler.abi.generated import Wire
from reconciler.lab import reach
from reconciler.lab.transfer import transfer
from tests.netns.conftest import Cloud

MTU = 1500 - Wire.OVERHEAD
SIZES = {4: MTU - 28, 6: MTU - 48}  # of ping's payload that fill a packet: IP and ICMP headers less


def test_endpoints_reach_their_own_vpc_and_no_other_of_the_same_addresses(cloud: Cloud) -> None:
    members = [each for each in cloud.came.directory.endpoints if each.vpc != "quiet/quiet"]
    claims = reach.check(members)
    wrong = [
        f"{each.source.name} {each.target.name} {each.address}" for each in claims if not each.holds
    ]
    assert not wrong
    # Both families, both verdicts and both networks were asked.
    asked = {(each.expected, each.address.version, each.target.name) for each in claims}
    for version in (4, 6):
        assert (True, version, "red/o1") in asked
        assert (False, version, "blue/l2") in asked


@pytest.mark.parametrize("gateway", ["10.0.1.1", "2001:db8:1::1"])
def test_the_gateway_answers_ping(cloud: Cloud, gateway: str) -> None:
    assert cloud.ping("red.l1", gateway) == 3


def test_the_gateway_of_another_network_answers_ping(cloud: Cloud) -> None:
    assert cloud.ping("red.o1", "10.0.2.1") == 3


def test_an_address_that_nobody_has_is_not_answered(cloud: Cloud) -> None:
    assert cloud.ping("red.l1", "10.0.1.99", count=1) == 0
    assert cloud.ping("red.l1", "10.0.9.9", count=1) == 0


def test_arp_is_answered_locally_with_the_routers_mac(cloud: Cloud) -> None:
    macs = set()
    for address in ("10.0.1.1", "10.0.1.12"):  # the gateway, and an endpoint on another host
        done = cloud.run("red.l1", "arping", "-c1", "-w2", "-i", "eth0", address)
        macs |= set(re.findall(r"\[?((?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})\]?", done.stdout))
        assert "1 packets received" in done.stdout
    assert len(macs) == 1
    assert cloud.reasons("alpha")["answered"] > 0


def test_neighbours_are_answered_locally_with_the_routers_mac(cloud: Cloud) -> None:
    macs = set()
    for address in ("2001:db8:1::1", "2001:db8:1::12"):
        done = cloud.run("red.l1", "ndisc6", "-1", "-r1", address, "eth0")
        macs |= set(re.findall(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}", done.stdout))
    assert len(macs) == 1


def test_nobody_claims_an_endpoints_own_ipv4_address(cloud: Cloud) -> None:
    done = cloud.run("red.l1", "arping", "-0", "-c2", "-w2", "-i", "eth0", "10.0.1.11")
    assert "0 packets received" in done.stdout


def test_duplicate_address_detection_ends_well_for_an_endpoints_own_address(cloud: Cloud) -> None:
    address = "2001:db8:1::13"
    for verb in ("del", "add"):  # added as people do it, so that the kernel looks for duplicates
        cloud.run("red.l3", "ip", "addr", verb, f"{address}/64", "dev", "eth0")
    show = ("ip", "-6", "addr", "show", "dev", "eth0", "to", address)
    limit = time.monotonic() + 10
    while "tentative" in (shown := cloud.run("red.l3", *show).stdout) and time.monotonic() < limit:
        time.sleep(0.1)
    assert address in shown
    assert "tentative" not in shown
    assert "dadfailed" not in shown
    assert cloud.ping("red.l3", "2001:db8:1::12", "-I", address) == 3


@pytest.mark.parametrize(
    ("source", "target"), [("red.l1", "red.l2"), ("red.l2", "red.l1"), ("red.o1", "red.l1")]
)
@pytest.mark.parametrize("version", [4, 6])
def test_packets_as_large_as_the_mtu_arrive(
    cloud: Cloud, source: str, target: str, version: int
) -> None:
    options = (f"-{version}", "-M", "do", "-s", str(SIZES[version]))
    assert cloud.ping(source, target, *options) == 3


@pytest.mark.parametrize("version", [4, 6])
def test_a_larger_packet_is_refused_where_it_is_sent(cloud: Cloud, version: int) -> None:
    options = (f"-{version}", "-M", "do", "-s", str(SIZES[version] + 1))
    assert cloud.ping("red.l1", "red.l2", *options, count=1) == 0


@pytest.mark.parametrize(
    ("source", "target"),
    [("red.l1", "red.l2"), ("red.l1", "red.l3"), ("red.l1", "red.o1"), ("red.l1", "red.o2")],
    ids=["another host", "same host", "another network", "another network, same host"],
)
@pytest.mark.parametrize("version", [4, 6])
def test_tcp_carries_every_byte(cloud: Cloud, source: str, target: str, version: int) -> None:
    ends = cloud.member(source), cloud.member(target)
    done = transfer(ends[0].netns, ends[1].netns, ends[1].address(version), 4 << 20)
    assert not done.error


def test_hosts_still_speak_to_each_other(cloud: Cloud) -> None:
    """The underlay's own traffic, past the program that looks at all of it."""
    ends = cloud.member("alpha"), cloud.member("bravo")
    assert cloud.ping("alpha", "bravo") == 3
    assert not transfer(ends[0].netns, ends[1].netns, ends[1].address(), 4 << 20).error


def test_packets_are_counted_by_endpoint(cloud: Cloud) -> None:
    before = [
        cloud.traffic("alpha", "rx")["red/l3"],
        cloud.traffic("alpha", "tx")["red/l3"],
        cloud.traffic("bravo", "tx")["red/l2"],
    ]
    assert cloud.ping("red.l3", "red.l2", count=10) == 10
    after = [
        cloud.traffic("alpha", "rx")["red/l3"],
        cloud.traffic("alpha", "tx")["red/l3"],
        cloud.traffic("bravo", "tx")["red/l2"],
    ]
    assert all(new - old >= 10 for old, new in zip(before, after, strict=True))


def test_a_packet_from_an_address_that_is_not_the_endpoints_is_dropped_and_counted(
    cloud: Cloud,
) -> None:
    before = cloud.reasons("alpha")["drop_spoofed_address"]
    cloud.run("red.o2", "ip", "addr", "add", "10.0.2.77/32", "dev", "lo")
    try:
        assert cloud.ping("red.o2", "red.l2", "-I", "10.0.2.77", count=2) == 0
    finally:
        cloud.run("red.o2", "ip", "addr", "del", "10.0.2.77/32", "dev", "lo")
    assert cloud.reasons("alpha")["drop_spoofed_address"] - before >= 2
