"""From manifests to a topology: defaults, references, order, and what is not reported twice."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.abi.generated import Limit
from reconciler.manifest.document import Document
from reconciler.model.build import build
from reconciler.model.topology import AttachKind, Attachment, Placement, Topology, packed
from reconciler.source.package import schemas
from tests.compile import topologies
from tests.model.repository import (
    BASE,
    HOSTS,
    NETWORK,
    endpoint,
    manifest,
    many,
    problems,
    read,
    topology,
)


def equal(left: Topology, right: Topology) -> bool:
    """Whether two topologies are the same, columns byte for byte."""
    few = all(
        getattr(left, each) == getattr(right, each)
        for each in ("hosts", "vpcs", "networks", "attachments")
    )
    columns = ("network", "host", "mac", "identity", "attachment", "address", "address_owner")
    return (
        few
        and tuple(left.endpoints.names) == tuple(right.endpoints.names)
        and all(
            np.array_equal(getattr(left.endpoints, each), getattr(right.endpoints, each))
            for each in columns
        )
    )


def test_a_repository_becomes_a_topology_with_its_defaults() -> None:
    found = topology({"a.yaml": endpoint("web-1", "10.1.0.11", "2001:db8:1::11")})
    assert [host.name for host in found.hosts] == ["edge-1", "edge-2"]
    host = found.hosts[0]
    assert (host.interface, host.zone, host.weight, host.attach_mode) == ("eth0", "a", 1, "native")
    assert (host.bounce, host.divide, host.gateway, host.cordon) == (True, True, False, False)
    (network,) = found.networks
    assert network.gateways == (ip_address("10.1.0.1"), ip_address("2001:db8:1::1"))
    assert network.bouncers == Placement(2, True)
    points = found.endpoints
    assert tuple(points.names) == ("shop/web-1",)
    assert points.address.tobytes() == packed(ip_address("10.1.0.11")) + packed(
        ip_address("2001:db8:1::11")
    )
    assert points.address_owner.tolist() == [0, 0]
    assert points.mac.tobytes().hex(":") == "02:01:0a:01:00:0b"
    assert found.attachments == (Attachment(AttachKind.VETH, "", "eth0"),)


def test_an_empty_repository_is_a_topology_of_nothing() -> None:
    commit = read({})
    assert commit.topology is not None
    assert len(commit.topology.endpoints) == 0
    assert commit.topology.hosts == ()


@pytest.mark.parametrize(
    ("labels", "zone"),
    [
        ({"zone": "a"}, "a"),
        ({"topology.kubernetes.io/zone": "b"}, "b"),
        ({"topology.kubernetes.io/zone": "b", "zone": "a"}, "a"),
        ({}, ""),
    ],
)
def test_the_zone_of_a_host_is_one_of_two_labels(labels: dict[str, str], zone: str) -> None:
    host = manifest("Host", "edge-0", {"underlay": "172.31.9.1"}, labels=labels)
    assert topology({"a.yaml": host}).hosts[0].zone == zone


@pytest.mark.parametrize(
    ("attach", "expected"),
    [
        (None, Attachment()),
        ({"veth": {}}, Attachment()),
        ({"veth": {"netns": "shop.web-1"}}, Attachment()),
        ({"veth": {"netns": "x"}}, Attachment(AttachKind.VETH, "x", "eth0")),
        ({"veth": {"interface": "net1"}}, Attachment(AttachKind.VETH, "", "net1")),
        ({"interface": "tap0"}, Attachment(AttachKind.INTERFACE, "", "tap0")),
        ({"tap": {"name": "tap0"}}, Attachment(AttachKind.TAP, "", "tap0")),
        ({"tap": {}}, Attachment(AttachKind.TAP, "", "")),
        ({"host": True}, Attachment(AttachKind.HOST, "", "")),
    ],
)
def test_every_way_to_attach_is_understood(
    attach: dict[str, object] | None, expected: Attachment
) -> None:
    spec = {} if attach is None else {"attach": attach}
    found = topology({"a.yaml": endpoint("web-1", "10.1.0.11", **spec)})
    assert found.attachments == (expected,)


def test_the_gateway_of_a_network_of_two_addresses_is_the_first() -> None:
    spec = {"vpc": "shop", "cidrs": ["10.3.0.0/31", "2001:db8:3::/127"]}
    found = topology(
        {
            "a.yaml": manifest("Network", "narrow", spec, "shop"),
            "b.yaml": endpoint("web-1", "10.3.0.1", "2001:db8:3::1", network="narrow"),
        }
    )
    network = next(each for each in found.networks if each.name == "narrow")
    assert network.gateways == (ip_address("10.3.0.0"), ip_address("2001:db8:3::"))


def test_two_vpcs_may_use_the_same_addresses_and_macs() -> None:
    files = {
        "a.yaml": endpoint("web-1", "10.1.0.11", mac="02:00:00:00:00:09"),
        "b.yaml": many(
            manifest("VPC", "main", {"vni": 9, "cidrs": ["10.0.0.0/8"]}, "blue"),
            manifest("Network", "web", {"vpc": "main", "cidrs": ["10.1.0.0/24"]}, "blue"),
            endpoint("web-1", "10.1.0.11", namespace="blue", mac="02:00:00:00:00:09"),
        ),
    }
    assert problems(files) == []


GRANTED = [
    [{"namespaceSelector": {}}],
    [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}],
    [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ops"}}}],
    [
        {"namespaceSelector": {"matchLabels": {"team": "nobody"}}},
        {"namespaceSelector": {"matchLabels": {"team": "ops"}}},
    ],
    [
        {
            "namespaceSelector": {
                "matchExpressions": [
                    {"key": "team", "operator": "In", "values": ["dev", "ops"]},
                    {"key": "team", "operator": "NotIn", "values": ["dev"]},
                    {"key": "absent", "operator": "NotIn", "values": ["dev"]},
                    {"key": "team", "operator": "Exists"},
                    {"key": "absent", "operator": "DoesNotExist"},
                ]
            }
        }
    ],
]
REFUSED = [
    [],
    [{"namespaceSelector": {"matchLabels": {"team": "dev"}}}],
    [{"namespaceSelector": {"matchLabels": {"team": "ops", "role": "admin"}}}],
    [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "op"}}}],
    *(
        [{"namespaceSelector": {"matchExpressions": [condition]}}]
        for condition in (
            {"key": "team", "operator": "In", "values": ["dev"]},
            {"key": "absent", "operator": "In", "values": ["ops"]},
            {"key": "team", "operator": "NotIn", "values": ["ops"]},
            {"key": "absent", "operator": "Exists"},
            {"key": "team", "operator": "DoesNotExist"},
        )
    ),
]


def with_grant(grant: list[dict[str, object]]) -> list[str]:
    """An endpoint of namespace ops in a network of the shop."""
    spec = {"vpc": "shop", "cidrs": ["10.3.0.0/24"], "allowedFrom": grant}
    reference = {"namespace": "shop", "name": "open"}
    return problems(
        {
            "a.yaml": manifest("Network", "open", spec, "shop"),
            "b.yaml": manifest("Namespace", "ops", {}, labels={"team": "ops"}),
            "c.yaml": endpoint("probe", "10.3.0.9", namespace="ops", network=reference),
        }
    )


@pytest.mark.parametrize("grant", GRANTED)
def test_a_grant_that_selects_the_namespace_admits_it(grant: list[dict[str, object]]) -> None:
    assert with_grant(grant) == []


@pytest.mark.parametrize("grant", REFUSED)
def test_any_other_grant_does_not(grant: list[dict[str, object]]) -> None:
    (line,) = with_grant(grant)
    assert "REF1003" in line


def test_a_namespace_without_a_manifest_has_its_name_for_a_label() -> None:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "blue"}}
    grant = [{"namespaceSelector": selector}]
    files = {
        "a.yaml": manifest(
            "VPC", "open", {"vni": 9, "cidrs": ["10.0.0.0/8"], "allowedFrom": grant}, "core"
        ),
        "b.yaml": manifest(
            "Network",
            "mine",
            {"vpc": {"namespace": "core", "name": "open"}, "cidrs": ["10.9.0.0/16"]},
            "blue",
        ),
    }
    assert problems(files) == []


def test_what_refers_to_an_invalid_manifest_is_not_reported_too() -> None:
    wrong = HOSTS.replace("172.31.1.11", "here")
    commit = read({**BASE, "hosts.yaml": wrong, "a.yaml": endpoint("web-1", "10.1.0.11")})
    assert [each.code for each in commit.problems] == ["SCHEMA1008"]
    assert commit.topology is None


def test_what_refers_to_a_document_that_cannot_be_parsed_is_not_reported_too() -> None:
    for broken in (
        "metadata: {name: db, namespace: shop}\nkind: Network\nspec: {vpc: [shop\n",
        "kind: Netwrok\nmetadata: {name: db, namespace: shop}\n",
        "kind: Network\nmetadata:\n  name: db\n  namespace: shop\nspec: \0\n",
    ):
        commit = read(
            {**BASE, "a.yaml": broken, "b.yaml": endpoint("db-1", "10.9.0.1", network="db")}
        )
        assert {each.path for each in commit.problems} == {"a.yaml"}, broken


def test_a_missing_network_is_reported_beside_a_broken_file_that_has_another() -> None:
    broken = "kind: Netwrok\nmetadata: {name: db, namespace: shop}\n"
    commit = read({**BASE, "a.yaml": broken + "---\n" + endpoint("a", "10.1.0.2", network="cache")})
    assert sorted(each.code for each in commit.problems) == ["REF1002", "SCHEMA1002"]


def test_five_mistakes_in_a_file_give_five_problems() -> None:
    file = many(
        endpoint("a", "10.1.9.4"),
        endpoint("b", "10.1.0.2", host="rack-7"),
        endpoint("c", "10.1.0.3", network="wbe"),
        endpoint("d", "10.1.0.4", mac="no"),
        endpoint("e"),
    )
    lines = problems({"a.yaml": file})
    assert [line.split()[1] for line in lines] == [
        "NET1012",
        "REF1002",
        "REF1002",
        "SCHEMA1008",
        "NET1015",
    ]


def test_thousands_of_references_to_one_missing_host_are_all_reported() -> None:
    file = many(*(endpoint(f"web-{i}", f"10.1.0.{i}", host="rack-7") for i in range(2, 202)))
    assert len(problems({"a.yaml": file})) == 200


DOCUMENTS = read(
    {
        **BASE,
        "a.yaml": many(
            *(
                endpoint(f"web-{i}", f"10.1.0.{i}", labels={"app": f"a{i % 3}"})
                for i in range(2, 9)
            ),
            endpoint("x", "2001:db8:1::9", attach={"interface": "tap0"}, host="edge-2"),
            manifest("Network", "db", {"vpc": "shop", "cidrs": ["10.2.0.0/24"]}, "shop"),
            endpoint("db-1", "10.2.0.7", network="db"),
        ),
    }
).documents


@given(st.permutations(DOCUMENTS))
@settings(max_examples=50)
def test_the_order_of_documents_does_not_matter(documents: list[object]) -> None:
    expected, found = build(DOCUMENTS).topology, build(documents).topology  # type: ignore[arg-type]
    assert expected is not None
    assert found is not None
    assert equal(expected, found)


def test_neither_files_nor_their_paths_matter() -> None:
    parts = [HOSTS, NETWORK, endpoint("web-1", "10.1.0.11"), endpoint("web-2", "10.1.0.12")]
    one = read({"all.yaml": many(*parts)}).topology
    four = read({f"deep/{9 - i}.yaml": part for i, part in enumerate(parts)}).topology
    assert one is not None
    assert four is not None
    assert equal(one, four)


def test_everything_is_sorted_by_its_qualified_name() -> None:
    files = {
        f"{i}.yaml": manifest(
            "Network",
            name,
            {"vpc": {"namespace": "all", "name": "open"}, "cidrs": [f"10.{i}.0.0/16"]},
            space,
        )
        for i, (space, name) in enumerate([("a", "z"), ("a-b", "a"), ("a", "b")])
    }
    files["vpc.yaml"] = manifest(
        "VPC",
        "open",
        {"vni": 9, "cidrs": ["10.0.0.0/8"], "allowedFrom": [{"namespaceSelector": {}}]},
        "all",
    )
    names = [f"{each.namespace}/{each.name}" for each in topology(files).networks]
    assert names == sorted(names) == ["a-b/a", "a/b", "a/z", "shop/web"]
    assert topology(files).networks[0].cidrs == (ip_network("10.1.0.0/16"),)


def too_many(documents: Iterable[Document]) -> list[tuple[str, str]]:
    """The places and messages of what is beyond a limit."""
    found = build(documents).findings
    return [(each.pointer, each.message) for each in found if each.code == "NET1020"]


def test_more_hosts_than_the_tables_hold_are_refused() -> None:
    documents = [topologies.host(number, zones=1) for number in range(Limit.HOSTS + 1)]
    assert too_many(documents[1:]) == []
    assert too_many(documents) == [
        (
            "/metadata/name",
            "16385 hosts are more than the 16384 that a cluster can have; split the cluster",
        )
    ]


def test_more_endpoints_than_a_host_can_have_are_refused() -> None:
    documents = topologies.regular(1, 40, Limit.INTERFACES + 5)
    assert too_many(documents) == [
        (
            "/spec/host",
            "host h0000 has more than the 16384 endpoints that a host can have; "
            "move some to other hosts",
        )
    ]
    assert too_many(documents[:-5]) == []


def test_more_networks_of_a_vpc_than_a_divider_holds_are_refused() -> None:
    documents = topologies.regular(1, 0, 0)
    base = int(ip_address("10.0.0.0"))
    for number in range(Limit.NETWORKS // 64 + 1):
        cidrs = [f"{ip_address(base + (number * 64 + each) * 4)}/30" for each in range(64)]
        spec = {"vpc": "shop", "cidrs": cidrs}
        documents.append(topologies.document("Network", "shop", f"n{number:05}", spec))
    assert too_many(documents) == [
        (
            "/metadata/name",
            "VPC shop/shop has more than the 65536 CIDRs of networks that a divider can hold; "
            "use wider ones",
        )
    ]


def test_the_schemas_allow_as_many_hosts_in_a_set_as_the_tables_do() -> None:
    for kind, role in (("VPC", "dividers"), ("Network", "bouncers")):
        properties = schemas()[kind]["properties"]["spec"]["properties"]
        assert properties[role]["properties"]["count"]["maximum"] == Limit.SET


def test_a_near_name_is_offered_only_from_ones_own_namespace() -> None:
    own = endpoint("a", "10.1.0.2", network="wep")
    (line,) = problems({"a.yaml": own})
    assert line.endswith("there is no Network shop/wep; did you mean shop/web?")
    reference = {"namespace": "shop", "name": "wep"}
    (line,) = problems({"a.yaml": endpoint("a", "10.1.0.2", namespace="blue", network=reference)})
    assert line.endswith("there is no Network shop/wep; add it, or name another")
    (line,) = problems({"a.yaml": endpoint("a", "10.1.0.2", host="edge1")})
    assert line.endswith("there is no Host edge1; did you mean edge-1?")
