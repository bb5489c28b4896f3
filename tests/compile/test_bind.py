"""bind fills every fact column, and leaves out what lacks a fact, saying so."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.abi.generated import MAPS, EndpointFlag, HostFlag
from reconciler.abi.table import Table
from reconciler.compile.bind import Waiting, bind
from reconciler.compile.facts import Device, Facts, NextHop
from reconciler.compile.host import compile_all, compile_host
from reconciler.compile.state import HostName, HostState
from reconciler.manifest.document import Document
from reconciler.model.topology import packed
from tests.compile.facts import UPLINK_MAC, complete, without_device
from tests.compile.topologies import built, documents, endpoint, host, regular

SPLITMIX = (  # the first outputs of splitmix64 seeded with 0, made odd
    0xE220A8397B1DCDAF,
    0x6E789E6AA1B965F5,
    0x06C45D188009454F,
    0xF88BB8A8724C81ED,
    0x1B39896A51A8749B,
    0x53CB9F0C747EA2EB,
    0x2C829ABE1F4532E1,
    0xC584133AC916AB3D,
)


def check(key: bytes, value: bytes) -> int:
    """The formula of bpf/row.h, in the plainest way; `check` is the first column of a value."""
    row = key + bytes(4) + value[4:]
    row += bytes(-len(row) % 8)
    words = [int.from_bytes(row[at : at + 8], "little") for at in range(0, len(row), 8)]
    total = sum(word * factor for word, factor in zip(words, SPLITMIX, strict=False))
    return total % (1 << 64) >> 32


@pytest.fixture
def state() -> HostState:
    """h0000 of four hosts, with eight endpoints of a network on two of them, one on a tap."""
    found = [*regular(4, 1, 24)[:-1], endpoint(99, 0, 0, 1024, attach={"interface": "tap0"})]
    return compile_host(built(found), HostName("h0000"))


def endpoint_rows(state: HostState) -> dict[tuple[int, bytes], Any]:
    table = state.tables["endpoints"]
    return {
        (int(key["vni"]), key["address"].tobytes()): value
        for key, value in zip(table.keys, table.values, strict=True)
    }


def test_with_every_fact_nothing_waits_and_every_row_is_there(state: HostState) -> None:
    bound = bind(state, complete(state))
    assert bound.waiting == ()
    for name in ("endpoints", "bouncers", "dividers", "hosts", "networks", "routers"):
        assert bound.state.tables[name].without_facts() == state.tables[name]
        assert np.array_equal(bound.state.tables[name].origins, state.tables[name].origins)


def test_rows_of_endpoints_have_their_interface_counter_and_host(state: HostState) -> None:
    facts = complete(state)
    rows = endpoint_rows(bind(state, facts).state)
    for end in state.interfaces:
        for text in end.addresses:
            row = rows[7, packed(IPv4Address(text.partition("/")[0]))] if "." in text else None
            if row is not None:
                assert row["ifindex"] == facts.devices[end.name].ifindex
                assert row["counter"] == facts.counter_slots[end.endpoint]
    for row in rows.values():
        assert row["host_slot"] == facts.host_slots[IPv4Address(int(row["host"]))]
        if not row["flags"] & EndpointFlag.LOCAL:
            assert (row["ifindex"], row["counter"]) == (0, 0)


def test_sets_have_a_slot_for_every_host_in_its_place(state: HostState) -> None:
    facts = complete(state)
    for name in ("bouncers", "dividers"):
        table = bind(state, facts).state.tables[name]
        assert len(table)
        for row in table.values:
            hosts = row["host"].tolist()[: row["count"]]
            slots = [facts.host_slots[IPv4Address(each)] for each in hosts]
            assert row["host_slot"].tolist() == [*slots, *[0] * (8 - len(slots))]


def test_the_check_of_every_row_is_the_data_planes(state: HostState) -> None:
    bound = bind(state, complete(state)).state
    seen = 0
    for table in bound.tables.values():
        if "check" in (table.values.dtype.names or ()):
            for key, value in zip(table.keys, table.values, strict=True):
                assert int(value["check"]) == check(key.tobytes(), value.tobytes())
                seen += 1
    assert seen > 10


def test_the_tables_of_facts_are_made(state: HostState) -> None:
    facts = complete(state)
    tables = bind(state, facts).state.tables
    others = [a for a in facts.host_slots if a != IPv4Address("172.31.0.1")]
    assert {
        int(key["index"]): value["mac"].tobytes()
        for key, value in zip(tables["next_hops"].keys, tables["next_hops"].values, strict=True)
    } == {facts.host_slots[each]: facts.next_hops[each].mac for each in others}
    assert tables["uplinks"].values.tolist() == [(2, 1500)]
    assert tables["uplink_macs"].values["mac"].tobytes() == UPLINK_MAC
    assert tables["uplink_macs"].values["valid"].tolist() == [1]
    said = {
        int(key["ifindex"]): (int(value["vni"]), int(value["network"]))
        for key, value in zip(tables["interfaces"].keys, tables["interfaces"].values, strict=True)
    }
    assert said == {
        facts.devices[each.name].ifindex: (each.vni, each.network) for each in state.interfaces
    }


def test_programs_and_interfaces_get_theirs(state: HostState) -> None:
    bound = bind(state, complete(state)).state
    digests = {each.name: each.digest[0] for each in bound.programs}
    assert digests == {"access": "a", "drops": "c", "transit": "b"}
    assert {each.mtu for each in bound.interfaces} == {0, 1500 - 62}
    assert [each.name for each in bound.interfaces if each.mtu == 0] == ["tap0"]


def test_an_interface_that_is_to_be_made_is_waited_for_and_still_wanted(state: HostState) -> None:
    end = state.interfaces[0]
    bound = bind(state, without_device(complete(state), end.name))
    assert bound.waiting == (Waiting(f"Endpoint {end.endpoint}", f"interface {end.name}"),)
    assert end.name in {each.name for each in bound.state.interfaces}
    assert end.name in {each.interface for each in bound.state.links}
    missing = endpoint_rows(state).keys() - endpoint_rows(bound.state).keys()
    assert len(missing) == len(end.addresses)
    assert len(bound.state.tables["interfaces"]) == len(state.interfaces) - 1


def test_an_existing_interface_that_is_not_there_is_not_wanted_yet(state: HostState) -> None:
    bound = bind(state, without_device(complete(state), "tap0"))
    assert bound.waiting == (Waiting("Endpoint shop/e0000x0099", "interface tap0"),)
    assert "tap0" not in {each.name for each in bound.state.interfaces}
    assert "tap0" not in {each.interface for each in bound.state.links}
    assert len(endpoint_rows(state)) - len(endpoint_rows(bound.state)) == 2


def test_an_interface_that_nobody_can_make_yet_waits_with_its_reason(state: HostState) -> None:
    end, facts = state.interfaces[0], complete(state)
    bound = bind(state, replace(facts, unready={end.name: "network namespace shop.x"}))
    assert bound.waiting == (Waiting(f"Endpoint {end.endpoint}", "network namespace shop.x"),)
    assert end.name not in {each.name for each in bound.state.interfaces}
    assert end.name not in {each.interface for each in bound.state.links}
    assert len(bound.state.tables["interfaces"]) == len(state.interfaces) - 1


def test_an_unknown_next_hop_is_waited_for_and_takes_no_endpoint_along(state: HostState) -> None:
    facts = complete(state)
    lost = IPv4Address("172.31.0.2")
    left = {each: hop for each, hop in facts.next_hops.items() if each != lost}
    bound = bind(state, replace(facts, next_hops=left))
    assert bound.waiting == (Waiting("Host h0003", "next hop"),)
    assert len(bound.state.tables["next_hops"]) == 2
    assert len(bound.state.tables["hosts"]) == 4
    assert endpoint_rows(bound.state).keys() == endpoint_rows(state).keys()


def test_a_next_hop_behind_another_interface_is_not_known(state: HostState) -> None:
    facts = complete(state)
    strange = {each: NextHop(hop.mac, "eth9") for each, hop in facts.next_hops.items()}
    bound = bind(state, replace(facts, next_hops=strange))
    assert {each.fact for each in bound.waiting} == {"next hop"}
    assert len(bound.state.tables["next_hops"]) == 0


def test_next_hops_name_their_uplink_by_its_place(state: HostState) -> None:
    facts = complete(state)
    two = replace(
        facts,
        uplinks=("eth0", "eth1"),
        devices={**facts.devices, "eth1": Device(3, bytes(6), 9000, True)},
        next_hops={a: NextHop(hop.mac, "eth1") for a, hop in facts.next_hops.items()},
    )
    bound = bind(state, two).state
    assert set(bound.tables["next_hops"].values["uplink"].tolist()) == {1}
    assert bound.tables["uplinks"].values["mtu"].tolist() == [1500, 9000]
    assert {each.mtu for each in bound.interfaces if each.name != "tap0"} == {1500 - 62}


def test_an_underlay_interface_that_is_not_there_is_waited_for(state: HostState) -> None:
    bound = bind(state, without_device(complete(state), "eth0"))
    assert bound.waiting == (Waiting("Host h0000", "interface eth0"),)
    assert "eth0" not in {each.interface for each in bound.state.links}
    assert len(bound.state.tables["uplinks"]) == len(bound.state.tables["uplink_macs"]) == 0


def test_a_host_without_a_slot_is_left_out_with_everything_that_names_it(state: HostState) -> None:
    facts, lost = complete(state), IPv4Address("172.31.0.2")
    slots = {each: slot for each, slot in facts.host_slots.items() if each != lost}
    bound = bind(state, replace(facts, host_slots=slots))
    assert Waiting("Host h0003", "host slot") in bound.waiting
    assert {each.fact for each in bound.waiting} == {"host slot"}
    for name in ("endpoints", "bouncers", "dividers"):
        assert int(lost) not in bound.state.tables[name].values["host"]
    assert len(bound.state.tables["hosts"]) == 3


def test_an_endpoint_without_a_counter_waits(state: HostState) -> None:
    facts, end = complete(state), state.interfaces[0]
    slots = {each: slot for each, slot in facts.counter_slots.items() if each != end.endpoint}
    bound = bind(state, replace(facts, counter_slots=slots))
    assert bound.waiting == (Waiting(f"Endpoint {end.endpoint}", "counter slot"),)


def test_without_any_fact_nothing_is_written_and_everything_waits(state: HostState) -> None:
    bound = bind(state, Facts())
    written = {name: len(table) for name, table in bound.state.tables.items() if len(table)}
    assert written == {
        name: len(state.tables[name]) for name in ("networks", "routers") if len(state.tables[name])
    }
    assert {each.fact.split()[0] for each in bound.waiting} == {"interface", "host", "counter"}


@given(documents(), st.data())
@settings(max_examples=40)
def test_binding_again_changes_nothing_and_no_input_is_written_to(
    found: list[Document], data: st.DataObject
) -> None:
    states = compile_all(built(found))
    state = states[data.draw(st.sampled_from(sorted(states)))]
    before = {name: table.values.tobytes() for name, table in state.tables.items()}
    facts = complete(state)
    for name in data.draw(st.lists(st.sampled_from(sorted(facts.devices)), max_size=2)):
        facts = without_device(facts, name)
    once = bind(state, facts)
    assert {name: table.values.tobytes() for name, table in state.tables.items()} == before
    assert bind(once.state, facts).state == once.state
    assert bind(state, facts) == once


def test_a_foreign_host_keeps_its_flag() -> None:
    topology = built([*regular(1, 1, 1), host(9, managed=False)])
    state = compile_host(topology, HostName("h0000"))
    flags = bind(state, complete(state)).state.tables["hosts"].values["flags"].tolist()
    assert sorted(flags) == [HostFlag.SELF, HostFlag.FOREIGN]


def test_a_state_of_nothing_is_bound_to_nothing() -> None:
    bound = bind(HostState.empty(HostName("h0000")), Facts())
    assert bound.waiting == ()
    assert bound.state.tables == {name: Table.empty(MAPS[name]) for name in bound.state.tables}
