"""Server: HTTP on a unix socket of the host: GET /status, GET /metrics, POST /apply. Owner only.

The same metrics may be served over TCP; nothing else is.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from reconciler.agent.client import SOCKET
from reconciler.datapath.errors import HostError

PATH_LIMIT = 107  # bytes of sun_path before its end, unix(7)
BODY_LIMIT = 1 << 16
PATIENCE = 30.0  # seconds for a client to say what it wants
METRICS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the server asks for; each is called in a thread of its own."""

    status: Callable[[], Mapping[str, Any]]
    metrics: Callable[[], bytes]
    apply: Callable[[str], Mapping[str, Any]]  # of the digest to force, or ''


class _Handler(BaseHTTPRequestHandler):
    """One request; the server has `answers` and `only_metrics`."""

    timeout = PATIENCE

    def do_GET(self) -> None:
        """Status and metrics."""
        if self.path == "/metrics":
            self._send(HTTPStatus.OK, METRICS, self._listener.answers.metrics())
        elif self.path == "/status" and not self._listener.only_metrics:
            self._send_json(self._listener.answers.status())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"no such page: {self.path}; there is /metrics")

    def do_POST(self) -> None:
        """Ask for a round now."""
        if self.path != "/apply" or self._listener.only_metrics:
            self._refuse(HTTPStatus.NOT_FOUND, f"nothing is accepted at {self.path}")
            return
        try:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(max(0, min(length, BODY_LIMIT))) or b"{}")
            force = body.get("force", "")
            if not isinstance(force, str):
                raise TypeError("force is not a text")
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f'{error}; {{"force": "DIGEST"}} expected')
            return
        self._send_json(self._listener.answers.apply(force))

    @property
    def _listener(self) -> _Server:
        assert isinstance(self.server, _Server)
        return self.server

    def _send_json(self, found: Mapping[str, Any]) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(found, indent=2).encode() + b"\n")

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(status, "text/plain; charset=utf-8", message.encode() + b"\n")

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        with suppress(ConnectionError):  # the client went away: nobody to tell
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are no news."""

    def address_string(self) -> str:
        """A unix socket's client has no address."""
        return "client"


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Over any stream socket; a thread for each request, and one that accepts without polling."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, family: int, address: str | tuple[str, int], answers: Answers) -> None:
        self.address_family = family
        self.answers = answers
        self.only_metrics = family != socket.AF_UNIX
        self._open = True
        super().__init__(address, _Handler)  # type: ignore[arg-type]  # a path for AF_UNIX
        self._thread = threading.Thread(target=self._accept, name="server", daemon=True)

    def server_bind(self) -> None:
        """As TCPServer, which would read a path as an address."""
        if self.only_metrics:
            super().server_bind()
        else:
            self.socket.bind(self.server_address)

    def start(self) -> None:
        """Accept from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting at once; requests that are being answered end with the process."""
        self._open = False
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        if self._thread.is_alive():
            self._thread.join()
        self.server_close()

    def _accept(self) -> None:
        while self._open:
            self.handle_request()


class Server:
    """Serves from `start` to `stop`, in threads of its own."""

    def __init__(self, run_dir: Path, metrics: tuple[str, int] | None, answers: Answers) -> None:
        self._path = run_dir / SOCKET
        self._metrics = metrics
        self._answers = answers
        self._servers: list[_Server] = []

    def start(self) -> None:
        """HostError when it cannot listen."""
        self._servers.append(self._listen_unix())
        if self._metrics:
            self._servers.append(self._listen_tcp(*self._metrics))
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        """Twice is once."""
        while self._servers:
            self._servers.pop().stop()
        self._path.unlink(missing_ok=True)

    def _listen_unix(self) -> _Server:
        """Bound under another name, closed to others, then renamed: never open, never missing."""
        beside = self._path.with_name(SOCKET + ".new")
        if len(bytes(beside)) > PATH_LIMIT:
            raise HostError(
                f"{self._path}: longer than a socket's path may be ({PATH_LIMIT} bytes); "
                f"choose a shorter runDir"
            )
        beside.unlink(missing_ok=True)
        server = _Server(socket.AF_UNIX, str(beside), self._answers)
        beside.chmod(0o600)
        beside.rename(self._path)
        return server

    def _listen_tcp(self, address: str, port: int) -> _Server:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            return _Server(family, (address, port), self._answers)
        except OSError as error:
            raise HostError(f"metrics on {address} port {port}: {error.strerror}") from error
