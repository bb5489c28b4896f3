"""FolderWatch: wakes when files of a folder change, by inotify: a repository's refs, netns names.

What to watch is asked anew by `refresh`, on a slow timer: folders appear late, or are replaced.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

LOG = logging.getLogger("reconciler.agent")

# Opening and closing for reading are left out: our own reads of the refs would wake us for ever.
KINDS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


@dataclass(frozen=True, slots=True)
class Folder:
    """What to watch. `relevant` decides by the name of the file that changed."""

    path: Path
    recursive: bool
    relevant: Callable[[str], bool]
    wake: Callable[[], None]


def any_name(_: str) -> bool:
    """Every file matters."""
    return True


def is_ref(name: str) -> bool:
    """Git replaces a ref by renaming NAME.lock onto NAME; the lock alone means nothing yet."""
    return not name.endswith(".lock")


def is_ref_of_root(name: str) -> bool:
    """In a repository's own folder: HEAD chooses the branch, packed-refs may hold it."""
    return name in ("HEAD", "packed-refs", "refs", "reftable")


def repository_folders(git_dir: Path, wake: Callable[[], None]) -> tuple[Folder, ...]:
    """The folders in which a moved branch shows, loose, packed or in reftables."""
    return (
        Folder(git_dir, False, is_ref_of_root, wake),
        Folder(git_dir / "refs", True, is_ref, wake),
        Folder(git_dir / "reftable", False, is_ref, wake),
    )


class _Handler(FileSystemEventHandler):
    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called in watchdog's thread, for the kinds of KINDS."""
        for path in (event.src_path, event.dest_path):
            if path and self._folder.relevant(os.path.basename(os.fsdecode(path))):  # noqa: PTH119
                self._folder.wake()
                return


class FolderWatch:
    """Watches folders in threads of its own; each wake is a call in such a thread."""

    def __init__(self, folders: Callable[[], Iterable[Folder]]) -> None:
        self._folders = folders
        self._watched: dict[tuple[Path, bool], tuple[ObservedWatch, tuple[int, int]]] = {}
        self._refused: set[tuple[Path, bool]] = set()
        self._observer = Observer()

    def start(self) -> None:
        """Take up every folder that exists."""
        # watchdog takes up folders twice that are made in quick succession; that changes nothing.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        self._observer.start()
        self.refresh()

    def refresh(self) -> None:
        """Take up folders that appeared or were replaced; wake for them, as news was missed."""
        for folder in self._folders():
            real = folder.path.resolve()  # inotify would watch a symbolic link itself
            try:
                status = real.stat()
            except OSError:
                continue
            self._take(folder, real, (status.st_dev, status.st_ino))

    def _take(self, folder: Folder, real: Path, identity: tuple[int, int]) -> None:
        key = (folder.path, folder.recursive)
        known = self._watched.get(key)
        if known and known[1] == identity:
            return
        if known:
            self._observer.unschedule(known[0])
            del self._watched[key]
        try:
            watch = self._observer.schedule(
                _Handler(folder), str(real), recursive=folder.recursive, event_filter=KINDS
            )
        except OSError as error:  # no watches left, or gone again
            if key not in self._refused:
                LOG.warning("%s is not watched (%s); timers look instead", folder.path, error)
            self._refused.add(key)
            return
        self._refused.discard(key)
        self._watched[key] = (watch, identity)
        folder.wake()

    def stop(self) -> None:
        """Ends the threads."""
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(timeout=5)
