"""MAC addresses: the virtual router's, and those derived for endpoints that name none.

All are locally administered unicast addresses: of the first byte, bit 1 is set and bit 0 is not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconciler.model.mix import mix64
from reconciler.model.topology import MAPPED

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
    """(n, 6) MACs from VNIs (n,) and first addresses (n, 16).

    Of IPv4: 02, the low byte of the VNI, the address; so they differ wherever addresses of a VPC
    do. Of IPv6: 45 bits of a hash, and bit 2 of the first byte set, so no such MAC is one of IPv4.
    A clash is a problem of the commit, like any other MAC used twice.
    """
    macs = np.empty((len(vnis), 6), np.uint8)
    macs[:, 0] = 0x02
    macs[:, 1] = vnis & 0xFF
    macs[:, 2:] = addresses[:, 12:]
    high, low = np.ascontiguousarray(addresses).view(">u8").astype(np.uint64).T
    hashed = mix64(high ^ mix64(low ^ mix64(vnis.astype(np.uint64))))
    wide = np.any(addresses[:, :12] != np.frombuffer(MAPPED, np.uint8), axis=1)
    macs[wide] = hashed[wide].astype(">u8").reshape(-1, 1).view(np.uint8)[:, 2:]
    macs[wide, 0] = macs[wide, 0] & 0xF8 | 0x06
    return macs
