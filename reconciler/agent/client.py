"""Speaking to a running agent through its socket: what the verbs `status` and `apply` do."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKET = "agent.sock"


class NoAgentError(Exception):
    """No agent answers at this socket."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"no agent answers at {path} ({error}); start one with `reconciler agent`")


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def request(
    run_dir: Path, method: str, target: str, body: Mapping[str, Any] | None, seconds: float
) -> bytes:
    """The body of the agent's answer; ValueError with its text if it refuses.

    NoAgentError if there is none, PermissionError if it is not ours to ask.
    """
    path = run_dir / SOCKET
    connection = _Connection(path, seconds)
    try:
        connection.request(method, target, json.dumps(body).encode() if body is not None else None)
        response = connection.getresponse()
        data = response.read()
    except PermissionError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise NoAgentError(path, error) from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise ValueError(data.decode(errors="replace").strip())
    return data


def status(run_dir: Path, seconds: float = 10.0) -> dict[str, Any]:
    """The agent's status, as status.py documents it."""
    return dict(json.loads(request(run_dir, "GET", "/status", None, seconds)))


def apply(run_dir: Path, force: str, seconds: float = 600.0) -> dict[str, Any]:
    """Ask for a round now, the refused plan `force` allowed; what became of it."""
    return dict(json.loads(request(run_dir, "POST", "/apply", {"force": force}, seconds)))
