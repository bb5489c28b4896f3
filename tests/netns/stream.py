"""Two-way traffic that counts every packet: numbered datagrams, and a TCP connection."""

from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path

from tests.datapath.place import entered

_NUMBER = struct.Struct("<Q")
PAUSE = 0.002  # seconds between two datagrams, each way


def _socket(netns: Path, kind: socket.SocketKind, address: str) -> socket.socket:
    """A socket of another namespace: it stays there, whoever uses it."""
    with entered(netns):
        made = socket.socket(socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        made.bind((address, 7000))
        made.settimeout(0.2)
    return made


class Stream:
    """Both ways between two endpoints, each a namespace and an address, until it is stopped."""

    def __init__(self, one: tuple[Path, str], other: tuple[Path, str]) -> None:
        self._addresses = (one[1], other[1])
        self._datagrams = [_socket(netns, socket.SOCK_DGRAM, at) for netns, at in (one, other)]
        self._sent, self._got = [0, 0], [set[int](), set[int]()]
        self._echoed, self._stop = 0, threading.Event()
        listener = _socket(other[0], socket.SOCK_STREAM, other[1])
        listener.listen()
        listener.settimeout(20)
        self._client = _socket(one[0], socket.SOCK_STREAM, one[1])
        self._client.settimeout(20)
        self._client.connect((other[1], 7000))
        self._server, _ = listener.accept()
        self._server.settimeout(20)
        listener.close()
        works = [self._client_tcp, self._server_tcp]
        works += [lambda end=end: self._send(end) for end in (0, 1)]
        works += [lambda end=end: self._receive(end) for end in (0, 1)]
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(each,)) for each in works]
        for thread in self._threads:
            thread.start()

    @property
    def sent(self) -> int:
        """Datagrams, both ways."""
        return sum(self._sent)

    @property
    def lost(self) -> int:
        """Datagrams that did not arrive; to be asked after stop()."""
        return sum(self._sent) - sum(map(len, self._got))

    @property
    def echoed(self) -> int:
        """Bytes that came back over the TCP connection."""
        return self._echoed

    def go_on(self, seconds: float = 1.0) -> None:
        """Let it flow for a while."""
        time.sleep(seconds)
        assert not self._failed, self._failed

    def stop(self) -> None:
        """End it; what was sent has time to arrive."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for each in (*self._datagrams, self._client, self._server):
            each.close()
        assert not self._failed, self._failed

    def _guarded(self, work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            self._failed.append(error)

    def _send(self, end: int) -> None:
        to = (self._addresses[1 - end], 7000)
        while not self._stop.is_set():
            self._datagrams[end].sendto(_NUMBER.pack(self._sent[end]), to)
            self._sent[end] += 1
            time.sleep(PAUSE)

    def _receive(self, end: int) -> None:
        quiet = 0
        while quiet < 3:
            try:
                data = self._datagrams[1 - end].recv(64)
            except TimeoutError:
                quiet += self._stop.is_set()
                continue
            (number,) = _NUMBER.unpack(data)
            assert number not in self._got[end], "a datagram came twice"
            self._got[end].add(number)

    def _client_tcp(self) -> None:
        while not self._stop.is_set():
            self._client.sendall(bytes(1000))
            wanted = 1000
            while wanted:
                got = len(self._client.recv(wanted))
                assert got, "the connection ended"
                wanted -= got
                self._echoed += got
            time.sleep(PAUSE)
        self._client.shutdown(socket.SHUT_WR)

    def _server_tcp(self) -> None:
        while data := self._server.recv(4096):
            self._server.sendall(data)
