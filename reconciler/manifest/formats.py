"""The `format`s of our schemas: functions that raise ValueError with what is wrong and right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from types import MappingProxyType

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")  # RFC 6335, 5.1
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")  # IFNAMSIZ with its final NUL is 16
_NETNS = re.compile(r"[A-Za-z0-9_.@:-]{1,200}")  # a file name under /run/netns
_BANDWIDTH = re.compile(r"[1-9][0-9]{0,8}[kMG]?")

# No endpoint can have these: they mean something else to every stack, or, the last, stand for
# IPv4 addresses in our tables.
_NEVER: Mapping[int, tuple[tuple[IPv4Network | IPv6Network, str], ...]] = {
    4: (
        (IPv4Network("0.0.0.0/8"), "not addresses of hosts"),
        (IPv4Network("127.0.0.0/8"), "loopback"),
        (IPv4Network("224.0.0.0/4"), "multicast"),
        (IPv4Network("255.255.255.255/32"), "broadcast"),
    ),
    6: (
        (IPv6Network("::/128"), "no address"),
        (IPv6Network("::1/128"), "loopback"),
        (IPv6Network("fe80::/10"), "link-local, which every interface gives itself"),
        (IPv6Network("ff00::/8"), "multicast"),
        (IPv6Network("::ffff:0:0/96"), "IPv4 in IPv6 notation"),
    ),
}


def _shown(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:61]}..."


def dns_label(text: str) -> None:
    """RFC 1123, as Kubernetes requires of most names."""
    if _LABEL.fullmatch(text):
        return
    rule = "use at most 63 lower-case letters, digits and hyphens"
    better = re.sub(r"[^a-z0-9]+", "-", text.lower())[:63].strip("-")
    hint = f", such as `{better}`" if better else ""
    raise ValueError(f"`{_shown(text)}` is not a name; {rule}{hint}")


def label_key(text: str) -> None:
    """Of Kubernetes: a name, with a DNS name and a slash before it if wanted."""
    prefix, slash, name = text.rpartition("/")
    parts = prefix.split(".") if slash else []
    sound = len(prefix) <= 253 and all(_LABEL.fullmatch(part) for part in parts)
    if not (_LABEL_NAME.fullmatch(name) and sound):
        raise ValueError(
            f"`{_shown(text)}` is not a label's key; write one like `app` or `example.com/app`"
        )


def label_value(text: str) -> None:
    """Of Kubernetes: empty, or at most 63 characters."""
    if text and not _LABEL_NAME.fullmatch(text):
        raise ValueError(
            f"`{_shown(text)}` is not a label's value; "
            "use at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends"
        )


def cidr(text: str) -> None:
    """A network without host bits, of addresses that endpoints can have."""
    try:
        network = ip_network(text, strict=False)
        interface = ip_interface(text)
    except ValueError:
        example = "write one like 10.1.0.0/24 or 2001:db8:1::/64"
        raise ValueError(f"`{_shown(text)}` is not an address range; {example}") from None
    if "/" not in text:
        raise ValueError(f"{text} has no prefix length; write {network} for this one address")
    if not text.rpartition("/")[2].isdecimal():
        raise ValueError(f"{text} has a mask for a prefix length; write {network}")
    if interface.ip != network.network_address:
        raise ValueError(f"{text} has bits set beyond its prefix; write {network}")
    for never, meaning in _NEVER[network.version]:
        if never.overlaps(network):
            raise ValueError(f"{network} covers {never} ({meaning}); choose another range")


def address(text: str) -> None:
    """An address that an endpoint can have."""
    found = _address(text)
    for never, meaning in _NEVER[found.version]:
        if found in never:
            raise ValueError(f"{found} is no endpoint's address ({meaning}); choose another")


def underlay_address(text: str) -> None:
    """An IPv4 address that a host can have."""
    found = _address(text)
    if isinstance(found, IPv6Address):
        raise ValueError(
            f"{found} is IPv6, and the underlay is IPv4; write the host's IPv4 address"
        )
    for never, meaning in _NEVER[found.version]:
        if found in never:
            raise ValueError(f"{found} is no host's address ({meaning}); choose another")


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        found = ip_address(text)
    except ValueError:
        found = None
    if found is not None and "%" not in text:
        return found
    head = text.partition("/")[0].partition("%")[0]
    try:
        hint = f"{_shown(text)} is more than an address; write {ip_address(head)}"
    except ValueError:
        hint = f"`{_shown(text)}` is not an address; write one like 10.1.0.11 or 2001:db8:1::11"
    raise ValueError(hint)


def mac(text: str) -> None:
    """A unicast address, six pairs of hexadecimal digits with colons."""
    if not _MAC.fullmatch(text):
        raise ValueError(f"`{_shown(text)}` is not a MAC; write one like 02:00:0a:01:00:0b, quoted")
    first = int(text[:2], 16)
    if first & 1:
        raise ValueError(
            f"{text} is a multicast MAC; make its first byte even, such as {first & 0xFE:02x}"
        )
    if not int(text.replace(":", ""), 16):
        raise ValueError(f"{text} means no MAC; leave the field out to have one derived")


def interface(text: str) -> None:
    """A name that the kernel takes for an interface."""
    if not _INTERFACE.fullmatch(text) or text in (".", ".."):
        raise ValueError(
            f"`{_shown(text)}` is not an interface's name; "
            "use at most 15 letters, digits, `-`, `_`, `.` and `@`"
        )


def netns(text: str) -> None:
    """A name under /run/netns."""
    if not _NETNS.fullmatch(text) or text in (".", ".."):
        raise ValueError(
            f"`{_shown(text)}` is not a network namespace's name; write one like `shop.web-1`"
        )


def port_name(text: str) -> None:
    """RFC 6335, section 5.1, in lower case."""
    if not _PORT_NAME.fullmatch(text):
        raise ValueError(
            f"`{_shown(text)}` is not a port's name; use at most 15 lower-case letters, digits and "
            "single hyphens, at least one letter"
        )


def bandwidth(text: str) -> None:
    """Bits per second."""
    if not _BANDWIDTH.fullmatch(text):
        raise ValueError(
            f"`{_shown(text)}` is not a bandwidth; write bits per second, such as 100M"
        )


FORMATS: Mapping[str, Callable[[str], None]] = MappingProxyType(
    {
        "address": address,
        "bandwidth": bandwidth,
        "cidr": cidr,
        "dns-label": dns_label,
        "interface": interface,
        "label-key": label_key,
        "label-value": label_value,
        "mac": mac,
        "netns": netns,
        "port-name": port_name,
        "underlay-address": underlay_address,
    }
)
