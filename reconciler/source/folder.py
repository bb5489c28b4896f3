"""A folder on disk -> its manifests, as a commit of it would have them: for `validate` before one.

Nothing is ever applied from a folder. What git ignores, and names that begin with a dot, are left
out; what tree.py refuses in a commit is refused here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pygit2

from reconciler.source.errors import SourceError
from reconciler.source.files import (
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_FILE,
    MAX_FILES,
    MAX_TOTAL,
    ODD_NAME,
    SUFFIXES,
    Snapshot,
    SourceFile,
)


def read_folder(folder: Path) -> Snapshot:
    """Paths begin with `folder` as it was written; the commit is ''. Raises SourceError."""
    if not folder.is_dir():
        what = (
            "is a file; manifests refer to one another, so name the folder of all of them"
            if folder.exists()
            else "is not there; name a folder of manifests"
        )
        raise SourceError(f"{folder} {what}", again=False)
    files: list[SourceFile] = []
    total = 0
    for entry in _walk(folder, _ignored(folder)):
        path = str(folder / os.path.relpath(entry.path, folder))
        file = _read(entry, ODD_NAME.sub(lambda match: ascii(match[0])[1:-1], path))
        total += len(file.content)
        files.append(file)
        if len(files) > MAX_FILES or total > MAX_TOTAL:
            limit = f"{MAX_FILES:,} manifests, or {MAX_TOTAL >> 20} MiB of them"
            raise SourceError(f"{folder} has more than {limit}; split it", again=False)
    return Snapshot("", tuple(sorted(files, key=lambda each: each.path)))


def _walk(folder: Path, ignored: Callable[[os.DirEntry[str]], bool]) -> Iterator[os.DirEntry[str]]:
    """Files with the names of manifests, symbolic links to folders, and repositories inside."""
    waiting, seen = [(str(folder), 0)], 0
    while waiting:
        path, depth = waiting.pop()
        for entry in os.scandir(path):
            seen += 1
            if seen > MAX_ENTRIES or depth > MAX_DEPTH:
                limit = f"{MAX_ENTRIES:,} files, or folders more than {MAX_DEPTH} deep"
                raise SourceError(f"{folder} has more than {limit}; name another", again=False)
            if entry.name.startswith(".") or ignored(entry):
                continue
            if entry.is_dir(follow_symlinks=False) and not _is_repository(entry):
                waiting.append((entry.path, depth + 1))
            elif entry.is_dir() or entry.name.lower().endswith(SUFFIXES):
                yield entry


def _read(entry: os.DirEntry[str], path: str) -> SourceFile:
    refused, data = "", b""
    if ODD_NAME.search(entry.path):
        refused = "has a name that is no UTF-8 text, or holds control characters; rename it"
    elif entry.is_symlink() and entry.name.lower().endswith(SUFFIXES):
        refused = "is a symbolic link, which is not followed; commit the manifest itself"
    elif entry.is_symlink():
        refused = "is a symbolic link to a folder, which is not followed; commit the folder itself"
    elif entry.is_dir():
        refused = "is a repository of its own, which is not read; commit its manifests themselves"
    elif not entry.is_file():
        refused = "is not a plain file; remove it"
    elif entry.stat().st_size > MAX_FILE:
        refused = f"is larger than {MAX_FILE >> 20} MiB; split it"
    else:
        try:
            data = Path(entry.path).read_bytes()
        except OSError as error:
            refused = f"cannot be read ({error.strerror})"
    return SourceFile(path, str(pygit2.hash(data)), data, refused)


def _is_repository(entry: os.DirEntry[str]) -> bool:
    return (Path(entry.path) / ".git").exists()


def _ignored(folder: Path) -> Callable[[os.DirEntry[str]], bool]:
    """Whether the repository around the folder, if there is one, ignores an entry."""
    try:
        found = pygit2.discover_repository(str(folder))
        repository = pygit2.Repository(found) if found else None
    except pygit2.GitError:  # another user's, or damaged: its files can be read all the same
        repository = None
    if repository is None or repository.workdir is None:
        return lambda entry: False
    top = Path(repository.workdir).resolve()

    def ignored(entry: os.DirEntry[str]) -> bool:
        path = os.path.relpath(Path(entry.path).parent.resolve(), top)
        slash = "/" if entry.is_dir(follow_symlinks=False) else ""
        return bool(repository.path_is_ignored(os.path.normpath(f"{path}/{entry.name}") + slash))

    return ignored
