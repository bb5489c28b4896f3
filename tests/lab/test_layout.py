from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.lab.layout import NAME_LIMIT, LabError, Layout, plan_underlay, short_name, subnets
from reconciler.model.topology import Host


def host(name: str, underlay: str, zone: str = "", interface: str = "eth0") -> Host:
    return Host(
        name=name,
        underlay=IPv4Address(underlay),
        interface=interface,
        external_interface=None,
        labels={},
        zone=zone,
        bounce=True,
        divide=True,
        gateway=False,
        cordon=False,
        managed=True,
        weight=1,
        attach_mode="native",
    )


def shape(layout: Layout) -> list[tuple[tuple[str, ...], str]]:
    return [(segment.zones, str(segment.subnet)) for segment in layout.segments]


def test_each_zone_is_a_routed_subnet() -> None:
    layout = plan_underlay([host("w-1", "192.168.2.1", "west"), host("e-1", "192.168.1.1", "east")])
    assert shape(layout) == [(("east",), "192.168.1.0/24"), (("west",), "192.168.2.0/24")]


def test_a_zone_wider_than_24_bits_gets_the_smallest_subnet_that_holds_it() -> None:
    layout = plan_underlay([host("a", "10.0.0.1"), host("b", "10.0.3.1")])
    assert shape(layout) == [(("",), "10.0.0.0/22")]


def test_zones_that_would_share_a_subnet_get_narrower_ones() -> None:
    layout = plan_underlay([host("a", "10.0.0.1", "east"), host("b", "10.0.0.130", "west")])
    assert shape(layout) == [(("east",), "10.0.0.0/30"), (("west",), "10.0.0.128/30")]


def test_zones_whose_addresses_are_mixed_share_one_switch() -> None:
    layout = plan_underlay(
        [
            host("a", "10.0.0.1", "east"),
            host("b", "10.0.0.2", "west"),
            host("c", "10.0.0.3", "east"),
            host("d", "10.9.0.1", "north"),
        ]
    )
    assert shape(layout) == [(("east", "west"), "10.0.0.0/29"), (("north",), "10.9.0.0/30")]


def test_the_router_takes_the_highest_address_that_no_host_has() -> None:
    layout = plan_underlay([host("a", "10.0.0.254"), host("b", "10.0.0.1")])
    assert layout.segments[0].gateway == IPv4Address("10.0.0.253")


def test_a_subnet_has_room_for_the_router() -> None:
    layout = plan_underlay(
        [
            host("a", "10.0.0.1", "east"),
            host("b", "10.0.0.2", "east"),
            host("c", "10.0.0.9", "west"),
        ]
    )
    assert shape(layout)[0] == (("east",), "10.0.0.0/29")


def test_two_hosts_with_one_underlay_address_are_refused_by_name() -> None:
    with pytest.raises(LabError, match=r"edge-1 and edge-2 share underlay 10\.0\.0\.1"):
        plan_underlay([host("edge-2", "10.0.0.1"), host("edge-1", "10.0.0.1")])


def test_a_repository_without_hosts_is_refused() -> None:
    with pytest.raises(LabError, match="no Host"):
        plan_underlay([])


def test_long_and_unusual_names_become_distinct_interface_names() -> None:
    names = ["a" * 63, "a" * 62 + "b", "straße-1", "with/slash", "edge-1"]
    short = [short_name("h.", name) for name in names]
    assert len(set(short)) == len(names)
    assert all(len(each.encode()) <= NAME_LIMIT and "/" not in each for each in short)
    assert short[-1] == "h.edge-1"


addresses = st.integers(1, 0xFFFFFFFE).map(IPv4Address)
zones = st.dictionaries(
    st.sampled_from("abcde"), st.lists(addresses, min_size=1, max_size=4, unique=True), min_size=1
)


@given(zones)
def test_subnets_never_overlap_and_hold_every_host_of_their_zones(
    wanted: dict[str, list[IPv4Address]],
) -> None:
    found = subnets(wanted)
    assert sorted(zone for names, _ in found for zone in names) == sorted(wanted)
    for position, (names, subnet) in enumerate(found):
        edges = {subnet.network_address, subnet.broadcast_address}
        for zone in names:
            assert all(each in subnet and each not in edges for each in wanted[zone])
        assert not any(subnet.overlaps(other) for _, other in found[position + 1 :])


def test_the_layout_does_not_depend_on_the_order_of_the_hosts() -> None:
    hosts = [host(f"h-{n}", f"10.{n % 3}.0.{n}", f"zone-{n % 3}") for n in range(1, 12)]
    assert plan_underlay(hosts) == plan_underlay(hosts[::-1])
    assert IPv4Network("10.1.0.0/24") in {each.subnet for each in plan_underlay(hosts).segments}
