"""Keeps the copy of a remote repository up to date, since hosts of a lab reach nobody outside it.

A process of its own beside the agents: it fetches, and they see the refs of the copy move.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from reconciler.lab import processes, record
from reconciler.lab.places import Places
from reconciler.source.address import parse_address
from reconciler.source.errors import SourceError
from reconciler.source.remote import Credentials, Remote

INTERVAL = 5.0  # seconds


def start(places: Places) -> None:
    """Start the process unless it runs."""
    pid_file = places.run / "mirror.pid"
    if not processes.alive(pid_file):
        command = [sys.executable, "-P", "-m", "reconciler", "lab", "mirror", "--name", places.name]
        processes.start(command, None, pid_file, places.run / "mirror.log")


def run(places: Places, tell: Callable[[str], None]) -> None:
    """Fetch as long as there is a lab; what goes wrong is told once, until something else does."""
    told = ""
    while known := record.load(places):
        url = known.url
        files = Credentials(**{name: Path(each) for name, each in known.credentials.items()})
        remote = Remote(parse_address(url), places.copies, files)
        trouble = ""
        try:
            remote.fetch()
        except SourceError as error:
            trouble = str(error)
        if trouble != told:
            tell(trouble or f"{url} answers again")
        told = trouble
        time.sleep(INTERVAL)
