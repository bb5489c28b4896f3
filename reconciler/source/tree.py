"""A commit's tree -> its manifests as SourceFiles, straight from git's objects.

Trees are parsed here, not by libgit2, so that names that are no UTF-8, folders with a million
entries and trees that repeat themselves cost what the limits of files.py allow, and no more.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

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
    SourceFile,
)

_ENTRY = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)
_MAX_TREE = 64 << 20  # bytes of one tree: over a million entries
_MAX_LINK = 4096

_FOLDER, _LINK, _SUBMODULE = 0o040000, 0o120000, 0o160000


@dataclass(frozen=True, slots=True)
class Entry:
    """What a path of the commit is."""

    path: str
    mode: int
    id: str


class _TooMuchError(Exception):
    """A limit of the whole commit is exceeded."""


def read_files(odb: pygit2.Odb, root: str, folder: str) -> tuple[SourceFile, ...]:
    """The manifests below `folder` of the tree `root`, sorted by path; raises SourceError.

    Names that begin with a dot are left out, as files of tools. A commit beyond the limits is one
    refused file in the name of the folder, and nothing else.
    """
    top = find(odb, root, folder)
    if top is None or top.mode != _FOLDER:
        raise SourceError(f"the commit has no folder `{folder}`; name one that it has", again=True)
    try:
        return tuple(sorted(_files(odb, root, top), key=lambda file: file.path))
    except _TooMuchError as error:
        return (SourceFile(folder or ".", top.id, b"", str(error)),)


def find(odb: pygit2.Odb, root: str, path: str) -> Entry | None:
    """The entry at `path` of the tree `root`; '' is the tree itself."""
    entry = Entry("", _FOLDER, root)
    for step in path.split("/") if path else ():
        if entry.mode != _FOLDER:
            return None
        below = (each for each in _entries(odb, entry) if posixpath.basename(each.path) == step)
        found = next(below, None)
        if found is None:
            return None
        entry = found
    return entry


def _files(odb: pygit2.Odb, root: str, top: Entry) -> Iterator[SourceFile]:
    total = files = 0
    for entry in _walk(odb, top):
        refused = _refusal(odb, root, entry)
        if not refused and not entry.path.lower().endswith(SUFFIXES):
            continue
        size = 0 if refused else _header(odb, entry.id)
        files += 1
        total += size
        if files > MAX_FILES:
            raise _TooMuchError(f"has more than {MAX_FILES:,} manifests; put more into each file")
        if size > MAX_FILE:
            refused = f"is larger than {MAX_FILE >> 20} MiB; split it"
            total -= size
        elif total > MAX_TOTAL:
            raise _TooMuchError(f"has more than {MAX_TOTAL >> 30} GiB of manifests; split it")
        path = ODD_NAME.sub(lambda match: ascii(match[0])[1:-1], entry.path)
        yield SourceFile(path, entry.id, b"" if refused else _data(odb, entry.id), refused)


def _walk(odb: pygit2.Odb, top: Entry) -> Iterator[Entry]:
    """All entries below `top` that are no folders and have no dot in front of them."""
    waiting, seen = [top], 0
    while waiting:
        folder = waiting.pop()
        if folder.path.count("/") >= MAX_DEPTH:
            raise _TooMuchError(f"has folders more than {MAX_DEPTH} deep; flatten it")
        for entry in _entries(odb, folder):
            seen += 1
            if seen > MAX_ENTRIES:
                raise _TooMuchError(
                    f"has more than {MAX_ENTRIES:,} files and folders; "
                    "keep the manifests in a folder of their own, and name it"
                )
            if posixpath.basename(entry.path).startswith("."):
                continue
            if entry.mode == _FOLDER:
                waiting.append(entry)
            else:
                yield entry


def _refusal(odb: pygit2.Odb, root: str, entry: Entry) -> str:
    """Why the entry must not be passed over, although it is no manifest that can be read."""
    if ODD_NAME.search(entry.path):
        return "has a name that is no UTF-8 text, or holds control characters; rename it"
    if entry.mode == _SUBMODULE:
        return "is a submodule, which is not read; commit its manifests themselves"
    if entry.mode == _LINK:
        if entry.path.lower().endswith(SUFFIXES):
            return "is a symbolic link, which is not followed; commit the manifest itself"
        if _leads_to_folder(odb, root, entry):
            return "is a symbolic link to a folder, which is not followed; commit the folder itself"
    return ""


def _leads_to_folder(odb: pygit2.Odb, root: str, link: Entry) -> bool:
    if _header(odb, link.id) > _MAX_LINK:
        return False
    target = _data(odb, link.id).decode("utf-8", "replace")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), target))
    found = None if path.startswith(("/", "..")) else find(odb, root, path.removeprefix("."))
    return found is not None and found.mode == _FOLDER


def _entries(odb: pygit2.Odb, folder: Entry) -> Iterator[Entry]:
    """The entries of one tree object, with whole paths; bytes that are no UTF-8 are surrogates."""
    if _header(odb, folder.id) > _MAX_TREE:
        raise _TooMuchError("has a folder of more than a million entries; split it")
    data = _data(odb, folder.id)
    prefix = f"{folder.path}/" if folder.path else ""
    for match in _ENTRY.finditer(data):
        mode, name, oid = match.groups()
        kind = int(mode, 8) & 0o170000
        yield Entry(prefix + name.decode("utf-8", "surrogateescape"), kind, oid.hex())


def _header(odb: pygit2.Odb, oid: str) -> int:
    try:
        return odb.read_header(oid)[1]
    except (KeyError, pygit2.GitError) as error:
        raise _missing(oid, error) from error


def _data(odb: pygit2.Odb, oid: str) -> bytes:
    try:
        return odb.read(oid)[1]
    except (KeyError, pygit2.GitError) as error:
        raise _missing(oid, error) from error


def _missing(oid: str, error: Exception) -> SourceError:
    return SourceError(
        f"object {oid} of the repository is missing or damaged ({error}); see `git fsck`",
        again=True,
    )
