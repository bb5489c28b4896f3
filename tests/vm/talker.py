"""What runs inside the guest: it talks to a container, then waits to be talked to.

Usage: talker.py CARD ADDRESS GATEWAY PEER PORT, ADDRESS with its prefix length; it needs the
standard library alone.
"""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

SIZE = 1 << 19
PATIENCE = 120.0


def run(*command: str) -> str:
    """A command that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(card: str, address: str, gateway: str, peer: str, port: str) -> None:
    """Raises if anything is not as it should be."""
    run("ip", "addr", "add", address, "dev", card)
    run("ip", "link", "set", card, "up")
    run("ip", "route", "add", "default", "via", gateway)
    print("card mtu", Path(f"/sys/class/net/{card}/mtu").read_text())
    features = run("ethtool", "-k", card).splitlines()
    print(*(f"card {each.strip()}" for each in features if each.startswith("t")), sep="\n")
    print(run("ping", "-c3", "-W5", peer))

    sent = os.urandom(SIZE)
    with socket.create_connection((peer, int(port)), PATIENCE) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(32) == hashlib.sha256(sent).digest()
    print("the container has what was sent", flush=True)

    with socket.create_server(("", int(port))) as server:
        server.settimeout(PATIENCE)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            received = hashlib.sha256()
            while data := connection.recv(1 << 16):
                received.update(data)
            connection.sendall(received.digest())
    print("the guest has heard", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
