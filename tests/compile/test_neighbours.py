"""Whom a host may have to send to: those that its tables name, and nobody who cannot answer."""

from ipaddress import IPv4Address

from reconciler.compile.bind import bind
from reconciler.compile.host import compile_host
from reconciler.compile.neighbours import Neighbours, neighbours
from reconciler.compile.state import HostName, HostState
from reconciler.manifest.document import Document
from tests.compile.facts import complete
from tests.compile.topologies import built, document, endpoint, host, network

RELAY = {"bounce": True, "divide": True}
NOTHING = {"bounce": False, "divide": False}


def documents(*more: Document) -> list[Document]:
    """h0000 relays alone; h0001 to h0003 have an endpoint each, h0004 has nothing."""
    vpc = {"vni": 7, "cidrs": ["10.0.0.0/8", "2001:db8::/32"]}
    hosts = [host(0, **RELAY), *(host(number, **NOTHING) for number in range(1, 5))]
    ends = [endpoint(number, 0, number) for number in range(1, 4)]
    return [*hosts, document("VPC", "shop", "shop", vpc), network(0), *ends, *more]


def of(name: str, *more: Document) -> Neighbours:
    state = compile_host(built(documents(*more)), HostName(name))
    found = neighbours(bind(state, complete(state)).state)
    assert found is not None
    return found


def named(found: Neighbours) -> set[str]:
    return {name for name, each in zip(found.names, found.named.tolist(), strict=True) if each}


def test_a_host_probes_the_bouncers_of_its_networks_and_no_others() -> None:
    assert named(of("h0001")) == {"h0000"}


def test_a_bouncer_probes_the_hosts_of_its_endpoints() -> None:
    assert named(of("h0000")) == {"h0001", "h0002", "h0003"}


def test_others_may_still_have_direct_paths() -> None:
    assert set(of("h0001").names) == {"h0000", "h0002", "h0003", "h0004"}


def test_slots_ascend_and_go_with_addresses_and_names() -> None:
    found = of("h0001")
    assert found.slots.tolist() == sorted(found.slots.tolist())
    for address, name in zip(found.addresses.tolist(), found.names, strict=True):
        zone, rank = int(name[1:]) % 3, int(name[1:]) // 3
        assert IPv4Address(address) == IPv4Address("172.31.0.0") + zone * 4096 + 1 + rank


def test_foreign_hosts_are_not_probed() -> None:
    abroad = host(20, managed=False)
    found = of("h0000", abroad, endpoint(9, 0, 20, mac="02:00:00:00:0f:01"))
    assert "h0020" not in found.names


def test_a_host_that_does_not_know_its_own_address_probes_nobody() -> None:
    assert neighbours(HostState.empty(HostName("h0000"))) is None


def test_what_did_not_change_is_the_same() -> None:
    assert of("h0001").same(of("h0001"))
    assert not of("h0001").same(of("h0000"))
    assert not of("h0001").same(None)
