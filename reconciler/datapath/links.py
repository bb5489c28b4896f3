"""Programs and where they are attached: pinned programs, pinned links, atomic switches.

A link keeps its interface's program running while nobody holds it but the pin; switching its
program is one step in the kernel, so that a packet sees the old one or the new one, never none.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass

from reconciler.compile.state import AttachMode, Link, Program
from reconciler.datapath import libbpf
from reconciler.datapath.errors import HostError, TransientError
from reconciler.datapath.libbpf import BpfError, Fd, LinkInfo
from reconciler.datapath.netlink import NetDevice
from reconciler.datapath.pins import Noted, Pinned, Pins

_FLAGS = {AttachMode.GENERIC: 1 << 1, AttachMode.NATIVE: 1 << 2, AttachMode.OFFLOAD: 1 << 3}
# IFLA_XDP_ATTACHED, enum of linux/if_link.h
_ATTACHED = {1: AttachMode.NATIVE, 2: AttachMode.GENERIC, 3: AttachMode.OFFLOAD}
_INSTEAD = {
    AttachMode.OFFLOAD: (AttachMode.NATIVE, AttachMode.GENERIC),
    AttachMode.NATIVE: (AttachMode.GENERIC,),
    AttachMode.GENERIC: (),
    AttachMode.TC: (),  # its programs are others
}
# What drivers say when they cannot run a program: no support at all, MTU or queues do not fit.
_REFUSALS = (errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.ENOSPC)


class NoInterfaceError(TransientError):
    """The interface to attach to is not there."""


class OccupiedError(HostError):
    """Somebody else's XDP program runs on the interface."""


class NoProgramError(TransientError):
    """The program to attach was not loaded."""


@dataclass(frozen=True, slots=True)
class _Pinned:
    """A pinned link; `device` is None when its interface is gone, or has another program."""

    name: str
    info: LinkInfo
    device: NetDevice | None


