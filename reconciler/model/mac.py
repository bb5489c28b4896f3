"""MAC addresses: the virtual router's, and those derived for endpoints that name none.

Both are locally administered unicast addresses (IEEE 802, second bit of the first byte set).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUTER_MAC = bytes.fromhex("020000000001")  # the same in every network of every VPC


def parse_mac(text: str) -> bytes:
    """Six bytes of `02:00:5e:10:00:01`; ValueError unless it is six pairs of hexadecimal digits."""
    parts = text.split(":")
    if len(parts) != 6 or any(len(part) != 2 for part in parts):
        raise ValueError(f"not a MAC address: {text!r}")
    return bytes(int(part, 16) for part in parts)


def format_mac(mac: bytes) -> str:
    """`02:00:5e:10:00:01`."""
    return mac.hex(":")


def derive_macs(vnis: NDArray[np.uint32], addresses: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 6) MACs from VNIs (n,) and first addresses (n, 16): 02 and 40 bits of their mixture.

    FNV-1a over the twenty bytes (VNI big-endian), folded from 64 bits. A clash within a VPC, or
    with the router, is a problem of the commit like any other MAC used twice.
    """
    octets = np.concatenate(
        [vnis.astype(">u4").reshape(-1, 1).view(np.uint8), addresses.reshape(-1, 16)], axis=1
    )
    state = np.full(len(vnis), 0xCBF29CE484222325, np.uint64)
    for column in octets.T:
        state = (state ^ column) * np.uint64(0x100000001B3)
    folded = state ^ (state >> np.uint64(40))
    macs = folded.astype(">u8").reshape(-1, 1).view(np.uint8)[:, 2:].copy()
    macs[:, 0] = 0x02
    return macs
