"""Subnets: the CIDRs of all networks as arrays, to place many addresses at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from reconciler.model.ranges import reserved
from reconciler.model.topology import Address, Cidr, Network, packed

Words = NDArray[np.uint64]  # (..., 2): an address as two numbers, the high one first


def words(octets: NDArray[np.uint8]) -> Words:
    """(m, 2) from addresses (m, 16)."""
    return np.ascontiguousarray(octets).view(">u8").astype(np.uint64)


def _word_pair(number: int) -> tuple[int, int]:
    return number >> 64, number & ((1 << 64) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Subnets:
    """K networks with at most J CIDRs each."""

    base: Words  # (K, J, 2)
    mask: Words  # (K, J, 2); where there is no CIDR, a base that no masked address equals
    gateway: Words  # (K, J, 2)
    last: Words  # (K, J, 2)
    narrow: NDArray[np.bool_]  # (K, J) two addresses, both of which may be used
    sure: NDArray[np.bool_]  # (K,) whether these are all that the network is to have

    @classmethod
    def of(cls, networks: Sequence[Network], sure: Sequence[bool]) -> Subnets:
        """Arrays of the CIDRs, in their order."""
        shape = (len(networks), max((len(each.cidrs) for each in networks), default=0))
        base = np.ones((*shape, 2), np.uint64)
        mask, gateway, last = np.zeros_like(base), np.zeros_like(base), np.zeros_like(base)
        narrow = np.zeros(shape, np.bool_)
        for k, network in enumerate(networks):
            for j, (cidr, router) in enumerate(zip(network.cidrs, network.gateways, strict=True)):
                host_bits = cidr.max_prefixlen - cidr.prefixlen
                base[k, j] = _word_pair(_number(cidr.network_address))
                mask[k, j] = _word_pair((1 << 128) - (1 << host_bits))
                gateway[k, j] = _word_pair(_number(router))
                # an IPv6 subnet has no broadcast address
                last[k, j] = _word_pair(_number(cidr[-1] if cidr.version == 4 else cidr[0]))
                narrow[k, j] = cidr.num_addresses <= 2
        return cls(base, mask, gateway, last, narrow, np.array(sure, np.bool_))

    def around(self, network: NDArray[np.int32], address: Words) -> NDArray[np.int8]:
        """(m,) which CIDR of its network holds each address, -1 if none does."""
        found = np.full(len(address), -1, np.int8)
        for j in range(self.base.shape[1]):
            inside = np.all(address & self.mask[network, j] == self.base[network, j], axis=1)
            found[inside & (found < 0)] = j
        return found

    def taken(
        self, network: NDArray[np.int32], cidr: NDArray[np.int8], address: Words
    ) -> NDArray[np.bool_]:
        """(m,) whether an address inside that CIDR is the gateway's or reserved."""

        def equals(other: Words) -> NDArray[np.bool_]:
            equal: NDArray[np.bool_] = np.all(address == other[network, cidr], axis=1)
            return equal

        edge = equals(self.base) | equals(self.last)
        return equals(self.gateway) | (edge & ~self.narrow[network, cidr])


def _number(address: Address) -> int:
    return int.from_bytes(packed(address), "big")


def free_addresses(network: Network, version: int, used: set[Address]) -> Iterator[Address]:
    """Addresses of one family that an endpoint could have, lowest first."""
    for cidr, gateway in zip(network.cidrs, network.gateways, strict=True):
        if cidr.version == version:
            for address in _hosts(cidr):
                if address != gateway and address not in used and not reserved(cidr, address):
                    yield address


def _hosts(cidr: Cidr) -> Iterator[Address]:
    """All addresses, one after the other."""
    for offset in count():
        if offset >= cidr.num_addresses:
            return
        yield cidr[offset]
