"""The socket, spoken to as the verbs and Prometheus do."""

import http.client
import json
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.agent import client
from reconciler.agent.server import Answers, Server
from reconciler.datapath.errors import HostError


def apply(force: str) -> Mapping[str, Any]:
    return {"outcome": "converged", "digest": force}


ANSWERS = Answers(lambda: {"host": "edge-1"}, lambda: b"reconciler_waiting 0.0\n", apply)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, None, ANSWERS)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.usefixtures("server")
def test_status_is_answered(tmp_path: Path) -> None:
    assert client.status(tmp_path) == {"host": "edge-1"}


@pytest.mark.usefixtures("server")
def test_metrics_are_served_as_text(tmp_path: Path) -> None:
    assert client.request(tmp_path, "GET", "/metrics", None, 5) == b"reconciler_waiting 0.0\n"


@pytest.mark.usefixtures("server")
def test_a_request_carries_the_digest_to_force(tmp_path: Path) -> None:
    assert client.apply(tmp_path, "0123")["digest"] == "0123"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("length", "body", "answer"), [(-1, b"", b"200"), (60000, b"[" * 60000, b"400")]
)
def test_a_length_or_depth_out_of_the_ordinary_is_answered(
    tmp_path: Path, length: int, body: bytes, answer: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(5)
        asking.connect(str(tmp_path / client.SOCKET))
        asking.sendall(b"POST /apply HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % length + body)
        assert asking.recv(100).split()[1] == answer


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("body", [{"force": 7}, ["force"]])
def test_a_malformed_request_is_refused_with_what_would_be_right(tmp_path: Path, body: Any) -> None:
    with pytest.raises(ValueError, match="DIGEST"):
        client.request(tmp_path, "POST", "/apply", body, 5)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("target", ["/", "/metrics/x", "/apply"])
def test_an_unknown_page_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(ValueError, match="no such page"):
        client.request(tmp_path, "GET", target, None, 5)


@pytest.mark.usefixtures("server")
def test_the_socket_is_the_owners_alone(tmp_path: Path) -> None:
    mode = (tmp_path / client.SOCKET).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.usefixtures("server")
def test_a_silent_client_holds_up_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / client.SOCKET))
        assert client.status(tmp_path) == {"host": "edge-1"}


def test_a_socket_that_a_killed_agent_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / client.SOCKET))
    with pytest.raises(client.NoAgentError):
        client.status(tmp_path)
    server = Server(tmp_path, None, ANSWERS)
    server.start()
    try:
        assert client.status(tmp_path) == {"host": "edge-1"}
    finally:
        server.stop()


def test_stopping_ends_the_threads_and_removes_the_socket(tmp_path: Path) -> None:
    before = threading.active_count()
    server = Server(tmp_path, ("127.0.0.1", free_port()), ANSWERS)
    server.start()
    server.stop()
    server.stop()
    assert threading.active_count() == before
    assert not (tmp_path / client.SOCKET).exists()
    with pytest.raises(client.NoAgentError, match="reconciler agent"):
        client.status(tmp_path)


def test_over_tcp_there_are_metrics_and_nothing_else(tmp_path: Path) -> None:
    port = free_port()
    server = Server(tmp_path, ("127.0.0.1", port), ANSWERS)
    server.start()
    try:
        found = {}
        for method, target in (("GET", "/metrics"), ("GET", "/status"), ("POST", "/apply")):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request(method, target, b"{}" if method == "POST" else None)
            found[target] = connection.getresponse().status
            connection.close()
        assert found == {"/metrics": 200, "/status": 404, "/apply": 404}
    finally:
        server.stop()


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = Server(tmp_path, ("127.0.0.1", port), ANSWERS)
        with pytest.raises(HostError, match=str(port)):
            server.start()
        server.stop()


def test_a_folder_whose_name_is_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with pytest.raises(HostError, match="shorter runDir"):
        Server(folder, None, ANSWERS).start()


def test_status_is_json_that_can_be_read_by_others(tmp_path: Path) -> None:
    server = Server(tmp_path, None, ANSWERS)
    server.start()
    try:
        data = client.request(tmp_path, "GET", "/status", None, 5)
        assert json.loads(data) == {"host": "edge-1"}
        assert data.endswith(b"\n")
    finally:
        server.stop()
