"""CIDRs: which lie in which, which overlap, by sorting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network

from reconciler.model.topology import Address, Cidr


def contains(outer: Cidr, inner: Cidr) -> bool:
    """Whether all of `inner` lies in `outer`; never across families."""
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)


def overlaps(cidrs: Iterable[tuple[Cidr, int]]) -> Iterator[tuple[int, int]]:
    """For (CIDR, number): the pairs (number, number of one that overlaps it), one for each that
    begins inside another. CIDRs are nested or apart, so sorted ones need one look back each."""
    ordered = sorted(
        cidrs,
        key=lambda each: (
            each[0].version,
            int(each[0].network_address),
            each[0].prefixlen,
            each[1],
        ),
    )
    open_cidr: tuple[Cidr, int] | None = None
    for cidr, number in ordered:
        if open_cidr is not None and contains(open_cidr[0], cidr):
            yield number, open_cidr[1]
        else:
            open_cidr = (cidr, number)


def first_usable(cidr: Cidr) -> Address | None:
    """The first address that a host may have, where there is room for two (RFC 3021, RFC 6164)."""
    if cidr.num_addresses < 2:
        return None
    return cidr[0] if cidr.num_addresses == 2 else cidr[1]


def reserved(cidr: Cidr, address: Address) -> str:
    """What an address is that no host may have: `network` or `broadcast`, or ''.

    The first address of an IPv6 subnet is its routers' anycast address (RFC 4291, 2.6.1).
    """
    if cidr.num_addresses <= 2:
        return ""
    if address == cidr.network_address:
        return "network" if cidr.version == 4 else "routers' anycast"
    return "broadcast" if cidr.version == 4 and address == cidr.broadcast_address else ""
