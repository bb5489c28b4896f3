"""A TCP transfer between two namespaces, with what was sent compared to what arrived."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from reconciler.datapath.netlink import inside
from reconciler.model.topology import Address

CHUNK = 1 << 16
PATIENCE = 10.0  # seconds without progress


@dataclass(frozen=True, slots=True)
class Transfer:
    """`error` is '' if every byte arrived as it was sent."""

    size: int
    seconds: float
    error: str = ""


def transfer(sender: Path, receiver: Path, address: Address, size: int) -> Transfer:
    """Send `size` random bytes from namespace `sender` to `address`, in namespace `receiver`."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    digest = hashlib.sha256()

    def listen() -> socket.socket:
        server = socket.create_server((str(address), 0), family=family)
        server.settimeout(PATIENCE)
        return server

    def receive(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            while data := connection.recv(CHUNK):
                digest.update(data)
            connection.sendall(digest.digest())

    began = time.monotonic()
    try:
        with inside(receiver, listen) as server:
            thread = threading.Thread(target=receive, args=(server,), daemon=True)
            thread.start()
            port: int = server.getsockname()[1]
            echoed, sent = inside(sender, lambda: _send(str(address), port, size))
            thread.join(PATIENCE)
    except OSError as error:
        return Transfer(size, time.monotonic() - began, str(error))
    return Transfer(size, time.monotonic() - began, "" if echoed == sent else "bytes differ")


def _send(address: str, port: int, size: int) -> tuple[bytes, bytes]:
    """(digest that the receiver found, digest of what was sent)."""
    digest = hashlib.sha256()
    block = os.urandom(CHUNK)
    with socket.create_connection((address, port), PATIENCE) as connection:
        for start in range(0, size, CHUNK):
            part = block[: min(CHUNK, size - start)]
            digest.update(part)
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(digest.digest_size), digest.digest()
