"""Checks of a host state read from a file: what is wrong, and where, before anything is applied."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, TypeVar

from reconciler.compile.state import Interface, InterfaceKind
from reconciler.model.mac import parse_mac

Value = TypeVar("Value")
TYPES = {str: "a text", int: "a number", list: "a list", dict: "an object"}
NAME_LIMIT = 15  # IFNAMSIZ - 1


class SerialError(ValueError):
    """A text is no host state that this release can read; the author must make it again."""

    def __init__(self, place: str, message: str) -> None:
        """`place` is a path such as `tables.hosts[3].key`, or '' for the whole."""
        super().__init__(f"{place}: {message}" if place else message)


def take(
    body: Any, place: str, wanted: set[str], also: frozenset[str] | set[str] = frozenset()
) -> None:
    """Demand an object with all `wanted` keys and, besides, none but `also`."""
    if not isinstance(body, dict):
        raise SerialError(place, "needs an object")
    missing, strange = wanted - set(body), set(body) - wanted - also
    if missing:
        raise SerialError(place, f"lacks {min(missing)}")
    if strange:
        raise SerialError(place, f"{min(strange)!r} means nothing here")


def part(body: dict[str, Any], name: str, kind: type[Value], place: str = "") -> Value:
    """The value of a key, if it is of that type."""
    value = body[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise SerialError(f"{place}.{name}" if place else name, f"needs {TYPES[kind]}")
    return value


def check_interface(place: str, end: Interface) -> None:
    """Names that the kernel takes and that lead out of no folder; addresses that are some."""
    for column, name in (("name", end.name), ("peer", end.peer)):
        if not (name == "" and column == "peer") and not is_interface_name(name):
            raise SerialError(f"{place}.{column}", f"{name!r} is no name of an interface")
    if not end.netns.startswith("/") and ("/" in end.netns or end.netns in (".", "..")):
        raise SerialError(f"{place}.netns", f"{end.netns!r} is neither a name nor an absolute path")
    for column, number in (("vni", end.vni), ("network", end.network), ("mtu", end.mtu)):
        if not 0 <= number < 1 << 32:
            raise SerialError(f"{place}.{column}", f"{number} is no 32-bit number")
    if end.kind is InterfaceKind.VETH:
        _try(f"{place}.mac", parse_mac, end.mac)
    for number, text in enumerate(end.addresses):
        _try(f"{place}.addresses[{number}]", ip_interface, text)
    for number, route in enumerate(end.routes):
        here = f"{place}.routes[{number}]"
        if route.destination != "default":
            _try(f"{here}.destination", ip_network, route.destination)
        _try(f"{here}.gateway", ip_address, route.gateway)


def is_interface_name(name: str) -> bool:
    """What the kernel accepts: dev_valid_name of net/core/dev.c."""
    plain = 0 < len(name.encode()) <= NAME_LIMIT and name not in (".", "..")
    return plain and not any(each in "/:" or each.isspace() or each == "\0" for each in name)


def _try(place: str, parser: Any, text: Any) -> None:
    try:
        if not isinstance(text, str):
            raise ValueError
        parser(text)
    except ValueError:
        raise SerialError(place, f"{text!r} cannot be read") from None
