"""Store: what outlives the agent: the last good state with its commit, and a force that was given.

Files are replaced as a whole (written beside, synced, renamed), so a crash leaves old or new; small
changes of a large state are lines appended to a journal, of which a crash may cost the last.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.agent import journal
from reconciler.agent.good import LastGood
from reconciler.agent.heap import give_back
from reconciler.compile import serial
from reconciler.model.claims import Names

__all__ = ["LastGood", "Store", "StoreError", "replace"]

FORMAT = 1
LAST_GOOD = "last-good.json"
FORCED = "forced.json"
STATUS = "status.json"  # in the run folder
COPIES = "copies"  # of remote repositories; reconciler.source fills it
BODIES = ("state", "names", "kept")  # files that the head names; the last only if there is one
CACHE = "cache"  # what files of commits mean; see blobs.py


class Store:
    """The folder of one host. Only the holder of the host's lock writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved: LastGood | None = None  # what is on disk, if more can be appended to it
        self._head: dict[str, Any] = {}
        self._room = 0  # bytes that the journal may still grow by

    def load(self) -> LastGood | None:
        """The last good state; StoreError if there is one that cannot be read."""
        head = self._read(LAST_GOOD)
        if head is None:
            return None
        try:
            state = serial.load((self._folder / head["state"]).read_text())
            names = json.loads((self._folder / head["names"]).read_text())
            kinds = None if names is None else {k: Names(each) for k, each in names.items()}
            name = head.get("kept")
            kept = json.loads((self._folder / name).read_text()) if name else ()
            good = LastGood(
                head["revision"],
                state,
                kinds,
                head["applied"],
                tuple(journal.read_kept(each) for each in kept),
            )
            changes = self._folder / _journal(head)
            return journal.replayed(good, changes.read_bytes()) if changes.exists() else good
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(self._folder / LAST_GOOD, error) from error

    def save(self, good: LastGood) -> None:
        """Replace the last good state, or note how it differs from what this object saved before.

        Bodies are named by content: what did not change is kept.
        """
        if self._saved is None or not self._append(self._saved, good):
            self._saved = None
            self._write(good)
            give_back()  # 180 bytes an endpoint: names as objects, and their text
        self._saved = good

    def _append(self, old: LastGood, new: LastGood) -> bool:
        """Whether a line of the journal did; all is written anew once that is large."""
        line = journal.line(old, new)
        if line is None or len(line) > self._room or not self._is_whole():
            return False
        self._saved = None  # until it is there
        append(self._folder / _journal(self._head), line)
        self._room -= len(line)
        return True

    def _is_whole(self) -> bool:
        """Whether the files are still there as they were written."""
        try:
            head = json.loads((self._folder / LAST_GOOD).read_bytes())
        except (OSError, ValueError):
            return False
        bodies = (self._folder / self._head[role] for role in BODIES if role in self._head)
        return bool(head == self._head) and all(path.exists() for path in bodies)

    def _write(self, good: LastGood) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        names = None if good.names is None else {k: sorted(v) for k, v in good.names.items()}
        head: dict[str, Any] = {
            "format": FORMAT,
            "revision": good.revision,
            "applied": good.applied,
            "state": self._body("state", serial.dump(good.state)),
            "names": self._body("names", json.dumps(names, sort_keys=True)),
        }
        if good.kept:
            kept = json.dumps([journal.show_kept(each) for each in good.kept])
            head["kept"] = self._body("kept", kept)
        replace(self._folder / LAST_GOOD, json.dumps(head, indent=1).encode())
        named = {LAST_GOOD, FORCED, *(head[role] for role in BODIES if role in head)}
        for path in (*self._folder.glob("*.json*"), *self._folder.glob("changes-*")):
            if path.name not in named:
                path.unlink(missing_ok=True)
        bodies = [self._folder / str(head[role]) for role in ("state", "names")]
        self._head = head
        self._room = sum(path.stat().st_size for path in bodies) // 4

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
        for path in (*self._folder.glob("*.json*"), *self._folder.glob("changes-*")):
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


def _journal(head: dict[str, Any]) -> str:
    """The journal of these bodies; one of other bodies counts for nothing."""
    whole = f"{head['state']} {head['names']} {head['revision']} {head['applied']!r}"
    whole += f" {head['kept']}" if "kept" in head else ""
    return f"changes-{hashlib.sha256(whole.encode()).hexdigest()[:16]}.log"


def append(path: Path, data: bytes) -> None:
    """Append to a file, also for when the power fails now; OSError leaves a part of it."""
    new = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(handle)
    finally:
        os.close(handle)
    if new:
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
        _sync_folder(path.parent)
