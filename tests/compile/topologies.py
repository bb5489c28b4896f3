"""Topologies for tests: drawn at random, or regular and of a chosen size, always built for real."""

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any

from hypothesis import strategies as st

from reconciler.manifest.document import Document
from reconciler.model.build import build
from reconciler.model.topology import Topology


def document(
    kind: str, namespace: str, name: str, spec: dict[str, Any], **metadata: Any
) -> Document:
    """A document as the loader gives it."""
    known = {"name": name, **({"namespace": namespace} if namespace else {}), **metadata}
    body = {"apiVersion": "reconciler/v1alpha1", "kind": kind, "metadata": known, "spec": spec}
    return Document(kind, namespace, name, f"{kind}/{namespace}/{name}.yaml", 0, body)


def built(documents: Iterable[Document]) -> Topology:
    """Their topology; they must have no problem."""
    found = build(documents)
    assert found.topology is not None, found.findings[:5]
    return found.topology


def host(number: int, zones: int = 3, **spec: Any) -> Document:
    """Host h0007 in one of the zones."""
    underlay = str(IPv4Address("172.31.0.0") + 256 * (number % zones) * 16 + 1 + number // zones)
    labels = {"zone": "abcdefgh"[number % zones]}
    return document("Host", "", f"h{number:04}", {"underlay": underlay, **spec}, labels=labels)


def network(number: int, size: int = 256, vpc: str = "shop", **spec: Any) -> Document:
    """Network n0007 with IPv4 and IPv6."""
    base = IPv4Address("10.0.0.0") + number * size
    prefix = 32 - (size - 1).bit_length()
    cidrs = [f"{base}/{prefix}", f"2001:db8:{number:x}::/64"]
    return document("Network", vpc, f"n{number:04}", {"vpc": vpc, "cidrs": cidrs, **spec})


def endpoint(
    number: int, network: int, host: int, size: int = 256, vpc: str = "shop", **spec: Any
) -> Document:
    """Endpoint e0000007: the address `number` of its network, without the gateway's."""
    base = IPv4Address("10.0.0.0") + network * size
    where = {"network": f"n{network:04}", "host": f"h{host:04}"}
    name = f"e{network:04}x{number:04}"
    addresses = [str(base + 2 + number), f"2001:db8:{network:x}::{2 + number:x}"]
    labels = {"app": f"a{number % 3}"}
    return document("Endpoint", vpc, name, {"addresses": addresses, **where, **spec}, labels=labels)


def regular(hosts: int, networks: int, endpoints: int) -> list[Document]:
    """One VPC; endpoints spread evenly over networks, and a network's over a dozen hosts."""
    each = -(-endpoints // max(networks, 1))
    documents = [host(number) for number in range(hosts)]
    cidrs = ["10.0.0.0/8", "2001:db8::/32"]
    documents.append(document("VPC", "shop", "shop", {"vni": 7, "cidrs": cidrs}))
    documents += [network(number, 1024) for number in range(networks)]
    for number in range(endpoints):
        place, rank = divmod(number, each)
        documents.append(endpoint(rank, place, (place * 7 + rank % 12) % hosts, 1024))
    return documents


@st.composite
def documents(draw: st.DrawFn) -> list[Document]:
    """Small clusters with two VPCs of the same addresses; one host at least takes every role."""
    hosts = draw(st.integers(1, 6))
    flags = st.fixed_dictionaries(
        {}, optional={"cordon": st.booleans(), "bounce": st.booleans(), "divide": st.booleans()}
    )
    found = [host(0), *(host(number, **draw(flags)) for number in range(1, hosts))]
    places = list(range(hosts))
    if draw(st.booleans()):
        found.append(host(20, managed=False))
        places.append(20)
    placement = st.fixed_dictionaries(
        {"count": st.integers(1, 4), "zones": st.sampled_from(["spread", "any"])}
    )
    for vni, vpc in enumerate(("blue", "shop"), 7):
        spec = {"vni": vni, "cidrs": ["10.0.0.0/8", "2001:db8::/32"], "dividers": draw(placement)}
        found.append(document("VPC", vpc, vpc, spec))
        for number in range(draw(st.integers(0, 3))):
            found.append(network(number, vpc=vpc, bouncers=draw(placement)))
            for rank in range(draw(st.integers(0, 4))):
                place = draw(st.sampled_from(places))
                found.append(endpoint(rank, number, place, vpc=vpc))
    return found
