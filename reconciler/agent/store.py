"""Store: what outlives the agent: the last good state with its commit, and a force that was given.

Every file is replaced as a whole (written beside, synced, renamed), so a crash leaves old or new.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.compile import serial
from reconciler.compile.state import HostState
from reconciler.plan.guards import Inventory

FORMAT = 1
LAST_GOOD = "last-good.json"
FORCED = "forced.json"
STATUS = "status.json"  # in the run folder
COPIES = "copies"  # of remote repositories; reconciler.source fills it
CACHE = "cache"  # what files of commits mean; see blobs.py


@dataclass(frozen=True, slots=True)
class LastGood:
    """The newest state that passed validation and guards here, and the names that it came from.

    `revision` is a commit id, or says which file the state was given in. `names` are those of all
    manifests by kind, for the guards. `applied` is the wall's seconds when it last converged first.
    """

    revision: str
    state: HostState
    names: Inventory | None
    applied: float


class Store:
    """The folder of one host. Only the holder of the host's lock writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> LastGood | None:
        """The last good state; StoreError if there is one that cannot be read."""
        head = self._read(LAST_GOOD)
        if head is None:
            return None
        try:
            state = serial.load((self._folder / head["state"]).read_text())
            names = json.loads((self._folder / head["names"]).read_text())
            kinds = None if names is None else {k: frozenset(each) for k, each in names.items()}
            return LastGood(head["revision"], state, kinds, head["applied"])
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(self._folder / LAST_GOOD, error) from error

    def save(self, good: LastGood) -> None:
        """Replace the last good state. Bodies are named by content: what did not change is kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        names = None if good.names is None else {k: sorted(v) for k, v in good.names.items()}
        head = {
            "format": FORMAT,
            "revision": good.revision,
            "applied": good.applied,
            "state": self._body("state", serial.dump(good.state)),
            "names": self._body("names", json.dumps(names, sort_keys=True)),
        }
        replace(self._folder / LAST_GOOD, json.dumps(head, indent=1).encode())
        kept = {LAST_GOOD, FORCED, head["state"], head["names"]}
        for path in self._folder.glob("*.json*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _body(self, role: str, text: str) -> str:
        """Write a text under a name of its content; the name."""
        data = text.encode()
        name = f"{role}-{hashlib.sha256(data).hexdigest()[:16]}.json"
        if not (self._folder / name).exists():
            replace(self._folder / name, data)
        return name

    def forced(self) -> str:
        """The revision whose refused plan somebody forced here; '' for none."""
        record = self._read(FORCED)
        return str(record["revision"]) if record else ""

    def force(self, revision: str) -> None:
        """Remember it before the first write: the next run must complete one that is killed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        record = {"format": FORMAT, "revision": revision}
        replace(self._folder / FORCED, json.dumps(record).encode())

    def unforce(self) -> None:
        """The forced plan is carried out; the same commit is judged anew when it comes back."""
        (self._folder / FORCED).unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget everything, copies of repositories as well. Twice is once."""
        for path in self._folder.glob("*.json*"):
            path.unlink(missing_ok=True)
        for name in (COPIES, CACHE):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        with suppress(OSError):  # somebody else keeps something in it, or it is gone
            self._folder.rmdir()

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self._folder / name
        try:
            record = json.loads(path.read_bytes())
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']}, {FORMAT} expected")
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise StoreError(path, error) from error
        return dict(record)


class StoreError(Exception):
    """What the agent kept cannot be read; nothing is enforced until the repository can be."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{path}: cannot be read ({error}); it is replaced by the next good commit"
        )


def replace(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file as a whole; durable: also when the power fails now."""
    beside = path.with_name(f"{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)
    beside.rename(path)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
