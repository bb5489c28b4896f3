"""Topology -> host states: every row that belongs on a host and no other; packets find home."""

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings

from reconciler.abi.generated import CONSTANTS, EndpointFlag, HostFlag
from reconciler.abi.table import Table
from reconciler.compile.host import UnknownHostError, compile_all, compile_host
from reconciler.compile.placement import bouncers, dividers
from reconciler.compile.serial import dump
from reconciler.compile.state import AttachMode, HostName, HostState
from reconciler.manifest.document import Document
from reconciler.model.mac import ROUTER_MAC
from reconciler.model.topology import Topology, packed, unpacked
from tests.compile.topologies import built, documents, endpoint, host, network, regular

Row = tuple[Any, ...]


def rows(table: Table) -> dict[Row, Row]:
    """A table as plain numbers and bytes."""

    def plain(row: Any) -> Row:
        return tuple(
            each.tobytes() if each.dtype.base.itemsize == 1 and each.ndim else each.tolist()
            for each in (row[name] for name in row.dtype.names)
        )

    return {plain(k): plain(v) for k, v in zip(table.keys, table.values, strict=True)}


class Statement:
    """ARCHITECTURE.md's table of tables once more, in the plainest way there is."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.bouncers = [set(each.tolist()) for each in bouncers(topology)]
        self.dividers = [set(each.tolist()) for each in dividers(topology)]
        points = topology.endpoints
        self.present = [
            {int(points.host[e]) for e in range(len(points)) if points.network[e] == n}
            for n in range(len(topology.networks))
        ]

    def underlay(self, host: int) -> int:
        return int(self.topology.hosts[host].underlay)

    def vni(self, network: int) -> int:
        return self.topology.vpcs[self.topology.networks[network].vpc].vni

    def endpoints(self, me: int) -> Iterator[tuple[Row, Row]]:
        points = self.topology.endpoints
        for octets, e in zip(points.address, points.address_owner, strict=True):
            where, n = int(points.host[e]), int(points.network[e])
            key, number = (self.vni(n), octets.tobytes()), self.topology.networks[n].number
            if where == me:
                mac, identity = points.mac[e].tobytes(), int(points.identity[e])
                yield key, (0, self.underlay(me), mac, 0, 0, identity, number, 0, 1)
            elif me in self.bouncers[n] and not self.topology.hosts[where].managed:
                mac, identity = points.mac[e].tobytes(), int(points.identity[e])
                yield key, (0, self.underlay(where), mac, 0, 0, identity, number, 0, 4)
            elif me in self.bouncers[n]:
                yield key, (0, self.underlay(where), bytes(6), 0, 0, 0, number, 0, 0)
        for n, each in enumerate(self.topology.networks):
            if me in self.present[n]:
                for gateway in each.gateways:
                    value = (0, self.underlay(me), ROUTER_MAC, 0, 0, 0, each.number, 0, 2)
                    yield (self.vni(n), packed(gateway)), value

    def networks(self, me: int) -> Iterator[tuple[Row, Row]]:
        for n, each in enumerate(self.topology.networks):
            if me in self.dividers[each.vpc]:
                for cidr in each.cidrs:
                    length = 32 + cidr.prefixlen + (96 if cidr.version == 4 else 0)
                    key = (length, self.vni(n), packed(cidr.network_address))
                    yield key, (each.number, 0)

    def set_of(self, hosts: set[int]) -> Row:
        members = sorted(self.underlay(each) for each in hosts)
        return 0, len(members), 0, [*members, *[0] * 8][:8], [0] * 8

    def sets(self, me: int) -> Iterator[tuple[Row, Row]]:
        for n, each in enumerate(self.topology.networks):
            if me in self.present[n] | self.bouncers[n] | self.dividers[each.vpc]:
                yield (self.vni(n), each.number), self.set_of(self.bouncers[n])

    def routers(self, me: int) -> Iterator[tuple[Row, Row]]:
        for n, each in enumerate(self.topology.networks):
            if me in self.present[n]:
                ipv4 = [int(a) for a in each.gateways if a.version == 4]
                ipv6 = [packed(a) for a in each.gateways if a.version == 6]
                yield (self.vni(n), each.number), (0, [*ipv4, 0][0], [*ipv6, bytes(16)][0])

    def vpcs(self, me: int) -> Iterator[tuple[Row, Row]]:
        for n, each in enumerate(self.topology.networks):
            if me in self.bouncers[n]:
                yield (self.vni(n),), self.set_of(self.dividers[each.vpc])

    def hosts(self, me: int) -> Iterator[tuple[Row, Row]]:
        for h, each in enumerate(self.topology.hosts):
            yield (int(each.underlay),), (0, (h == me) + 2 * (not each.managed), 0)


@given(documents())
@settings(max_examples=60)
def test_every_host_holds_the_rows_that_belong_there_and_no_others(found: list[Document]) -> None:
    topology = built(found)
    said, states = Statement(topology), compile_all(topology)
    for number, each in enumerate(topology.hosts):
        if each.managed:
            tables = states[HostName(each.name)].tables
            assert rows(tables["endpoints"]) == dict(said.endpoints(number))
            assert rows(tables["networks"]) == dict(said.networks(number))
            assert rows(tables["bouncers"]) == dict(said.sets(number))
            assert rows(tables["dividers"]) == dict(said.vpcs(number))
            assert rows(tables["routers"]) == dict(said.routers(number))
            assert rows(tables["hosts"]) == dict(said.hosts(number))
            for name in ("interfaces", "next_hops", "uplinks", "uplink_macs"):
                assert len(tables[name]) == 0
        else:
            assert each.name not in states


class Walk:
    """A packet's way by the tables alone: bouncer, divider, bouncer, host; by underlay address."""

    def __init__(self, states: dict[HostName, HostState]) -> None:
        self.tables = {}
        for state in states.values():
            found = {name: rows(table) for name, table in state.tables.items()}
            (me,) = (k[0] for k, v in found["hosts"].items() if v[1] & HostFlag.SELF)
            self.tables[me] = found

    def go(self, vni: int, source: Row, destination: bytes, pick: int) -> int | None:
        """Where it arrives, from a local row of its source; None if it is dropped."""
        at, own = source[1], source[6]
        row = self.tables[at]["endpoints"].get((vni, destination))
        if row and row[8] & EndpointFlag.LOCAL:
            return int(at)
        at = self.pick(self.tables[at]["bouncers"][vni, own], pick)
        if (vni, destination) not in self.tables[at]["endpoints"]:
            at = self.pick(self.tables[at]["dividers"][(vni,)], pick)
            number = self.longest(self.tables[at]["networks"], vni, destination)
            if number is None:
                return None
            at = self.pick(self.tables[at]["bouncers"][vni, number], pick)
        row = self.tables[at]["endpoints"].get((vni, destination))
        return int(row[1]) if row else None

    @staticmethod
    def pick(chosen: Row, pick: int) -> int:
        return int(chosen[3][pick % chosen[1]])

    @staticmethod
    def longest(networks: dict[Row, Row], vni: int, destination: bytes) -> int | None:
        address = int.from_bytes(destination, "big")
        found = [
            (length, value[0])
            for (length, of, base), value in networks.items()
            if of == vni and (address ^ int.from_bytes(base, "big")) >> (160 - length) == 0
        ]
        return max(found)[1] if found else None


