"""Traces: what a lab leaves on the machine, found by its name alone, and how each is removed.

Removing what is gone is success, so that `lab down` completes one that was killed.
"""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from reconciler.datapath.devices import MARK
from reconciler.datapath.netlink import netns_exists
from reconciler.lab import netns
from reconciler.lab.directory import Directory
from reconciler.lab.layout import LabError
from reconciler.lab.places import Places

MNT_DETACH = 2  # linux/fs.h


def own_namespaces(places: Places, hosts: Iterable[str]) -> list[Path]:
    """All that the lab or the agents of its hosts made: in its own folder, or with their marks."""
    found = sorted(places.netns.iterdir()) if places.netns.is_dir() else []
    if places.own:
        return found
    agents = tuple(f"{MARK}:{host}:" for host in hosts)
    marks = ((each, netns.mark_of(each)) for each in found)
    return [each for each, mark in marks if mark == places.mark or mark.startswith(agents)]


def refuse_foreign(places: Places, directory: Directory, known: set[str]) -> None:
    """LabError if anything of the lab's names exists and is not its own; `known` are its hosts."""
    own = set(own_namespaces(places, known))
    for each in (places.router, *sorted({member.netns for member in directory.everybody})):
        if netns_exists(each) and each not in own:
            raise LabError(
                f"namespace {each} exists and is not this lab's; remove it "
                f"(`ip netns del {each.name}`), or give the lab a --name of its own"
            )
    for host in sorted({each.name for each in directory.hosts} - known):
        if places.pins(host).exists():
            raise LabError(
                f"host {host}: {places.pins(host)} exists and is not this lab's; "
                f"`reconciler host remove --host {host}`, or give the lab a --name of its own"
            )


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
