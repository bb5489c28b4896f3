"""Interfaces of endpoints: ours are veth pairs and taps, made, repaired, read back and removed.

An interface's alias says that it is ours, a note beside the pins whose it is. Interfaces that exist
already are only read. What cannot be made yet is waiting: its namespace may appear any time.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from reconciler.compile.state import Interface, InterfaceKind
from reconciler.datapath import peers, taps
from reconciler.datapath import rtnetlink as rt
from reconciler.datapath.errors import HostError, TransientError
from reconciler.datapath.netlink import (
    ADDRGEN_NONE,
    NetDevice,
    attempting,
    inside,
    make_netns,
    net_device,
    net_devices,
    netns_exists,
    netns_number,
    netns_path,
    roam,
)
from reconciler.datapath.pins import Noted, Pins

MARK = "reconciler"
KINDS = {InterfaceKind.VETH: "veth", InterfaceKind.TAP: "tun"}  # IFLA_INFO_KIND of ours
_NOTED = ("endpoint", "kind", "vni", "network", "netns", "peer")


class ForeignInterfaceError(HostError):
    """The name of one of our interfaces is taken by somebody else's."""


class NotReadyError(TransientError):
    """An interface cannot be made yet."""


class Devices:
    """The endpoints' interfaces of one host, in the current network namespace."""

    def __init__(self, host: str, pins: Pins, netns: Path, create_netns: bool) -> None:
        self._host, self._pins = host, pins
        self._netns, self._create_netns = netns, create_netns

    def read(self, found: Mapping[str, NetDevice]) -> tuple[Interface, ...]:
        """The live interfaces of endpoints, sorted by name."""
        with attempting("reading interfaces"), rt.Socket() as route:
            return roam(lambda enter: tuple(self._read(found, route, enter)))

    def _read(
        self, found: Mapping[str, NetDevice], route: rt.Socket, enter: Callable[[Path | None], None]
    ) -> Iterator[Interface]:
        for name, device in sorted(found.items()):
            note = self._note(name)
            if note and note["kind"] == InterfaceKind.EXISTING:
                yield Interface(kind=InterfaceKind.EXISTING, name=name, **_whose(note))
            elif self._ours(device, note) and device.kind == KINDS[InterfaceKind.TAP]:
                yield self._live(device, note or {}, None)
            elif self._ours(device, note):
                peer = self._peer(device, note, route, enter)
                yield self._live(device, note or {}, peer)

    def owners(self, found: Mapping[str, NetDevice]) -> dict[int, str]:
        """The endpoint of each live interface, by interface index."""
        owners = {}
        for name, device in found.items():
            note = self._note(name)
            if note is not None:
                owners[device.ifindex] = str(note["endpoint"])
            elif self._ours(device, None):
                owners[device.ifindex] = device.alias.removeprefix(self._alias(""))
        return owners

    def unready(
        self, wanted: Iterable[Interface], found: Mapping[str, NetDevice]
    ) -> dict[str, str]:
        """Interfaces that cannot be made yet, and what each waits for."""
        waiting = {}
        for each in wanted:
            if each.kind is InterfaceKind.VETH:
                reason = self._missing(each, found.get(each.name))
                if reason:
                    waiting[each.name] = reason
        return waiting

    def ensure(self, wanted: Interface) -> None:
        """Make the interface, or repair what differs, on both ends. Twice is once."""
        self.ensure_outer(wanted)
        self.ensure_inner(wanted)

    def ensure_outer(self, wanted: Interface) -> None:
        """The same for the host's end; a new pair stays down, and its inner end bare."""
        with attempting(f"interface {wanted.name}"), rt.Socket() as route:
            device = net_device(route, wanted.name)
            if wanted.kind is InterfaceKind.EXISTING:
                if device is None:
                    raise NotReadyError(f"interface {wanted.name} does not exist")
                self._write_note(wanted)
                return
            if device is not None and not self._ours(device, self._note(wanted.name)):
                raise ForeignInterfaceError(
                    f"interface {wanted.name} exists and is not ours; rename or delete it"
                )
            path = self._ready_netns(wanted)
            if device is not None and not self._holds(route, device, path, wanted):
                _delete(device)  # its peer is elsewhere, or renamed, or it is of another kind
                device = None
            self._write_note(wanted)  # from here on it is ours, even half made
            if device is None:
                _create(wanted, path)
                device = net_device(route, wanted.name)
            if device is None:
                raise NotReadyError(f"interface {wanted.name} went away while it was made")
            self._repair_outer(wanted, device)

    def ensure_inner(self, wanted: Interface) -> None:
        """The same for the endpoint's end; the pair is up from then on. Nothing if it is not ours.

        The host's end goes up last: that gives the endpoint its carrier, with routes and offloads
        in place, and only then does the kernel see that packets can be redirected into the pair.
        """
        if wanted.kind is InterfaceKind.EXISTING:
            return
        if wanted.kind is InterfaceKind.VETH:  # a tap's other end is the guest's own
            self._repair_peer(wanted)
        with attempting(f"interface {wanted.name}"), IPRoute() as route:
            route.link("set", ifname=wanted.name, state="up")

    def _repair_peer(self, wanted: Interface) -> None:
        path = netns_path(wanted.netns, self._netns)
        with attempting(f"interface {wanted.name}: {wanted.peer} in {wanted.netns or 'the host'}"):
            try:
                inside(path, lambda: peers.repair(wanted))
            except LookupError as error:
                raise NotReadyError(f"interface {wanted.peer} went away") from error

    def remove(self, name: str) -> None:
        """Delete one of ours, or forget an interface that existed before."""
        note = self._note(name)
        with attempting(f"interface {name}"), rt.Socket() as route:
            device = net_device(route, name)
            existing = note and note["kind"] == InterfaceKind.EXISTING
            if device is not None and not existing and self._ours(device, note):
                _delete(device)
        self._pins.forget(Noted.INTERFACE, name)

    def remove_all(self) -> None:
        """Delete every interface of ours and forget the rest."""
        with attempting("interfaces"), rt.Socket() as route:
            found = net_devices(route)
        for name in {*self._pins.notes(Noted.INTERFACE), *found}:
            note = self._note(name)
            if note or (name in found and self._ours(found[name], note)):
                self.remove(name)

    def tidy(self, found: Mapping[str, NetDevice]) -> None:
        """Forget interfaces that are gone, lest a stranger of the same name be taken for ours."""
        for name in self._pins.notes(Noted.INTERFACE):
            if name not in found:
                self._pins.forget(Noted.INTERFACE, name)

    def _alias(self, endpoint: str) -> str:
        return f"{MARK}:{self._host}:{endpoint}"

    def _ours(self, device: NetDevice, note: Mapping[str, Any] | None) -> bool:
        """By its alias; one that was cut short before it had an alias, by its note."""
        if device.kind not in KINDS.values():
            return False
        if device.alias or note is None:
            return device.alias.startswith(self._alias(""))
        return KINDS.get(note["kind"]) == device.kind

    def _note(self, name: str) -> dict[str, Any] | None:
        note = self._pins.read_note(Noted.INTERFACE, name)
        return note if note and note.keys() >= set(_NOTED) else None  # or another release's

    def _write_note(self, wanted: Interface) -> None:
        note = {key: value for key, value in asdict(wanted).items() if key in _NOTED}
        if self._note(wanted.name) != note:
            self._pins.note(Noted.INTERFACE, wanted.name, note)

    def _missing(self, wanted: Interface, device: NetDevice | None) -> str:
        path = netns_path(wanted.netns, self._netns)
        if path is not None and not netns_exists(path):
            if self._create_netns and not wanted.netns.startswith("/"):
                return ""
            return f"network namespace {wanted.netns}"
        note = self._note(wanted.name)
        if device is not None and note is not None:  # perhaps it was made already
            there = (note["netns"], note["peer"]) == (wanted.netns, wanted.peer)
            if there and self._ours(device, note):
                return ""
        with attempting(f"interface {wanted.name}"), suppress(FileNotFoundError):
            taken = inside(path, lambda: _find(wanted.peer))
            if taken is None or (device is not None and taken.peer == device.ifindex):
                return ""
        where = f"network namespace {wanted.netns}" if wanted.netns else "the host"
        return f"the name {wanted.peer} in {where}, which another interface has"

    def _ready_netns(self, wanted: Interface) -> Path | None:
        path = netns_path(wanted.netns, self._netns)
        if path is not None and not netns_exists(path):
            if not self._create_netns or wanted.netns.startswith("/"):
                raise NotReadyError(f"network namespace {wanted.netns} does not exist")
            make_netns(path, self._alias(wanted.endpoint))
        return path

    def _holds(
        self, route: rt.Socket, device: NetDevice, path: Path | None, wanted: Interface
    ) -> bool:
        """Whether ours is of that kind, and a veth's other end that of that namespace."""
        if device.kind != KINDS[wanted.kind]:
            return False
        if wanted.kind is InterfaceKind.TAP:
            return True
        if not _leads_to(route, device, path):
            return False
        other = inside(path, lambda: _find(wanted.peer))
        return other is not None and other.ifindex == device.peer

    def _repair_outer(self, wanted: Interface, device: NetDevice) -> None:
        changes: dict[str, Any] = {}
        if device.alias != self._alias(wanted.endpoint):
            changes["ifalias"] = self._alias(wanted.endpoint)
        if device.addrgen != ADDRGEN_NONE:
            mode = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", ADDRGEN_NONE)]}
            changes["IFLA_AF_SPEC"] = {"attrs": [("AF_INET6", mode)]}
        if device.mtu != wanted.mtu:
            changes["mtu"] = wanted.mtu
        if changes:
            with IPRoute() as route:
                route.link("set", index=device.ifindex, **changes)

    def _live(
        self, device: NetDevice, note: Mapping[str, Any], peer: peers.Peer | None
    ) -> Interface:
        kind = next(kind for kind, name in KINDS.items() if name == device.kind)
        live = Interface(
            device.name,
            note.get("endpoint", device.alias.removeprefix(self._alias(""))),
            kind,
            note.get("vni", 0),
            note.get("network", 0),
            mtu=device.mtu,
        )
        faults = []
        if device.alias != self._alias(live.endpoint):
            faults.append("alias is not ours")
        if device.addrgen != ADDRGEN_NONE:
            faults.append("makes link-local addresses")
        if not device.up:
            faults.append("down")
        if kind is InterfaceKind.TAP:
            return replace(live, faults=tuple(faults))
        if peer is None:
            return replace(live, faults=(*faults, "peer is elsewhere"))
        if peer.device.mtu != device.mtu:
            faults.append(f"MTU of the peer is {peer.device.mtu}")
        if not peer.device.up:
            faults.append("peer is down")
        if not peer.gro:
            faults.append("peer has GRO off")
        offloads = bool(peer.offloads) and peer.offloads == peer.bearable
        if not offloads:
            faults += [f"peer has {each} on" for each in peer.offloads]
        return replace(
            live,
            offloads=offloads,
            netns=note["netns"],
            peer=note["peer"],
            mac=peer.device.mac.hex(":"),
            addresses=peer.addresses,
            routes=peer.routes,
            faults=tuple(faults),
        )

    def _peer(
        self,
        device: NetDevice,
        note: Mapping[str, Any] | None,
        route: rt.Socket,
        enter: Callable[[Path | None], None],
    ) -> peers.Peer | None:
        """The other end, if it is where the note says; `enter` moves the calling thread there."""
        if note is None:
            return None
        path = netns_path(note["netns"], self._netns)
        if path is not None and not netns_exists(path):
            return None
        try:
            if not _leads_to(route, device, path):
                return None
            enter(path)
        except FileNotFoundError:
            return None  # the namespace went away meanwhile
        peer = peers.look(note["peer"])
        return peer if peer is not None and peer.device.ifindex == device.peer else None