@given(documents())
@settings(max_examples=60)
def test_a_packet_finds_every_endpoint_of_its_vpc_and_none_of_another(
    found: list[Document],
) -> None:
    topology = built(found)
    walk = Walk(compile_all(topology))
    points = topology.endpoints
    homes = {}
    for octets, e in zip(points.address, points.address_owner, strict=True):
        vni = topology.vpcs[topology.networks[points.network[e]].vpc].vni
        homes[vni, octets.tobytes()] = int(topology.hosts[points.host[e]].underlay)
    for (vni, address), home in homes.items():
        if home not in walk.tables:
            continue  # a foreign host, which has no tables
        source = walk.tables[home]["endpoints"][vni, address]
        for pick, (other, destination) in enumerate(homes):
            assert walk.go(vni, source, destination, pick) == homes.get((vni, destination)), other


@given(documents())
@settings(max_examples=30)
def test_one_host_compiled_alone_is_as_among_all(found: list[Document]) -> None:
    topology = built(found)
    for name, state in compile_all(topology).items():
        alone = compile_host(topology, name)
        assert alone == state
        assert dump(alone) == dump(state)


def test_a_host_that_is_not_in_the_commit_is_named() -> None:
    with pytest.raises(UnknownHostError, match=r"^host h9: the commit has no such Host"):
        compile_host(built(regular(1, 1, 1)), HostName("h9"))


