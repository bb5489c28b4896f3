"""What an endpoint's interface looks like, for every way to attach one."""

import pytest

from reconciler.compile.host import compile_host
from reconciler.compile.state import HostName, Interface, InterfaceKind, Route
from reconciler.model.names import interface_name, network_number
from tests.compile.topologies import built, document, host

ADDRESSES = ["10.1.0.11", "2001:db8:1::11"]


def interface(addresses: list[str], **spec: object) -> Interface:
    """Of an endpoint in a network of three CIDRs, in a VPC of four."""
    vpc = {"vni": 7, "cidrs": ["10.0.0.0/8", "192.168.1.0/24", "2001:db8::/32", "fd00::/64"]}
    cidrs = ["10.1.0.0/24", "192.168.1.0/24", "2001:db8:1::/64"]
    where = {"network": "web", "host": "h0000", "addresses": addresses}
    topology = built(
        [
            host(0),
            document("VPC", "shop", "shop", vpc),
            document("Network", "shop", "web", {"vpc": "shop", "cidrs": cidrs}),
            document("Endpoint", "shop", "web-1", {**where, **spec}),
        ]
    )
    (found,) = compile_host(topology, HostName("h0000")).interfaces
    return found


def test_a_veth_leads_into_a_namespace_with_default_routes() -> None:
    assert interface(ADDRESSES) == Interface(
        name=interface_name("shop/web-1"),
        endpoint="shop/web-1",
        kind=InterfaceKind.VETH,
        vni=7,
        network=network_number("shop/web"),
        netns="shop.web-1",
        peer="eth0",
        mac="02:07:0a:01:00:0b",
        mtu=0,
        addresses=("10.1.0.11/24", "2001:db8:1::11/64"),
        routes=(Route("default", "10.1.0.1"), Route("default", "2001:db8:1::1")),
    )


def test_names_of_namespace_and_interface_are_taken_over() -> None:
    found = interface(["10.1.0.11"], attach={"veth": {"netns": "x", "interface": "net1"}})
    assert (found.netns, found.peer) == ("x", "net1")


def test_two_addresses_of_one_family_share_the_first_ones_default_route() -> None:
    found = interface(["192.168.1.9", "10.1.0.11"])
    assert found.addresses == ("10.1.0.11/24", "192.168.1.9/24")
    assert found.routes == (Route("default", "192.168.1.1"),)


def test_a_host_that_is_an_endpoint_has_routes_to_the_vpc_and_nowhere_else() -> None:
    found = interface(ADDRESSES, attach={"host": True})
    assert (found.kind, found.netns) == (InterfaceKind.VETH, "")
    assert found.peer.startswith("rp")
    assert found.peer != found.name
    assert found.routes == (
        Route("10.0.0.0/8", "10.1.0.1"),
        Route("192.168.1.0/24", "10.1.0.1"),
        Route("2001:db8::/32", "2001:db8:1::1"),
        Route("fd00::/64", "2001:db8:1::1"),
    )


def test_a_cidr_that_the_address_itself_reaches_needs_no_route() -> None:
    found = interface(["192.168.1.9"], attach={"host": True})
    assert found.routes == (Route("10.0.0.0/8", "192.168.1.1"),)


def test_an_existing_interface_is_only_named() -> None:
    assert interface(ADDRESSES, attach={"interface": "tap0"}) == Interface(
        "tap0", "shop/web-1", InterfaceKind.EXISTING, 7, network_number("shop/web")
    )


@pytest.mark.parametrize(
    ("attach", "name"), [({"name": "tap0"}, "tap0"), ({}, interface_name("shop/web-1"))]
)
def test_of_a_tap_all_but_its_name_is_the_guests_business(
    attach: dict[str, object], name: str
) -> None:
    assert interface(ADDRESSES, attach={"tap": attach}) == Interface(
        name, "shop/web-1", InterfaceKind.TAP, 7, network_number("shop/web")
    )


@pytest.mark.parametrize("attach", [{"veth": {}}, {"host": True}])
def test_names_fit_the_kernel(attach: dict[str, object]) -> None:
    found = interface(["10.1.0.11"], attach=attach)
    assert max(len(found.name), len(found.peer)) <= 15
