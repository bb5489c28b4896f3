from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from reconciler.lab.directory import Directory, Member
from reconciler.lab.layout import LabError

NETNS = Path("/run/netns")
HOSTS = (Member("edge-1", "edge-1", NETNS / "lab:edge-1", (IPv4Address("192.0.2.1"),)),)
ENDPOINTS = (
    Member(
        "shop/db-1",
        "edge-1",
        NETNS / "shop.db-1",
        (IPv4Address("10.0.0.2"), IPv6Address("2001:db8::2")),
        7,
        "shop/shop",
    ),
    Member("shop/db-10", "edge-1", NETNS / "shop.db-10", (IPv6Address("2001:db8::10"),), 7),
)
DIRECTORY = Directory("0" * 40, NETNS / "lab::underlay", HOSTS, ENDPOINTS)


@pytest.mark.parametrize("name", ["shop.db-1", "shop/db-1"])
def test_an_endpoint_is_found_by_both_spellings(name: str) -> None:
    assert DIRECTORY.find(name) is ENDPOINTS[0]


def test_a_host_is_found_by_its_name() -> None:
    assert DIRECTORY.find("edge-1") is HOSTS[0]


def test_the_underlay_is_found_by_its_own() -> None:
    assert DIRECTORY.find("underlay").netns == NETNS / "lab::underlay"


def test_an_unknown_name_is_refused_with_what_is_near() -> None:
    with pytest.raises(
        LabError, match=r"no host or endpoint is called db-1; did you mean shop\.db"
    ):
        DIRECTORY.find("db-1")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("ping shop.db-1", "ping 10.0.0.2"),
        ("ping shop/db-1", "ping 10.0.0.2"),
        ("ping -6 shop.db-1", "ping -6 2001:db8::2"),
        ("ping6 shop.db-1", "ping6 2001:db8::2"),
        ("ping shop.db-10", "ping 2001:db8::10"),
        ("ssh root@edge-1", "ssh root@192.0.2.1"),
        ("ping edge-1", "ping 192.0.2.1"),
        ("curl http://shop.db-1:80/x", "curl http://10.0.0.2:80/x"),
        ("curl http://shop.db-10:80/x", "curl http://[2001:db8::10]:80/x"),
        ("curl -6 shop.db-1:80", "curl -6 [2001:db8::2]:80"),
        ("nc shop.db-1 80", "nc 10.0.0.2 80"),
        ("echo shop.db-1.example", "echo shop.db-1.example"),
        ("echo shop.db-100", "echo shop.db-100"),
        ("cat manifests/shop/db-1", "cat manifests/shop/db-1"),
        ("echo myshop.db-1", "echo myshop.db-1"),
        ("echo the-edge-1", "echo the-edge-1"),
        ("shop.db-1 first", "shop.db-1 first"),
    ],
)
def test_names_in_a_command_become_addresses(given: str, wanted: str) -> None:
    assert DIRECTORY.resolve(given.split()) == wanted.split()


def test_names_within_a_script_become_addresses() -> None:
    script = "for i in 1 2; do ping -c1 shop.db-1; done"
    assert DIRECTORY.resolve(["sh", "-c", script])[2] == script.replace("shop.db-1", "10.0.0.2")


def test_ipv6_can_be_asked_for() -> None:
    assert DIRECTORY.resolve(["nc", "shop.db-1"], six=True) == ["nc", "2001:db8::2"]


def test_an_endpoint_without_the_family_asked_for_is_refused() -> None:
    with pytest.raises(LabError, match="edge-1 has no IPv6 address"):
        HOSTS[0].address(6)
    assert DIRECTORY.resolve([]) == []


def test_a_directory_is_read_as_it_was_written() -> None:
    assert Directory.load(DIRECTORY.dump()) == DIRECTORY
