"""Numbers and names that are pure functions of a manifest's: the same on every host and commit."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

SALT = "reconciler/salt"  # annotation; a different value gives a different number


def _digest(*parts: str) -> bytes:
    """BLAKE2b of the parts, each closed by a zero byte, which no name contains."""
    return blake2b("".join(f"{part}\0" for part in parts).encode(), digest_size=8).digest()


def _number(digest: bytes) -> int:
    """32 bits, never 0."""
    return int.from_bytes(digest[:4], "big") or 1


def network_number(name: str, salt: str = "") -> int:
    """Of "namespace/name"."""
    return _number(_digest("network", name, salt))


def identity(namespace: str, labels: Mapping[str, str], salt: str = "") -> int:
    """Of a namespace and a set of labels; their order does not matter."""
    pairs = [text for key in sorted(labels) for text in (key, labels[key])]
    return _number(_digest("identity", namespace, salt, *pairs))


def interface_digest(endpoint: str) -> int:
    """64 bits of "namespace/name"; the high 44 are the digits of `interface_name`."""
    return int.from_bytes(_digest("interface", endpoint), "big")


def interface_name(endpoint: str) -> str:
    """The host's side of an endpoint's veth, from "namespace/name": 13 bytes of the 15 allowed."""
    return f"rv{_digest('interface', endpoint).hex()[:11]}"


def peer_name(endpoint: str) -> str:
    """The other side, where it is in the host's own network namespace too."""
    return f"rp{_digest('interface', endpoint).hex()[:11]}"
