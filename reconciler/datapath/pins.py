"""Where a host's maps, programs and links are pinned: <bpffs>/reconciler/<host>/.

What the kernel does not keep for us (an interface's endpoint, a program's digest) stands beside
them in notes: symbolic links in the same file system, whose target is the text.

Maps and programs belong together, so they are pinned as a set: a numbered folder. The symbolic link
`set` says which one is in force; it is replaced by a rename, which is the moment of an upgrade. As
long as the set has a link `before`, what the one before it learned is yet to be carried over.
Folders that neither link names are leftovers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from reconciler.datapath import libbpf
from reconciler.datapath.errors import HostError
from reconciler.datapath.libbpf import Fd


class Pinned(StrEnum):
    """The folders of what can be pinned."""

    MAP = "maps"
    PROGRAM = "programs"
    LINK = "links"
    TRACEPOINT = "tracepoints"
    CARRIED = "carried"  # of per-CPU maps that were made anew: the sums of those before them


_OF_A_SET = (Pinned.MAP, Pinned.PROGRAM, Pinned.CARRIED)
_SET, _BEFORE = "set", "before"


class Noted(StrEnum):
    """What notes are about."""

    SET = "set"
    PROGRAM = "program"
    LINK = "link"
    INTERFACE = "interface"


class NoBpffsError(HostError):
    """The folder of the pins is on no BPF file system."""


class Pins:
    """The pins and notes of one host, with its set in force or, `at` a path, another.

    Reading makes no folder.
    """

    def __init__(self, bpffs: Path, host: str, at: str = _SET) -> None:
        self.bpffs, self._host = bpffs, host
        self.root = bpffs / "reconciler" / host
        self._set = self.root / at

    def prepare(self) -> None:
        """Make the folders, and remove leftovers; NoBpffsError unless on a BPF file system."""
        if not is_bpffs(self.bpffs):
            raise NoBpffsError(
                f"{self.bpffs} is no BPF file system; mount one: mount -t bpf bpf {self.bpffs}"
            )
        for folder in (*(each for each in Pinned if each not in _OF_A_SET), "notes"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        if not self._set.is_dir():
            self.beside().take_effect()
        self.tidy()

    def beside(self) -> Pins:
        """A new, empty set, not in force; what is in force now is the one before it."""
        numbers = [int(each.name) for each in self.root.iterdir() if each.name.isdigit()]
        made = Pins(self.bpffs, self._host, str(max(numbers, default=0) + 1))
        for folder in (*_OF_A_SET, "notes"):
            (made._set / folder).mkdir(parents=True)
        if self._set.is_dir():
            (made._set / _BEFORE).symlink_to(Path("..") / self._set.readlink())
        return made

    def before(self) -> Pins | None:
        """The set before this one, as long as something of it is yet to be carried over."""
        with suppress(FileNotFoundError):
            number = (self._set / _BEFORE).readlink().name
            return Pins(self.bpffs, self._host, number)
        return None

    def take_effect(self) -> None:
        """This set is in force from now on: one rename."""
        new = self.root / (_SET + _UNFINISHED)
        new.unlink(missing_ok=True)
        new.symlink_to(self._set.name)
        new.rename(self.root / _SET)

    def carried_over(self) -> None:
        """Nothing of the set before this one is needed any more."""
        (self._set / _BEFORE).unlink(missing_ok=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove sets that are neither in force nor the one before it."""
        kept = {self._set.readlink().name}
        with suppress(FileNotFoundError):
            kept.add((self._set / _BEFORE).readlink().name)
        for each in list(self.root.iterdir()):
            if each.name.isdigit() and each.name not in kept:
                _remove(each)

    def path(self, kind: Pinned, name: str) -> Path:
        """Where something is pinned."""
        return self._folder(kind) / _encode(name)

    def names(self, kind: Pinned) -> list[str]:
        """What is pinned, sorted; leftovers of a pin that was cut short are not."""
        with suppress(FileNotFoundError):
            found = (path.name for path in self._folder(kind).iterdir())
            return sorted(_decode(name) for name in found if not name.endswith(_UNFINISHED))
        return []

    def get(self, kind: Pinned, name: str) -> Fd | None:
        """Open what is pinned, or None."""
        path = self.path(kind, name)
        try:
            return libbpf.get(path)
        except libbpf.BpfError:
            if not path.exists():
                return None
            raise

    def put(self, kind: Pinned, name: str, fd: Fd) -> None:
        """Pin, replacing at once what was pinned there."""
        path = self.path(kind, name)
        new = path.with_name(path.name + _UNFINISHED)
        new.unlink(missing_ok=True)
        libbpf.pin(fd, new)
        new.rename(path)

    def remove(self, kind: Pinned, name: str) -> None:
        """Unpin; what is gone is gone."""
        self.path(kind, name).unlink(missing_ok=True)

    def note(self, kind: Noted, name: str, text: Mapping[str, Any]) -> None:
        """Write a note, replacing at once what stood there."""
        path = self._note(kind, name)
        new = path.with_name(path.name + _UNFINISHED)
        new.unlink(missing_ok=True)
        new.symlink_to(json.dumps(text, separators=(",", ":")))
        new.rename(path)

    def read_note(self, kind: Noted, name: str) -> dict[str, Any] | None:
        """A note, or None."""
        with suppress(FileNotFoundError, json.JSONDecodeError):
            found = json.loads(str(self._note(kind, name).readlink()))
            return found if isinstance(found, dict) else None
        return None

    def forget(self, kind: Noted, name: str) -> None:
        """Remove a note; what is gone is gone."""
        self._note(kind, name).unlink(missing_ok=True)

    def notes(self, kind: Noted) -> list[str]:
        """The names that have notes of a kind, sorted."""
        with suppress(FileNotFoundError):
            pairs = (path.name.partition(":") for path in self._note(kind, "").parent.iterdir())
            return sorted(
                _decode(name)
                for about, _, name in pairs
                if about == kind and not name.endswith(_UNFINISHED)
            )
        return []

    def remove_all(self) -> None:
        """Remove the host's folder with everything in it, and the common one if it was the last."""
        if self.root.is_dir():
            _remove(self.root)
        with suppress(OSError):  # other hosts of this kernel are still there
            self.root.parent.rmdir()

    def _folder(self, kind: Pinned) -> Path:
        return (self._set if kind in _OF_A_SET else self.root) / kind

    def _note(self, kind: Noted, name: str) -> Path:
        """A program's is part of its set, as is a set's own."""
        place = self._set if kind in (Noted.SET, Noted.PROGRAM) else self.root
        return place / "notes" / f"{kind}:{_encode(name)}"


_UNFINISHED = "~"


def _remove(folder: Path) -> None:
    """A folder with all that is in it."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            path = Path(place, name)
            if not path.is_symlink() and path.is_dir():  # a note names no path
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
    folder.rmdir()


def _encode(name: str) -> str:
    """BPF file systems refuse names with dots, which interfaces may have (eth0.100)."""
    return name.replace("%", "%25").replace("~", "%7E").replace(".", "%2E")


def _decode(name: str) -> str:
    return name.replace("%2E", ".").replace("%7E", "~").replace("%25", "%")


def is_bpffs(folder: Path) -> bool:
    """Whether the folder is in a BPF file system, as /proc/self/mountinfo has it (proc(5))."""
    place, found = folder.resolve(), ("", "")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, after = line.partition(" - ")
        mount = fields.split()[4]
        if place.is_relative_to(mount) and len(mount) >= len(found[0]):
            found = (mount, after.split()[0])
    return found[1] == "bpf"
