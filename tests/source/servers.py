"""Real servers of git repositories on 127.0.0.1: https with an authority of its own, and ssh."""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BACKEND = "/usr/lib/git-core/git-http-backend"


@dataclass(slots=True)
class Https:
    """A server of all repositories below a folder. `token` is what it asks for; `failing` makes it
    answer 503; `requests` are the paths it was asked for."""

    port: int
    ca: Path
    token: str = ""
    failing: bool = False
    requests: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"https://127.0.0.1:{self.port}/{name}"


@contextmanager
def https(folder: Path, keys: Path, name: str = "IP:127.0.0.1") -> Iterator[Https]:
    """Serve with a certificate for `name`, by an authority made for this server."""
    make_certificate(keys, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.pem", keys / "server.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    known = Https(server.server_address[1], keys / "ca.pem")
    server.RequestHandlerClass = handler(folder, known)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, client: None  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def handler(folder: Path, known: Https) -> type[BaseHTTPRequestHandler]:
    """Answers by git's own CGI program."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            known.requests.append(self.path)
            wanted = base64.b64encode(known.token.encode()).decode()
            if known.failing:
                self.send_error(503)
            elif known.token and self.headers.get("Authorization") != f"Basic {wanted}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.end_headers()
            else:
                self.answer()

        do_POST = do_GET

        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            length = self.headers.get("Content-Length", "0")
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": length,
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            body = self.rfile.read(int(length))
            done = subprocess.run(
                [BACKEND], input=body, env=environment, capture_output=True, check=True
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            fields["Content-Length"] = str(len(content))
            for each in fields.items():
                self.send_header(*each)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def make_certificate(folder: Path, name: str) -> None:
    """An authority, and a certificate for `name` signed by it."""
    folder.mkdir(exist_ok=True)
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    for command in (
        f"req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem",
        f"req {key} -subj /CN=server -addext subjectAltName={name} -keyout server.key "
        "-out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
        "-copy_extensions copy -out server.pem",
    ):
        subprocess.run(
            ["openssl", *shlex.split(command)], cwd=folder, check=True, capture_output=True
        )


@dataclass(frozen=True, slots=True)
class Ssh:
    """A server that lets root in with `key` and shows a host key that is in `known_hosts`."""

    port: int
    key: Path
    known_hosts: Path

    def url(self, path: Path) -> str:
        return f"ssh://root@127.0.0.1:{self.port}{path}"


@contextmanager
def ssh(folder: Path) -> Iterator[Ssh]:
    """Needs root: in a mount namespace of its own, root's home is a folder with our key."""
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    host_key = folder / "host_key"
    made = subprocess.run(
        ["dropbearkey", "-t", "ed25519", "-f", host_key], check=True, capture_output=True, text=True
    )
    public = next(line for line in made.stdout.splitlines() if line.startswith("ssh-"))
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    shutil.copy(folder / "key.pub", home / ".ssh" / "authorized_keys")
    port = free_port()
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {' '.join(public.split()[:2])}\n")
    inside = (
        f"mount --bind {shlex.quote(str(home))} /root && exec dropbear -F -E -s "
        f"-p 127.0.0.1:{port} -r {shlex.quote(str(host_key))} -P {shlex.quote(str(folder / 'pid'))}"
    )
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(["unshare", "-m", "sh", "-c", inside], stdout=log, stderr=log)
    try:
        wait_for(port, server)
        yield Ssh(port, key, known_hosts)
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the ssh server did not come up")
