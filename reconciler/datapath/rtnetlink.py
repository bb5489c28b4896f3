"""Reading rtnetlink(7): a socket, and the few formats that every round reads by the dozen.

Writing goes through pyroute2, which knows every format but takes 1 to 2 ms to open a socket and to
read one interface; here that is 0.1 ms. Formats are those of linux/{netlink,rtnetlink,if_link}.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.datapath.errors import TransientError

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BBHiII")  # ifinfomsg: family, padding, type, index, flags, change
ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst_len, ..., table, protocol, scope, type
NEIGHBOUR = struct.Struct("=BBHiHBB")  # ndmsg: family, padding, ifindex, state, flags, type
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_NUMBER = struct.Struct("=i")
_KIND = 0x3FFF  # an attribute's type without the marks "nested" and "big-endian"

ERROR, DONE = 2, 3
NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, GETADDR = 20, 22
NEWROUTE, GETROUTE = 24, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWNSID, GETNSID = 88, 90
REQUEST, ACK, DUMP, CREATE = 1, 4, 0x300, 0x400
INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_LINKINFO, IFLA_IFALIAS = 1, 3, 4, 5, 18, 20
IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_LINK_NETNSID, IFLA_XDP = 26, 29, 37, 43
IFLA_INFO_KIND, IFLA_INET6_ADDR_GEN_MODE, IFLA_XDP_ATTACHED, IFLA_XDP_PROG_ID = 1, 8, 2, 4
RTEXT_FILTER_SKIP_STATS = 8
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE, RTN_UNICAST = 1, 4, 5, 15, 1
NDA_DST, NDA_LLADDR, NTF_USE, NTF_EXT_LEARNED = 1, 2, 1, 0x10
NETNSA_NSID, NETNSA_FD = 1, 3
VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # neighbours: reachable, stale, delay, probe, permanent
_SECONDS = 5.0
_DUMPS = 5  # how often a dump that a change interrupted is repeated


class NoAnswerError(TransientError):
    """The kernel did not answer in time, or a dump was interrupted again and again."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a datagram; `body` starts after its header."""

    kind: int
    flags: int
    sequence: int
    body: memoryview

    @property
    def error(self) -> int:
        """The errno of a message of kind ERROR or DONE; 0 is success."""
        return -number(self.body)


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
    """An attribute, padded to four bytes."""
    whole = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    return whole + bytes(-len(whole) % 4)


def attributes(body: memoryview | bytes, at: int = 0) -> dict[int, bytes]:
    """Value by type; `at` is the size of the structure before them."""
    found = {}
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _KIND] = bytes(body[at + _ATTRIBUTE.size : at + length])
        at += (length + 3) & ~3
    return found


def number(value: memoryview | bytes | None, default: int = 0) -> int:
    """A signed 32-bit attribute."""
    return int(_NUMBER.unpack_from(value)[0]) if value else default


def text(value: bytes | None) -> str:
    """An attribute that is a text."""
    return value.rstrip(b"\0").decode(errors="replace") if value else ""


class Socket:
    """A netlink socket of the network namespace that the calling thread is in."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.settimeout(_SECONDS)
        self._sequence = 0

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """Everything of a kind; asked again if a change interrupted it.

        NoAnswerError if it was cut short: what a dump lacks would count as gone.
        """
        for _ in range(_DUMPS):
            found = [message for _, message in self.ask(kind, REQUEST | DUMP, [body])]
            for message in found:
                # The end of a dump carries its error as an acknowledgement does (af_netlink.c).
                if message.kind in (ERROR, DONE) and message.error:
                    raise NoAnswerError(f"netlink dump {kind}: {os.strerror(message.error)}")
            if not any(message.flags & INTERRUPTED for message in found):
                return [message for message in found if message.kind != DONE]
        raise NoAnswerError(f"a netlink dump was interrupted {_DUMPS} times by changes")

    def one(self, kind: int, body: bytes) -> Message:
        """The answer to one request; OSError if the kernel refuses it."""
        answer = next(message for _, message in self.ask(kind, REQUEST, [body]))
        if answer.kind == ERROR:
            raise OSError(answer.error, os.strerror(answer.error))
        return answer

    def ask(self, kind: int, flags: int, bodies: list[bytes]) -> Iterator[tuple[int, Message]]:
        """Send requests in one datagram; the index of the request and an answer, for each."""
        first = self._sequence + 1
        self._sequence += len(bodies)
        requests = (
            HEADER.pack(HEADER.size + len(body), kind, flags, first + index, 0) + body
            for index, body in enumerate(bodies)
        )
        self._socket.send(b"".join(requests))
        left = set(range(len(bodies)))
        while left:
            for message in self._receive():
                index = message.sequence - first
                if index not in left:
                    continue  # of a request that was given up before
                if message.kind in (ERROR, DONE) or not flags & DUMP:
                    left.discard(index)
                yield index, message

    def _receive(self) -> Iterator[Message]:
        try:
            return messages(self._socket.recv(1 << 17))
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else error.strerror
            raise NoAnswerError(f"netlink: {reason}") from error
