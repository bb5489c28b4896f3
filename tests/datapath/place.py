"""Where a test puts its host: names that nobody else uses, and what is needed to look inside."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns

from reconciler.datapath.pins import Pins

BPFFS = Path("/sys/fs/bpf")
NETNS = Path("/run/netns")


@contextmanager
def entered(path: Path) -> Iterator[None]:
    """Run the block, and what it calls in this thread, inside a network namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        netns.setns(str(path), flags=0)
        yield
    finally:
        netns.setns(home)
        os.close(home)


class Place:
    """One host: its name, its pins, and the namespaces around it."""

    def __init__(self) -> None:
        self.tag = "dp" + secrets.token_hex(3)
        self.host = f"{self.tag}-host"
        self.bpffs = BPFFS / self.tag
        self.bpffs.mkdir()
        self.pins = Pins(self.bpffs, self.host)
        self._names: set[str] = set()

    def name(self, short: str) -> str:
        """A name of this test's own; the namespace may exist or not, and is removed at the end."""
        self._names.add(f"{self.tag}.{short}")
        return f"{self.tag}.{short}"

    def netns(self, short: str) -> Path:
        """A new network namespace with its loopback up."""
        path = NETNS / self.name(short)
        netns.create(str(path))
        with entered(path), IPRoute() as route:
            route.link("set", index=1, state="up")
        return path

    def clear(self) -> None:
        """Remove everything; an interface goes with its namespace."""
        self.pins.remove_all()
        for folder in (self.bpffs / "reconciler", self.bpffs):
            with suppress(FileNotFoundError):
                folder.rmdir()
        for name in self._names:
            with suppress(FileNotFoundError):
                netns.remove(str(NETNS / name))

    def ip(self, short: str, *arguments: str) -> str:
        """What iproute2 says inside a namespace."""
        return command("ip", "-netns", f"{self.tag}.{short}", *arguments)

    def features(self, short: str, interface: str) -> dict[str, bool]:
        """What ethtool says of an interface's offloads, inside a namespace."""
        lines = command(
            "nsenter", f"--net={NETNS}/{self.tag}.{short}", "ethtool", "-k", interface
        ).splitlines()
        pairs = (line.strip().partition(": ") for line in lines[1:])
        return {name: value.startswith("on") for name, _, value in pairs}


def command(*words: Any) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout
