"""Traces: what a lab leaves on the machine, found by its name alone, and how each is removed.

Removing what is gone is success, so that `lab down` completes one that was killed.
"""

from __future__ import annotations

import ctypes
import shutil
from contextlib import suppress
from pathlib import Path

from reconciler.lab import netns
from reconciler.lab.places import Places

MNT_DETACH = 2  # linux/fs.h


def host_namespaces(places: Places) -> list[Path]:
    """Those of hosts, by their names."""
    return [each for each in _listed(places.netns) if each.name.startswith(f"{places.name}:")]


def own_namespaces(places: Places) -> list[Path]:
    """All that the lab or one of its agents made: in its own folder, or with its mark."""
    if places.own:
        return _listed(places.netns)
    named = set(host_namespaces(places))
    return [each for each in _listed(places.netns) if each in named or netns.marked(each)]


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def remove_tree(folder: Path) -> None:
    """Files, or pins, and their folder."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def remove_if_empty(folder: Path) -> None:
    """The folder, unless somebody has something in it."""
    with suppress(OSError):
        folder.rmdir()


def unmount(folder: Path) -> None:
    """A folder of namespaces is a mount of its own (iproute2 makes it so to share it)."""
    libc = ctypes.CDLL(None, use_errno=True)
    while libc.umount2(str(folder).encode(), MNT_DETACH) == 0:
        pass
