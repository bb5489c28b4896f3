"""The few formats of rtnetlink(7) that are read or written by the hundred (linux/rtnetlink.h).

Everything else goes through pyroute2, which is slower by an order of magnitude and knows them all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BBHiII")  # ifinfomsg: family, padding, type, index, flags, change
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst_len, ..., table, protocol, scope, type
NEIGHBOUR = struct.Struct("=BBHiHBB")  # ndmsg: family, padding, ifindex, state, flags, type
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type

ERROR, DONE = 2, 3
NEWLINK, DELLINK = 16, 17
NEWROUTE, GETROUTE = 24, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
REQUEST, ACK, DUMP, CREATE = 1, 4, 0x300, 0x400
INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU = 1, 3, 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTN_UNICAST = 1, 4, 5, 1
NDA_DST, NDA_LLADDR, NTF_USE = 1, 2, 1
VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # neighbours: reachable, stale, delay, probe, permanent


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a datagram; `body` starts after its header."""

    kind: int
    flags: int
    sequence: int
    body: memoryview


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of a datagram."""
    data, at = memoryview(datagram), 0
    while at + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield Message(kind, flags, sequence, data[at + HEADER.size : at + length])
        at += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute whose value is a multiple of four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def attributes(body: memoryview, at: int) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute; `at` is the size of the structure before them."""
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, bytes(body[at + _ATTRIBUTE.size : at + length])
        at += (length + 3) & ~3