def test_a_foreign_host_holds_nothing_and_is_known_to_the_others() -> None:
    topology = built([*regular(2, 1, 2), host(9, managed=False)])
    with pytest.raises(UnknownHostError, match=r"^host h0009: is foreign \(managed: false\)"):
        compile_host(topology, HostName("h0009"))
    hosts = rows(compile_host(topology, HostName("h0000")).tables["hosts"])
    assert sorted(value[1] for value in hosts.values()) == [0, HostFlag.SELF, HostFlag.FOREIGN]


def test_every_row_says_which_manifest_it_comes_from() -> None:
    topology = built([host(0), *regular(1, 1, 1)[1:]])
    state = compile_host(topology, HostName("h0000"))
    said = {
        name: sorted({state.origins[each] for each in table.origins.tolist()})
        for name, table in state.tables.items()
        if len(table)
    }
    assert said == {
        "bouncers": ["Network shop/n0000"],
        "dividers": ["VPC shop/shop"],
        "endpoints": ["Endpoint shop/e0000x0000", "Network shop/n0000"],
        "hosts": ["Host h0000"],
        "networks": ["Network shop/n0000"],
        "routers": ["Network shop/n0000"],
    }
    assert list(state.origins) == sorted({each for one in said.values() for each in one})


def test_a_host_knows_no_names_of_what_it_does_not_hold() -> None:
    topology = built([*regular(12, 12, 24)])
    for name, state in compile_all(topology).items():
        held = {each for table in state.tables.values() for each in table.origins.tolist()}
        assert held == set(range(len(state.origins))), name


@pytest.mark.parametrize(
    ("mode", "transit", "access"),
    [
        ("native", AttachMode.NATIVE, AttachMode.NATIVE),
        ("generic", AttachMode.GENERIC, AttachMode.GENERIC),
        ("offload", AttachMode.OFFLOAD, AttachMode.NATIVE),
    ],
)
def test_transit_runs_on_the_underlay_and_access_on_every_endpoint(
    mode: str, transit: AttachMode, access: AttachMode
) -> None:
    found = [host(0, interface="bond0", attachMode=mode), *regular(1, 1, 1)[1:]]
    state = compile_host(built(found), HostName("h0000"))
    (end,) = state.interfaces
    said = {each.interface: (each.program, each.mode) for each in state.links}
    assert said == {"bond0": ("transit", transit), end.name: ("access", access)}


def test_programs_know_their_own_address_and_the_routers_mac() -> None:
    state = compile_host(built(regular(1, 1, 1)), HostName("h0000"))
    access, drops, transit = state.programs
    assert [each.name for each in state.programs] == ["access", "drops", "transit"]
    assert drops.constants == b"", "it only counts"
    for program in (access, transit):
        assert len(program.constants) == CONSTANTS.dtype.itemsize
        address, rest = program.constants[:4], program.constants[4:]
        assert IPv4Address(address) == IPv4Address("172.31.0.1")
        assert rest == ROUTER_MAC + (30).to_bytes(2, "little")


def test_a_network_with_endpoints_nowhere_has_bouncers_all_the_same() -> None:
    topology = built([*regular(3, 1, 0), network(5)])
    states = compile_all(topology)
    assert sum(len(state.tables["dividers"]) for state in states.values()) >= 2
    assert all(len(state.tables["endpoints"]) == 0 for state in states.values())


def test_prefixes_count_from_the_vni_and_ipv4_from_96() -> None:
    topology = built([*regular(1, 0, 0), network(3, size=256)])
    table = compile_host(topology, HostName("h0000")).tables["networks"]
    said = {
        (int(key["prefix_length"]), str(unpacked(key["address"].tobytes()))) for key in table.keys
    }
    assert said == {(32 + 96 + 24, "10.0.3.0"), (32 + 64, "2001:db8:3::")}
    assert ip_network("10.0.3.0/24") in topology.networks[0].cidrs


def test_an_endpoint_that_moves_takes_its_interface_along() -> None:
    rest = regular(4, 1, 8)
    before = compile_all(built([*rest, endpoint(100, 0, 0, 1024)]))
    after = compile_all(built([*rest, endpoint(100, 0, 1, 1024)]))
    changed = {
        name: {each.endpoint for each in state.interfaces}
        ^ {each.endpoint for each in before[name].interfaces}
        for name, state in after.items()
    }
    moved = {"shop/e0000x0100"}
    assert changed == {"h0000": moved, "h0001": moved, "h0002": set(), "h0003": set()}
