"""Tap devices for virtual machines: persistent, so that they outlive their maker and any guest.

Whoever opens one later (qemu) says how frames are passed; nothing of that is decided here.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from reconciler.datapath.errors import HostError

CLONE = Path("/dev/net/tun")
# linux/if_tun.h
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_TAP, _NO_PI, _EXCLUSIVE = 0x0002, 0x1000, 0x8000
_REQUEST = struct.Struct("16sH22x")  # struct ifreq: name, flags


class NoTapsError(HostError):
    """This machine cannot make taps."""


def create(name: str) -> None:
    """Make it in the calling thread's network namespace; OSError if the name is taken (EBUSY)."""
    try:
        clone = os.open(CLONE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NoTapsError(
            f"interface {name}: {CLONE} is missing; load the module tun (`modprobe tun`)"
        ) from error
    try:
        flags = _TAP | _NO_PI | _EXCLUSIVE
        fcntl.ioctl(clone, _TUNSETIFF, _REQUEST.pack(name.encode(), flags))
        fcntl.ioctl(clone, _TUNSETPERSIST, 1)
    finally:
        os.close(clone)
