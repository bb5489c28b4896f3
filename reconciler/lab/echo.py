"""ICMP echo between namespaces: real requests, answered by the kernels of those who are asked.

Raw sockets in every namespace also hear the requests that arrive, so an observation says who was
reached, not only that somebody answered: two tenants may use the same address.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from reconciler.datapath.netlink import inside
from reconciler.model.topology import Address

REQUEST, REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}  # RFC 792, RFC 4443
PAYLOAD = struct.Struct("!8sIII")  # token, source, target, number


class Echo(NamedTuple):
    """What a packet of ours says of itself; `source` and `target` are the caller's numbers."""

    reply: bool
    source: int
    target: int
    number: int


class Port:
    """Raw ICMP and ICMPv6 sockets in a namespace; `token` keeps others' echoes out."""

    def __init__(self, namespace: Path, token: bytes) -> None:
        self.token = token
        self.sockets = inside(namespace, self._open)

    @staticmethod
    def _open() -> dict[int, socket.socket]:
        four = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        six = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        for each in (four, six):
            each.setblocking(False)
        return {4: four, 6: six}

    def close(self) -> None:
        """Close both sockets; a namespace lives as long as a socket in it."""
        for each in self.sockets.values():
            each.close()

    def send(self, to: Address, source: int, target: int, number: int) -> bool:
        """Send one request; False if the namespace's own routes or neighbours refuse it."""
        payload = PAYLOAD.pack(self.token, source, target, number)
        head = struct.Struct("!BBHHH")
        kind, name = REQUEST[to.version], source & 0xFFFF
        checksum = 0
        if to.version == 4:  # of ICMPv6 the kernel does it (RFC 3542, 3.1)
            checksum = _checksum(head.pack(kind, 0, 0, name, number & 0xFFFF) + payload)
        packet = head.pack(kind, 0, checksum, name, number & 0xFFFF) + payload
        with suppress(OSError):
            self.sockets[to.version].sendto(packet, (str(to), 0))
            return True
        return False

    def heard(self, version: int) -> Iterator[Echo]:
        """Requests and replies of ours that have arrived."""
        while True:
            try:
                packet = self.sockets[version].recv(2048)
            except BlockingIOError:
                return
            # An IPv4 raw socket gives the IP header too (raw(7)), an IPv6 one does not.
            body = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
            if len(body) >= 8 + PAYLOAD.size and body[0] in (REQUEST[version], REPLY[version]):
                token, source, target, number = PAYLOAD.unpack_from(body, 8)
                if token == self.token:
                    yield Echo(body[0] == REPLY[version], source, target, number)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@contextmanager
def _ports(namespaces: Iterable[Path]) -> Iterator[list[Port]]:
    token = os.urandom(8)
    with ExitStack() as stack:
        ports = []
        for each in namespaces:
            ports.append(Port(each, token))
            stack.callback(ports[-1].close)
        yield ports


@dataclass(frozen=True, slots=True)
class Reached:
    """Who heard a request, by position in the list of namespaces; whether it was answered."""

    heard: frozenset[int]
    answered: bool


def ask_everywhere(
    namespaces: Sequence[Path],
    questions: Sequence[tuple[int, Address]],
    attempts: int = 3,
    patience: float = 0.6,
) -> list[Reached]:
    """Ask each (position of the asker, address); who is not answered is asked again.

    `patience` is how long in seconds an attempt waits after its last request.
    """
    heard: list[set[int]] = [set() for _ in questions]
    answered = [False] * len(questions)
    with _ports(namespaces) as ports, selectors.DefaultSelector() as selector:
        for position, port in enumerate(ports):
            for version, sock in port.sockets.items():
                selector.register(sock, selectors.EVENT_READ, (position, version))

        def listen(seconds: float) -> None:
            for key, _ in selector.select(seconds):
                position, version = key.data
                for echo in ports[position].heard(version):
                    if echo.reply:
                        answered[echo.target] = True
                    else:
                        heard[echo.target].add(position)

        for attempt in range(attempts):
            for number, (asker, address) in enumerate(questions):
                if not answered[number]:
                    ports[asker].send(address, asker, number, attempt)
                    listen(0)
            limit = time.monotonic() + patience
            while time.monotonic() < limit and not all(answered):
                listen(limit - time.monotonic())
    return [Reached(frozenset(h), a) for h, a in zip(heard, answered, strict=True)]


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a stream: when it was sent and answered, in seconds of the monotonic clock."""

    sent: float
    answered: float | None


class Stream:
    """A ping that runs beside what else happens: one request every `interval` seconds."""

    def __init__(self, namespace: Path, address: Address, interval: float = 0.01) -> None:
        self._port = Port(namespace, os.urandom(8))
        self._address, self._interval = address, interval
        self._sent: list[float] = []
        self._answered: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ping {address}")

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        due = time.monotonic()
        with selectors.DefaultSelector() as selector:
            version = self._address.version
            selector.register(self._port.sockets[version], selectors.EVENT_READ)
            while not self._stop.is_set():
                now = time.monotonic()
                if now >= due:
                    self._sent.append(now)
                    self._port.send(self._address, 0, 0, len(self._sent) - 1)
                    due += self._interval
                selector.select(max(0.0, due - time.monotonic()))
                self._collect()
            limit = time.monotonic() + 1.0  # what is still on its way
            while len(self._answered) < len(self._sent) and time.monotonic() < limit:
                selector.select(limit - time.monotonic())
                self._collect()

    def _collect(self) -> None:
        now = time.monotonic()
        for echo in self._port.heard(self._address.version):
            if echo.reply:
                self._answered.setdefault(echo.number, now)

    def stop(self) -> None:
        """Send no more, wait a second for the last answers, close. Twice is once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._port.close()

    @property
    def samples(self) -> list[Sample]:
        """Every request sent so far; complete once stopped."""
        sent = list(self._sent)
        return [Sample(at, self._answered.get(number)) for number, at in enumerate(sent)]
