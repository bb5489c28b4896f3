"""Record: what a lab was asked to be, written before anything is made: a crash loses nothing.

With it the lock: one command at a time works on a lab.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from reconciler.agent import store
from reconciler.lab.layout import LabError
from reconciler.lab.places import RUN, Places


@dataclass(frozen=True, slots=True)
class Record:
    """`path` and `branch` are what the agents follow, `url` what it is a copy of.

    `credentials` names the files for the remote, by the fields of Credentials. `hosts` are those
    that have, or are about to have, a namespace.
    """

    path: str
    branch: str
    url: str = ""
    folder: str = ""
    mtu: int = 1500
    hosts: tuple[str, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict)

    def with_hosts(self, hosts: Iterable[str]) -> Record:
        """The same, of other hosts."""
        return replace(self, hosts=tuple(sorted(hosts)))

    def save(self, places: Places) -> None:
        """Replace the file as a whole."""
        store.replace(places.record, json.dumps(asdict(self), indent=1).encode(), durable=False)


def load(places: Places) -> Record | None:
    """The record, or None if there is no such lab, or it never came so far."""
    try:
        data = json.loads(places.record.read_text())
    except FileNotFoundError:
        return None
    return Record(**{**data, "hosts": tuple(data["hosts"])})


@contextmanager
def locked(places: Places) -> Iterator[None]:
    """Hold the lab's lock, or LabError if another command holds it."""
    RUN.mkdir(parents=True, exist_ok=True)
    path = RUN / f"{places.name}.lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise LabError(
                f"another command is at work on lab {places.name}; wait for it"
            ) from None
        if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
            break
        os.close(handle)  # the holder before us removed the file that we had opened
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
