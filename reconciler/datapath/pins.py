"""Where a host's maps, programs and links are pinned: <bpffs>/reconciler/<host>/.

What the kernel does not keep for us (an interface's endpoint, a program's digest) stands beside
them in notes: symbolic links in the same file system, whose target is the text.
"""

from __future__ import annotations

import json
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


class Noted(StrEnum):
    """What notes are about."""

    PROGRAM = "program"
    LINK = "link"
    INTERFACE = "interface"


class NoBpffsError(HostError):
    """The folder of the pins is on no BPF file system."""


class Pins:
    """The pins and notes of one host. Reading makes no folder."""

    def __init__(self, bpffs: Path, host: str) -> None:
        self.bpffs = bpffs
        self.root = bpffs / "reconciler" / host
        self._notes = self.root / "notes"

    def prepare(self) -> None:
        """Make the folders; NoBpffsError unless they are on a BPF file system."""
        if not is_bpffs(self.bpffs):
            raise NoBpffsError(
                f"{self.bpffs} is no BPF file system; mount one: mount -t bpf bpf {self.bpffs}"
            )
        for folder in (*Pinned, "notes"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def path(self, kind: Pinned, name: str) -> Path:
        """Where something is pinned."""
        return self.root / kind / _encode(name)

    def names(self, kind: Pinned) -> list[str]:
        """What is pinned, sorted; leftovers of a pin that was cut short are not."""
        with suppress(FileNotFoundError):
            found = (path.name for path in (self.root / kind).iterdir())
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
            pairs = (path.name.partition(":") for path in self._notes.iterdir())
            return sorted(
                _decode(name)
                for about, _, name in pairs
                if about == kind and not name.endswith(_UNFINISHED)
            )
        return []

    def remove_all(self) -> None:
        """Remove the host's folder with everything in it, and the common one if it was the last."""
        if self.root.is_dir():
            for folder in list(self.root.iterdir()):
                for path in list(folder.iterdir()):
                    path.unlink(missing_ok=True)
                folder.rmdir()
            self.root.rmdir()
        with suppress(OSError):  # other hosts of this kernel are still there
            self.root.parent.rmdir()

    def _note(self, kind: Noted, name: str) -> Path:
        return self._notes / f"{kind}:{_encode(name)}"


_UNFINISHED = "~"


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
