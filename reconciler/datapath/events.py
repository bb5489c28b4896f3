"""What changes in the host's network namespace, from netlink, as wakes: look again, never what.

A kernel tells of a neighbour each time it confirms one, and of an interface for many reasons: only
what a fact is made of counts, so that neither noise nor our own writes wake for ever.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from reconciler.datapath import rtnetlink as rt

# RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE: the underlay is IPv4
_GROUPS = 0x1 | 0x4 | 0x10 | 0x40


class Events:
    """A netlink socket of the current network namespace. Its first news of anything is a change."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, _GROUPS))
        self._socket.setblocking(False)
        self._seen: dict[Hashable, Hashable] = {}

    def fileno(self) -> int:
        """For select: readable when changed() has something to look at."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def changed(self) -> bool:
        """Whether what came since the last call, maybe nothing, may have changed a fact."""
        changed = False
        while True:
            try:
                datagram = self._socket.recv(1 << 16)
            except BlockingIOError:
                return changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._seen.clear()  # something was missed
                changed = True
                continue
            for message in rt.messages(datagram):
                changed |= self._matters(message)

    def _matters(self, message: rt.Message) -> bool:
        if message.kind in (rt.NEWLINK, rt.DELLINK):
            return self._link(message)
        if message.kind in (rt.NEWNEIGH, rt.DELNEIGH):
            return self._neighbour(message)
        return True  # addresses and routes

    def _link(self, message: rt.Message) -> bool:
        _, _, _, index, flags, _ = rt.LINK.unpack_from(message.body)
        if message.kind == rt.DELLINK:
            return self._gone(("link", index))
        found = rt.attributes(message.body, rt.LINK.size)
        facts = tuple(found.get(each) for each in (rt.IFLA_IFNAME, rt.IFLA_ADDRESS, rt.IFLA_MTU))
        return self._news(("link", index), (flags & rt.IFF_UP, *facts))

    def _neighbour(self, message: rt.Message) -> bool:
        family, _, _, ifindex, state, _, _ = rt.NEIGHBOUR.unpack_from(message.body)
        if family != socket.AF_INET:
            return False
        found = rt.attributes(message.body, rt.NEIGHBOUR.size)
        key = ("neighbour", ifindex, found.get(rt.NDA_DST))
        if message.kind == rt.DELNEIGH:
            return self._gone(key)
        return self._news(key, found.get(rt.NDA_LLADDR, b"") if state & rt.VALID else b"")

    def _news(self, key: Hashable, facts: Hashable) -> bool:
        before = self._seen.get(key)
        self._seen[key] = facts
        return before != facts

    def _gone(self, key: Hashable) -> bool:
        """Forgets it, so that no table grows for ever. What had no MAC is not missed."""
        return self._seen.pop(key, None) != b""


@contextmanager
def watch_netlink(wake: Callable[[], None]) -> Iterator[None]:
    """While inside, call `wake` from a thread of its own whenever a fact may have changed."""
    events = Events()
    stop = os.eventfd(0, os.EFD_CLOEXEC)

    poll = select.poll()
    poll.register(events, select.POLLIN)
    poll.register(stop, select.POLLIN)

    def run() -> None:
        while stop not in (number for number, _ in poll.poll()):
            if events.changed():
                wake()

    thread = threading.Thread(target=run, name="netlink", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.eventfd_write(stop, 1)
        thread.join()
        os.close(stop)
        events.close()