class Links:
    """The programs and links of one host, in the current network namespace."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    def programs(self) -> tuple[Program, ...]:
        """Live programs, sorted; one whose note is not of this load has neither digest nor more."""
        found = []
        for name in self._pins.names(Pinned.PROGRAM):
            note = self._pins.read_note(Noted.PROGRAM, name) or {}
            known = note.keys() >= {"constants", "digest"}
            if known and note.get("id") == self._program_id(name):
                found.append(Program(name, bytes.fromhex(note["constants"]), note["digest"]))
            else:
                found.append(Program(name, b""))
        return tuple(found)

    def read(
        self, devices: Mapping[str, NetDevice], names: Set[str] | None = None
    ) -> tuple[Link, ...]:
        """Live links, sorted by interface; of all interfaces, or of those that are named."""
        programs = {self._program_id(name): name for name in self._pins.names(Pinned.PROGRAM)}
        found = []
        for each in self._pinned(devices, names):
            if each.device is not None:
                program = programs.get(each.info.program_id, f"#{each.info.program_id}")
                mode, fallback = self._mode(each, each.device)
                found.append(Link(each.name, program, mode, fallback))
        return tuple(found)

    def keep_program(self, pins: Pins, program: Program, loaded: Fd) -> None:
        """Pin a program that was just loaded, in a set that may not be in force yet."""
        pins.put(Pinned.PROGRAM, program.name, loaded)
        number = libbpf.program_info(loaded).id
        note = {"id": number, "digest": program.digest, "constants": program.constants.hex()}
        pins.note(Noted.PROGRAM, program.name, note)

    def switch(self, before: Pins) -> None:
        """Switch links from the programs of the set before to those of the set in force.

        A link that refuses keeps its program, and is a difference from now on.
        """
        old = {_program_id(before, name): name for name in before.names(Pinned.PROGRAM)}
        for each in self._pins.names(Pinned.LINK):
            with self._open(each) as link:
                name = old.get(libbpf.link_info(link).program_id, "")
                program = self._pins.get(Pinned.PROGRAM, name) if name else None
                if program is not None:
                    with program, suppress(BpfError):
                        libbpf.update_link(link, program)

    def remove_program(self, name: str) -> None:
        """Unpin a program; it runs on while a link has it."""
        self._pins.remove(Pinned.PROGRAM, name)
        self._pins.forget(Noted.PROGRAM, name)

    def attach(self, wanted: Link, devices: Mapping[str, NetDevice]) -> str:
        """Attach, or switch what is attached; in which mode instead and why, or ''."""
        device = devices.get(wanted.interface)
        if device is None:
            raise NoInterfaceError(f"interface {wanted.interface} does not exist")
        program = self._pins.get(Pinned.PROGRAM, wanted.program)
        if program is None:
            raise NoProgramError(f"program {wanted.program} is not loaded")
        with program:
            pinned = next(iter(self._pinned(devices, {wanted.interface})), None)
            if pinned is not None and pinned.device is not None:
                mode, fallback = self._mode(pinned, device)
                if mode is wanted.mode:
                    with self._open(wanted.interface) as link:
                        libbpf.update_link(link, program)
                    return fallback
            if pinned is not None:
                self.detach(wanted.interface)  # gone with its interface, or of another mode
            return self._attach(wanted, device, program)

    def detach(self, interface: str) -> None:
        """Take the program off the interface; what is gone is gone."""
        link = self._pins.get(Pinned.LINK, interface)
        if link is not None:
            with link:
                libbpf.detach_link(link)
        self._pins.remove(Pinned.LINK, interface)
        self._pins.forget(Noted.LINK, interface)

    def tidy(self, devices: Mapping[str, NetDevice]) -> None:
        """Unpin links whose interface is gone."""
        for each in self._pinned(devices):
            if each.device is None:
                self.detach(each.name)

    def remove_all(self) -> None:
        """Detach every link and unpin every program."""
        for name in self._pins.names(Pinned.LINK):
            self.detach(name)
        for name in self._pins.names(Pinned.PROGRAM):
            self.remove_program(name)

    def _attach(self, wanted: Link, device: NetDevice, program: Fd) -> str:
        refused: dict[AttachMode, BpfError] = {}
        for mode in (wanted.mode, *_INSTEAD[wanted.mode]):
            try:
                link = _create(program, device.ifindex, mode)
            except BpfError as error:
                if error.errno in (errno.EBUSY, errno.EEXIST):
                    raise OccupiedError(
                        f"another XDP program, {device.xdp_program}, runs on {device.name}; "
                        f"take it off (ip link set {device.name} xdp off) or leave it to us"
                    ) from error
                if error.errno == errno.ENODEV:
                    raise NoInterfaceError(f"interface {device.name} went away") from error
                if error.errno not in _REFUSALS:
                    raise
                refused[mode] = error
                continue
            with link:
                return self._keep(wanted, mode, refused, link)
        raise refused[wanted.mode]

    def _keep(
        self, wanted: Link, mode: AttachMode, refused: Mapping[AttachMode, BpfError], link: Fd
    ) -> str:
        reasons = (f"{each} is refused ({error.reason})" for each, error in refused.items())
        fallback = f"runs in {mode} mode: {', '.join(reasons)}" if refused else ""
        if fallback:
            note = {"wanted": wanted.mode, "mode": mode, "fallback": fallback}
            self._pins.note(Noted.LINK, wanted.interface, note)
        else:
            self._pins.forget(Noted.LINK, wanted.interface)
        self._pins.put(Pinned.LINK, wanted.interface, link)
        return fallback

    def _mode(self, pinned: _Pinned, device: NetDevice) -> tuple[AttachMode, str]:
        """The mode that was wanted, and in which it runs instead, if the note is true."""
        if pinned.info.is_tc:
            return AttachMode.TC, ""
        mode = _ATTACHED.get(device.xdp_mode, AttachMode.GENERIC)
        note = self._pins.read_note(Noted.LINK, pinned.name)
        if note and note.keys() >= {"wanted", "fallback"} and note.get("mode") == mode:
            with suppress(ValueError):  # a mode that this release does not know
                return AttachMode(note["wanted"]), note["fallback"]
        return mode, ""

    def _pinned(
        self, devices: Mapping[str, NetDevice], only: Set[str] | None = None
    ) -> list[_Pinned]:
        found = []
        for name in self._pins.names(Pinned.LINK):
            if only is not None and name not in only:
                continue
            with self._open(name) as link:
                info = libbpf.link_info(link)
            device = devices.get(name)
            # A link follows its interface into another namespace; then it is not ours to count.
            if device is not None and not _runs(info, device):
                device = None
            found.append(_Pinned(name, info, device))
        return found

    def _open(self, name: str) -> Fd:
        return libbpf.get(self._pins.path(Pinned.LINK, name))

    def _program_id(self, name: str) -> int:
        return _program_id(self._pins, name)


def _runs(link: LinkInfo, device: NetDevice) -> bool:
    """Whether a link's program is on that device."""
    there = link.is_tc or device.xdp_program == link.program_id
    return there and device.ifindex == link.ifindex


def _create(program: Fd, ifindex: int, mode: AttachMode) -> Fd:
    if mode is not AttachMode.TC:
        return libbpf.create_xdp_link(program, ifindex, _FLAGS[mode])
    try:
        return libbpf.create_tc_link(program, ifindex)
    except BpfError as error:
        if error.errno == errno.EINVAL:
            raise HostError(
                "attachMode tc needs kernel 6.6 or later; choose native or generic in the Host"
            ) from error
        raise


def _program_id(pins: Pins, name: str) -> int:
    program = pins.get(Pinned.PROGRAM, name)
    if program is None:
        return 0
    with program:
        return libbpf.program_info(program).id
