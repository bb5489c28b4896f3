"""The program `drops`: counts at the kernel's tracepoints what is dropped after a verdict.

A host has one of two, as its other programs are XDP's or tc's: frames that tc redirects are heard
of where the kernel frees them, which is for every frame that anybody loses.

Its links are pinned like those of interfaces, so it counts while nobody of ours runs. A kernel that
lacks a tracepoint, or refuses it to us, is no failure: the host goes on without, and says so.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.compile.programs import DROPS, TC
from reconciler.compile.state import Program
from reconciler.datapath import libbpf
from reconciler.datapath.libbpf import BpfError, Fd, Object
from reconciler.datapath.pins import Noted, Pinned, Pins

_PROGRAMS = (DROPS, DROPS + TC)
_RODATA, _NETNS = ".rodata", struct.Struct("<I")


class Tracepoints:
    """The tracepoints of one host, whose interfaces are those of the current network namespace."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    def programs(self) -> tuple[Program, ...]:
        """The live program, if there is one; without digest unless it is as it was loaded, here."""
        notes, pinned = self._notes(), self._links()
        if not notes:
            return (Program(DROPS, b""),) if pinned else ()
        found = []
        for name, note in notes.items():
            known = note.keys() >= {"digest", "netns", "links", "refused"}
            if known and (note["netns"], note["links"]) == (_netns(), pinned):
                found.append(Program(name, b"", note["digest"], _fallback(note["refused"])))
            else:
                found.append(Program(name, b""))
        return tuple(found)

    def put(self, program: Program, elf: bytes, maps: Mapping[str, Fd]) -> str:
        """Load it and attach it, in place of what is attached; what it cannot count, or ''.

        For a moment both count: a frame that is lost then is counted twice.
        """
        loaded, refused = _load(program.name, elf, maps)
        attached: dict[str, Fd] = {}
        for name, fd in loaded.items():
            try:
                attached[name] = libbpf.attach_tracepoint(fd)
            except BpfError as error:
                refused[name] = error.reason
        for name, link in attached.items():
            self._pins.put(Pinned.TRACEPOINT, name, link)
        for name in set(self._pins.names(Pinned.TRACEPOINT)) - attached.keys():
            self._pins.remove(Pinned.TRACEPOINT, name)
        note = {"digest": program.digest, "netns": _netns(), "links": self._links()}
        self._pins.note(Noted.PROGRAM, program.name, {**note, "refused": refused})
        return _fallback(refused)

    def remove(self, program: str) -> None:
        """Detach it, unless another has taken its place; what is gone is gone."""
        self._pins.forget(Noted.PROGRAM, program)
        if not self._notes():
            self.remove_all()

    def remove_all(self) -> None:
        """Detach whatever is attached."""
        for name in self._pins.names(Pinned.TRACEPOINT):
            self._pins.remove(Pinned.TRACEPOINT, name)
        for program in _PROGRAMS:
            self._pins.forget(Noted.PROGRAM, program)

    def _notes(self) -> dict[str, dict[str, Any]]:
        read = ((name, self._pins.read_note(Noted.PROGRAM, name)) for name in _PROGRAMS)
        return {name: dict(note) for name, note in read if note is not None}

    def _links(self) -> dict[str, int]:
        """The kernel's ids of the pinned links, by tracepoint."""
        found = {}
        for name in self._pins.names(Pinned.TRACEPOINT):
            with libbpf.get(self._pins.path(Pinned.TRACEPOINT, name)) as link:
                found[name] = libbpf.link_info(link).id
        return found


def _load(program: str, elf: bytes, maps: Mapping[str, Fd]) -> tuple[dict[str, Fd], dict[str, str]]:
    """The programs by tracepoint; and why there are not all, also by tracepoint."""
    with Object(elf, program) as opened:
        names = opened.programs()
    try:
        return _load_some(program, elf, maps, names), {}
    except BpfError:
        pass
    loaded: dict[str, Fd] = {}
    refused: dict[str, str] = {}
    for name in names:  # a tracepoint that this kernel lacks keeps its own program out only
        try:
            loaded |= _load_some(program, elf, maps, (name,))
        except BpfError as error:
            refused[name] = error.reason
    return loaded, refused


def _load_some(
    program: str, elf: bytes, maps: Mapping[str, Fd], names: tuple[str, ...]
) -> dict[str, Fd]:
    with Object(elf, program) as opened:
        for name in opened.programs():
            opened.set_autoload(name, name in names)
        for name in opened.maps():
            opened.reuse_map(name, maps[name])
        opened.set_initial_value(_RODATA, _NETNS.pack(_netns()))
        opened.load()
        return {name: opened.program_fd(name) for name in names}


def _netns() -> int:
    """The inode of the current network namespace, as the kernel's `ns_common.inum` has it."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def _fallback(refused: Mapping[str, str]) -> str:
    listed = "; ".join(f"{name}: {reason}" for name, reason in sorted(refused.items()))
    return f"is not attached to all tracepoints: {listed}" if refused else ""
