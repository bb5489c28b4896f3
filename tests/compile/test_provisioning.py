"""What one change costs, counted in a topology of 200 hosts and 20,000 endpoints."""

from collections.abc import Mapping

import numpy as np
import pytest

from reconciler.abi.table import Table, raw
from reconciler.compile.host import compile_all, compile_host
from reconciler.compile.placement import bouncers
from reconciler.compile.state import HostName, HostState
from reconciler.manifest.document import Document
from reconciler.model.topology import Topology
from tests.compile.topologies import built, endpoint, host, regular

HOSTS, NETWORKS, ENDPOINTS = 200, 200, 20_000
NEW = "shop/e0042x0500"


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return regular(HOSTS, NETWORKS, ENDPOINTS)


@pytest.fixture(scope="module")
def topology(documents: list[Document]) -> Topology:
    return built(documents)


@pytest.fixture(scope="module")
def states(topology: Topology) -> dict[HostName, HostState]:
    return compile_all(topology)


def differing(left: Table, right: Table) -> int:
    """How many keys have another value, or none, in one of two tables."""
    old, new = (
        dict(zip(raw(t.keys).tolist(), raw(t.values).tolist(), strict=True)) for t in (left, right)
    )
    return sum(old.get(key) != new.get(key) for key in old.keys() | new.keys())


def changed(
    before: Mapping[HostName, HostState], after: Mapping[HostName, HostState]
) -> dict[HostName, dict[str, int]]:
    """Rows that differ, by host and table; nothing for hosts that are the same in every byte."""
    found = {}
    for name, state in after.items():
        counts = {
            each: differing(before[name].tables[each], table)
            for each, table in state.tables.items()
        }
        if before[name] != state:
            found[name] = {each: count for each, count in counts.items() if count}
    return found


def test_one_added_endpoint_changes_its_host_and_the_bouncers_of_its_network_alone(
    documents: list[Document],
    topology: Topology,
    states: dict[HostName, HostState],
    capsys: pytest.CaptureFixture[str],
) -> None:
    number = [each.name for each in topology.networks].index("n0042")
    home = next(
        HostName(each.name)
        for each in topology.hosts
        if "shop/e0042x0000" in {end.endpoint for end in states[HostName(each.name)].interfaces}
    )
    relays = {HostName(topology.hosts[each].name) for each in bouncers(topology)[number].tolist()}
    assert home not in relays
    after = compile_all(built([*documents, endpoint(500, 42, int(home[1:]), 1024)]))
    found = changed(states, after)
    with capsys.disabled():
        rows = sum(sum(each.values()) for each in found.values())
        print(f"\n  one endpoint of two addresses: {rows} rows on {len(found)} of {HOSTS} hosts")
    assert found == {name: {"endpoints": 2} for name in {home, *relays}}
    for name in relays:
        assert after[name].interfaces == states[name].interfaces
        assert after[name].links == states[name].links
    new = {each.endpoint for each in after[home].interfaces} - {
        each.endpoint for each in states[home].interfaces
    }
    assert new == {NEW}


def test_a_new_label_or_mac_changes_only_the_endpoints_own_host(
    documents: list[Document], states: dict[HostName, HostState]
) -> None:
    index = next(i for i, each in enumerate(documents) if each.name == "e0042x0007")
    spec, metadata = documents[index].body["spec"], documents[index].body["metadata"]
    for body in (
        {"spec": spec, "metadata": {**metadata, "labels": {"app": "other"}}},
        {"spec": {**spec, "mac": "02:00:00:00:77:77"}, "metadata": metadata},
    ):
        old = documents[index]
        new = Document("Endpoint", old.namespace, old.name, old.path, old.index, body)
        after = compile_all(built([*documents[:index], new, *documents[index + 1 :]]))
        assert changed(states, after) == {HostName(spec["host"]): {"endpoints": 2}}


def test_the_first_endpoint_of_a_network_on_a_host_brings_its_gateways_and_bouncers(
    documents: list[Document], topology: Topology, states: dict[HostName, HostState]
) -> None:
    number = [each.name for each in topology.networks].index("n0042")
    present = set(topology.endpoints.host[topology.endpoints.network == number].tolist())
    concerned = present | {each for one in bouncers(topology) for each in one.tolist()}
    fresh = next(each for each in range(HOSTS) if each not in concerned)
    after = compile_all(built([*documents, endpoint(500, 42, fresh, 1024)]))
    found = changed(states, after)
    assert found.pop(HostName(f"h{fresh:04}")) == {"bouncers": 1, "endpoints": 4, "routers": 1}
    assert all(each == {"endpoints": 2} for each in found.values())
    assert len(found) == len(bouncers(topology)[number])


def test_a_new_host_is_believed_everywhere_and_moves_only_its_share_of_roles(
    documents: list[Document], topology: Topology
) -> None:
    after = built([host(HOSTS), *documents])
    old = [{topology.hosts[i].name for i in each.tolist()} for each in bouncers(topology)]
    new = [{after.hosts[i].name for i in each.tolist()} for each in bouncers(after)]
    taken = [fresh - known for fresh, known in zip(new, old, strict=True)]
    assert all(each <= {f"h{HOSTS:04}"} for each in taken)
    assert sum(map(bool, taken)) <= 12  # of 200 networks with two bouncers each; 2 on average


def test_a_host_compiled_alone_is_as_among_all(
    topology: Topology, states: dict[HostName, HostState]
) -> None:
    for name in list(states)[::40]:
        assert compile_host(topology, name) == states[name]


def test_the_order_of_documents_does_not_matter(
    documents: list[Document], states: dict[HostName, HostState]
) -> None:
    order = np.random.default_rng(7).permutation(len(documents))
    after = compile_all(built(documents[each] for each in order))
    assert changed(states, after) == {}
