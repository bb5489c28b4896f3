"""Keeps the copy of a remote repository up to date, since hosts of a lab reach nobody outside it.

A process of its own beside the agents: it fetches, and they see the refs of the copy move.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from reconciler.lab import processes
from reconciler.lab.places import Places
from reconciler.source.address import parse_address
from reconciler.source.errors import SourceError
from reconciler.source.remote import Credentials, Remote

INTERVAL = 5.0  # seconds


def start(places: Places, url: str) -> None:
    """Start the process unless it runs."""
    pid_file = places.run / "mirror.pid"
    if not processes.alive(pid_file):
        command = [sys.executable, "-m", "reconciler", "lab", "mirror", "--name", places.name, url]
        processes.start(command, None, pid_file, places.run / "mirror.log")


def run(places: Places, url: str, tell: Callable[[str], None]) -> None:
    """Fetch for ever; what goes wrong is told once, until something else does."""
    remote = Remote(parse_address(url), places.copies, Credentials())
    told = ""
    while places.copies.is_dir():
        trouble = ""
        try:
            remote.fetch()
        except SourceError as error:
            trouble = str(error)
        if trouble != told:
            tell(trouble or f"{url} answers again")
        told = trouble
        time.sleep(INTERVAL)
