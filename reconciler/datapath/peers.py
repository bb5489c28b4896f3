"""The inner end of an endpoint's veth, seen and set from inside the endpoint's own namespace.

Every function here is called by a thread that is in that namespace (netlink.inside).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import EthtoolError, IoctlEthtool, NoSuchDevice

from reconciler.compile.state import Interface, Route
from reconciler.datapath import rtnetlink as rt
from reconciler.datapath.netlink import NetDevice, net_device

_IFA_F_NODAD = 2
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_RT_TABLE_MAIN, _RTNH_F_ONLINK = 254, 4
_RTPROT_KERNEL, _RTPROT_RA = 2, 9
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Peer:
    """What it is like. Addresses carry prefix lengths; all sorted."""

    device: NetDevice
    addresses: tuple[str, ...]
    routes: tuple[Route, ...]
    offloads: tuple[str, ...]  # of checksums and segments: those that are on
    bearable: tuple[str, ...]  # those that may be on where tc sends the frames on
    gro: bool


def look(name: str) -> Peer | None:
    """The interface `name`, or None."""
    with rt.Socket() as route:
        device = net_device(route, name)
        if device is None:
            return None
        addresses, routes = _addresses(route, device.ifindex), _routes(route, device.ifindex)
    with Features(name) as features:
        return Peer(device, addresses, routes, *features.offloads(), features.gro())


def repair(wanted: Interface) -> None:
    """Change what differs, and nothing else; LookupError if the interface is not there."""
    found = look(wanted.peer)
    if found is None:
        raise LookupError(wanted.peer)
    if found != as_wanted(wanted, found):
        with IPRoute() as route:
            _repair(route, wanted, found)


def as_wanted(wanted: Interface, found: Peer) -> Peer:
    """What `look` would find if nothing had to be repaired."""
    mac = bytes.fromhex(wanted.mac.replace(":", ""))
    device = replace(found.device, mac=mac, mtu=wanted.mtu, up=True)
    offloads = found.bearable if wanted.offloads else ()
    return Peer(device, wanted.addresses, wanted.routes, offloads, found.bearable, gro=True)


def _repair(route: IPRoute, wanted: Interface, found: Peer) -> None:
    device = found.device
    changes: dict[str, object] = {}
    if device.mac.hex(":") != wanted.mac:
        changes["address"] = wanted.mac
    if device.mtu != wanted.mtu:
        changes["mtu"] = wanted.mtu
    if not device.up:
        changes["state"] = "up"
    with Features(device.name) as features:
        features.leave(found.bearable if wanted.offloads else ())
        _repair_addresses(route, wanted, found)
        if changes:
            route.link("set", index=device.ifindex, **changes)
        # Last: only while this end is up does the other one learn that it may redirect into it
        # (veth_set_features, seen up to 6.18).
        features.enable_gro()
    _repair_routes(route, wanted, device.ifindex)


def _repair_addresses(route: IPRoute, wanted: Interface, found: Peer) -> None:
    """Deletions first: an address of the same IPv4 subnet as another goes with it."""
    index, present = found.device.ifindex, found.addresses
    gone = sorted(set(present) - set(wanted.addresses))
    for each in gone:
        route.addr("del", index=index, **_split(each))
    if gone:
        with rt.Socket() as reader:
            present = _addresses(reader, index)
    for each in sorted(set(wanted.addresses) - set(present)):
        flags = _IFA_F_NODAD if ":" in each else 0
        route.addr("add", index=index, flags=flags, **_split(each))


def _split(text: str) -> dict[str, object]:
    address = ipaddress.ip_interface(text)
    return {"address": str(address.ip), "prefixlen": address.network.prefixlen}


def _repair_routes(route: IPRoute, wanted: Interface, ifindex: int) -> None:
    with rt.Socket() as reader:
        found = set(_routes(reader, ifindex))  # now: addresses take routes with them
    for gone in sorted(found - set(wanted.routes)):
        route.route("del", **_arguments(gone, wanted, ifindex), scope=_SCOPE_NOWHERE)
    for new in sorted(set(wanted.routes) - found):
        scope = _SCOPE_UNIVERSE if new.gateway else _SCOPE_LINK
        route.route("add", **_arguments(new, wanted, ifindex), scope=scope)


def _arguments(each: Route, wanted: Interface, ifindex: int) -> dict[str, object]:
    arguments: dict[str, object] = {"oif": ifindex}
    if each.destination != "default":
        arguments["dst"] = each.destination
        arguments["family"] = _FAMILIES[ipaddress.ip_network(each.destination).version]
    if each.gateway:
        gateway = ipaddress.ip_address(each.gateway)
        arguments["gateway"], arguments["family"] = each.gateway, _FAMILIES[gateway.version]
        around = (ipaddress.ip_interface(address).network for address in wanted.addresses)
        if not any(gateway in network for network in around):
            arguments["flags"] = _RTNH_F_ONLINK
    return arguments


def _addresses(route: rt.Socket, ifindex: int) -> tuple[str, ...]:
    """Those of wider scope than the link: IPv6 link-local ones are the kernel's own."""
    found = []
    for answer in route.dump(rt.GETADDR, rt.ADDRESS.pack(0, 0, 0, 0, 0)):
        _, length, _, scope, index = rt.ADDRESS.unpack_from(answer.body)
        if index == ifindex and scope < _SCOPE_LINK:
            fields = rt.attributes(answer.body, rt.ADDRESS.size)
            address = ipaddress.ip_address(fields.get(rt.IFA_LOCAL) or fields[rt.IFA_ADDRESS])
            found.append(f"{address}/{length}")
    return tuple(sorted(found))


def _routes(route: rt.Socket, ifindex: int) -> tuple[Route, ...]:
    """Unicast routes of the main table that somebody added: neither the kernel nor a router."""
    found = []
    for answer in route.dump(rt.GETROUTE, rt.ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        _, length, _, _, table, protocol, _, kind, _ = rt.ROUTE.unpack_from(answer.body)
        fields = rt.attributes(answer.body, rt.ROUTE.size)
        if (
            rt.number(fields.get(rt.RTA_OIF)) == ifindex
            and table == _RT_TABLE_MAIN
            and kind == rt.RTN_UNICAST
            and protocol not in (_RTPROT_KERNEL, _RTPROT_RA)
        ):
            target, gateway = fields.get(rt.RTA_DST), fields.get(rt.RTA_GATEWAY)
            destination = f"{ipaddress.ip_address(target)}/{length}" if target else "default"
            found.append(Route(destination, str(ipaddress.ip_address(gateway)) if gateway else ""))
    return tuple(sorted(found))


class _Tool(IoctlEthtool):  # type: ignore[misc]  # pyroute2 has no types
    """Asks only once what the features are called: half of the time, and one list per kernel."""

    _names: ClassVar[list[str]] = []

    def get_stringset(self, *arguments: Any, **named: Any) -> list[str]:
        if not self._names:
            self._names.extend(super().get_stringset(*arguments, **named))
        return self._names


_BEARABLE = frozenset(
    ["tx-checksum-ip-generic", "tx-udp-segmentation"]
    + [f"tx-tcp{each}-segmentation" for each in ("", "6", "-ecn", "-mangleid")]
)


def _is_left_to_a_card(name: str) -> bool:
    segments = name.endswith("-segmentation") and name != "tx-generic-segmentation"
    return segments or name.startswith("tx-checksum-")


class Features:
    """Offload features of an interface, by ethtool's ioctl in the current namespace."""

    def __init__(self, name: str) -> None:
        self._tool = _Tool(name)
        try:
            self._found = self._tool.get_features()
        except EthtoolError as error:
            self._tool.close()
            gone = isinstance(error, NoSuchDevice)
            raise OSError(
                errno.ENODEV if gone else errno.EOPNOTSUPP, f"ethtool: {error}"
            ) from error

    def __enter__(self) -> Features:
        return self

    def __exit__(self, *_: object) -> None:
        self._tool.close()

    def offloads(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Transmit checksums and segmentation that are left to a card: what is on, what may be.

        A frame that XDP redirects loses the note that its checksum is still to be made. One of tc
        keeps it, but can be put into one tunnel only, and that must be ours.
        """
        found = {name: active for name, active, available, *_ in self._found if available}
        on = (name for name, active in found.items() if active and _is_left_to_a_card(name))
        may_be = (name for name in found if name in _BEARABLE)
        return tuple(sorted(on)), tuple(sorted(may_be))

    def gro(self) -> bool:
        """Generic receive offload; on a veth it makes the NAPI run that redirected frames need."""
        return bool(self._found["rx-gro"])

    def leave(self, wanted: tuple[str, ...]) -> None:
        """Leave these to a card, and no others."""
        on, _ = self.offloads()
        for name in {*on, *wanted}:
            self._found[name] = name in wanted
        if on != wanted:
            self._tool.set_features(self._found)

    def enable_gro(self) -> None:
        """Turn GRO on."""
        if not self.gro():
            self._found["rx-gro"] = True
            self._tool.set_features(self._found)