def _leads_to(route: rt.Socket, device: NetDevice, path: Path | None) -> bool:
    """Whether the other end of a veth is in that namespace."""
    number = -1 if path is None else netns_number(route, path)
    return number == device.peer_netns and (path is None or number >= 0)


def _create(wanted: Interface, path: Path | None) -> None:
    """A tap; or a pair, its inner end where it belongs from the first moment."""
    if wanted.kind is InterfaceKind.TAP:
        taps.create(wanted.name)
        return
    peer: dict[str, Any] = {"ifname": wanted.peer, "address": wanted.mac, "mtu": wanted.mtu}
    with ExitStack() as stack:
        if path is not None:
            peer["net_ns_fd"] = stack.enter_context(path.open("rb")).fileno()
        route = stack.enter_context(IPRoute())
        try:
            route.link("add", ifname=wanted.name, kind="veth", mtu=wanted.mtu, peer=peer)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
            where = wanted.netns or "the host"
            raise NotReadyError(f"another interface in {where} is called {wanted.peer}") from error


def _delete(device: NetDevice) -> None:
    with IPRoute() as route:
        route.link("del", index=device.ifindex)


def _whose(note: Mapping[str, Any]) -> dict[str, Any]:
    return {key: note[key] for key in ("endpoint", "vni", "network")}


def _find(name: str) -> NetDevice | None:
    with rt.Socket() as route:
        return net_device(route, name)
