"""The vectorised parts agree with the obvious way to say the same."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.mac import ROUTER_MAC, derive_macs, format_mac, parse_mac
from reconciler.model.names import identity, interface_name, network_number, peer_name
from reconciler.model.ranges import first_usable, overlaps, reserved
from reconciler.model.repeats import repeats
from reconciler.model.subnets import Subnets, free_addresses, words
from reconciler.model.topology import Address, Cidr, Network, Placement, packed, unpacked

ADDRESSES = st.one_of(
    st.integers(0, 300).map(lambda n: IPv4Address(0x0A000000 + n)),
    st.integers(0, 300).map(lambda n: IPv6Address((0x20010DB8 << 96) + n)),
    st.ip_addresses(),
)


@st.composite
def cidrs(draw: st.DrawFn) -> Cidr:
    """Small ranges that often touch or overlap."""
    if draw(st.booleans()):
        length = draw(st.integers(24, 31))
        return ip_network((0x0A000000 + draw(st.integers(0, 255)), length), strict=False)
    length = draw(st.integers(120, 127))
    return IPv6Network(((0x20010DB8 << 96) + draw(st.integers(0, 255)), length), strict=False)


def network(*ranges: Cidr) -> Network:
    gateways = tuple(first_usable(each) or each[0] for each in ranges)
    return Network("shop", "web", 0, 1, ranges, gateways, Placement())


@given(st.lists(cidrs(), max_size=12))
def test_overlaps_are_found_where_any_two_overlap(ranges: list[Cidr]) -> None:
    found = list(overlaps((cidr, i) for i, cidr in enumerate(ranges)))
    for inner, outer in found:
        assert inner != outer
        assert ranges[inner].overlaps(ranges[outer])
    left = [cidr for i, cidr in enumerate(ranges) if i not in {inner for inner, _ in found}]
    assert not any(a.overlaps(b) for i, a in enumerate(left) for b in left[i + 1 :])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_repeats_name_the_first_of_each(rows: list[tuple[int, int]]) -> None:
    expected = {(i, rows.index(row)) for i, row in enumerate(rows) if rows.index(row) != i}
    pair = np.array(rows, np.int64).reshape(-1, 2)
    assert set(repeats((pair[:, 0], pair[:, 1]))) == expected


@given(st.lists(cidrs(), min_size=1, max_size=5), st.lists(ADDRESSES, max_size=20))
def test_addresses_are_placed_as_the_standard_library_places_them(
    ranges: list[Cidr], addresses: list[Address]
) -> None:
    networks = [network(*ranges), network(ip_network("192.0.2.0/24"))]
    octets = np.frombuffer(b"".join(map(packed, addresses)), np.uint8).reshape(-1, 16)
    zero = np.zeros(len(addresses), np.int32)
    subnets, address = Subnets.of(networks, [True, True]), words(octets)
    place = subnets.around(zero, address)
    for number, each in zip(place.tolist(), addresses, strict=True):
        inside = [i for i, cidr in enumerate(ranges) if each in cidr]
        assert number == (inside[0] if inside else -1)
    held = place >= 0
    taken = subnets.taken(zero[held], place[held], address[held])
    for each, number, refused in zip(
        np.array(addresses, object)[held], place[held].tolist(), taken.tolist(), strict=True
    ):
        gateway = networks[0].gateways[number]
        assert refused == (each == gateway or bool(reserved(ranges[number], each)))


@given(ADDRESSES)
def test_an_address_comes_back_from_its_sixteen_bytes(address: Address) -> None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return
    assert unpacked(packed(address)) == address


def test_free_addresses_are_neither_used_nor_reserved_nor_the_gateway() -> None:
    small = network(ip_network("10.0.0.0/29"))
    used: set[Address] = {IPv4Address("10.0.0.3")}
    free = [str(each) for each in free_addresses(small, 4, used)]
    assert free == ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    assert list(free_addresses(small, 6, used)) == []


@given(st.lists(st.tuples(st.integers(1, 3), ADDRESSES), min_size=1, unique=True))
def test_derived_macs_are_local_unicast_and_differ_within_a_vpc(
    pairs: list[tuple[int, Address]],
) -> None:
    vnis = np.array([vni for vni, _ in pairs], np.uint32)
    octets = np.frombuffer(b"".join(packed(each) for _, each in pairs), np.uint8).reshape(-1, 16)
    macs = [each.tobytes() for each in derive_macs(vnis, octets)]
    assert all(mac[0] & 3 == 2 and mac != ROUTER_MAC for mac in macs)
    seen = {(vni, mac) for (vni, _), mac in zip(pairs, macs, strict=True)}
    assert len(seen) == len({(vni, packed(each)) for vni, each in pairs})


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_comes_back_from_its_text(mac: bytes) -> None:
    assert parse_mac(format_mac(mac)) == mac
    assert parse_mac(format_mac(mac).upper()) == mac


@given(st.permutations([("app", "web"), ("tier", "front"), ("zone", "a")]))
def test_an_identity_does_not_depend_on_the_order_of_labels(pairs: list[tuple[str, str]]) -> None:
    assert identity("shop", dict(pairs)) == 2850261104


def test_an_identity_depends_on_everything_it_stands_for() -> None:
    found = [
        identity("shop", {"app": "web"}),
        identity("blue", {"app": "web"}),
        identity("shop", {"app": "db"}),
        identity("shop", {"web": "app"}),
        identity("shop", {"app": "web", "tier": ""}),
        identity("shop", {"app": "web"}, "salt"),
        identity("shop", {}),
    ]
    assert len(set(found)) == len(found)


def test_numbers_and_names_are_the_same_in_every_release() -> None:
    assert network_number("shop/web") == 1761343606
    assert network_number("shop/web", "salt") == 3078227686
    assert interface_name("shop/web-1") == "rv7bc241fe75f"
    assert peer_name("shop/web-1") == "rp7bc241fe75f"


def test_reserved_addresses_of_narrow_ranges_are_none() -> None:
    assert first_usable(IPv4Network("10.0.0.0/32")) is None
    assert reserved(IPv4Network("10.0.0.0/31"), IPv4Address("10.0.0.0")) == ""
    assert reserved(IPv6Network("2001:db8::/127"), ip_address("2001:db8::")) == ""
    assert reserved(IPv6Network("2001:db8::/64"), ip_address("2001:db8::")) == "routers' anycast"
