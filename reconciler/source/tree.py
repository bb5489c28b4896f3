"""A commit's tree -> its manifests as SourceFiles, straight from git's objects.

Trees are parsed here, not by libgit2, so that names that are no UTF-8, folders with a million
entries and trees that repeat themselves cost what the limits of files.py allow, and no more.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

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
_SUFFIXES = tuple(suffix.encode() for suffix in SUFFIXES)


_FOLDER, _FILE, _LINK, _SUBMODULE = 0o040000, 0o100000, 0o120000, 0o160000


class Entry(NamedTuple):
    """What a path of the commit is; bytes of the path that are no UTF-8 are surrogates."""

    path: str
    kind: int
    id: str


class Listing(NamedTuple):
    """What a folder holds itself: manifests, or what must not be passed over, and folders."""

    files: tuple[Entry, ...]
    below: tuple[Entry, ...]
    seen: int  # entries of any name


Raw = tuple[bytes, bytes, bytes]  # mode, name and id, as a tree object holds them
Listings = Mapping[tuple[str, str], Listing]  # by path and tree
NOTHING: Listings = {}


class _TooMuchError(Exception):
    """A limit of the whole commit is exceeded."""


def list_files(
    odb: pygit2.Odb,
    root: str,
    folder: str,
    before: Iterable[SourceFile] = (),
    listings: Listings = NOTHING,
) -> tuple[tuple[SourceFile, ...], Listings]:
    """The manifests below `folder` of the tree `root`, sorted by path, and what its folders hold;
    raises SourceError.

    Their bytes are not read. `before` are files, and `listings` folders, that are known already:
    so a commit costs the folders that it changes. Names that begin with a dot are left out, as
    files of tools. A commit beyond the limits is one refused file in the name of the folder, and
    nothing else.
    """
    top = find(odb, root, folder)
    if top is None or top.kind != _FOLDER:
        raise SourceError(f"the commit has no folder `{folder}`; name one that it has", again=True)
    try:
        found = _listings(odb, top, listings)
        entries = (each for listing in found.values() for each in listing.files)
        manifests = [each for each in entries if _counts(odb, root, each)]
        files = _files(odb, manifests, before)
    except _TooMuchError as error:
        return (SourceFile(folder or ".", top.id, b"", str(error)),), NOTHING
    return tuple(sorted(files, key=lambda file: file.path)), found


def find(odb: pygit2.Odb, root: str, path: str) -> Entry | None:
    """The entry at `path` of the tree `root`; '' is the tree itself."""
    entry = Entry("", _FOLDER, root)
    for step in path.split("/") if path else ():
        if entry.kind != _FOLDER:
            return None
        wanted = step.encode("utf-8", "surrogateescape")
        found = next((each for each in _entries(odb, entry.id) if each[1] == wanted), None)
        if found is None:
            return None
        entry = _entry(entry.path, found)
    return entry


def _files(
    odb: pygit2.Odb, manifests: list[Entry], before: Iterable[SourceFile]
) -> list[SourceFile]:
    known = {file.path: file for file in before}
    files, total = [], 0
    for entry in manifests:
        same = known.get(entry.path)
        if same is not None and same.blob == entry.id and not same.refused and entry.kind == _FILE:
            files.append(same)
            total += same.size
            continue
        refused, size = _refusal(entry), 0
        if not refused:
            size = _size(odb, entry.id)
            if size > MAX_FILE:
                refused = f"is larger than {MAX_FILE >> 20} MiB; split it"
            else:
                total += size
        path = ODD_NAME.sub(lambda match: ascii(match[0])[1:-1], entry.path)
        files.append(SourceFile(path, entry.id, b"" if refused else None, refused, size))
    if total > MAX_TOTAL:
        raise _TooMuchError(f"has more than {MAX_TOTAL >> 20} MiB of manifests; split it")
    return files


def _listings(odb: pygit2.Odb, top: Entry, known: Listings) -> dict[tuple[str, str], Listing]:
    """Of `top` and every folder below."""
    found: dict[tuple[str, str], Listing] = {}
    waiting, files, seen = [top], 0, 0
    while waiting:
        folder = waiting.pop()
        if folder.path.count("/") >= MAX_DEPTH:
            raise _TooMuchError(f"has folders more than {MAX_DEPTH} deep; flatten it")
        key = (folder.path, folder.id)
        listing = known.get(key) or _listing(odb, folder, MAX_FILES - files)
        found[key] = listing
        waiting += listing.below
        files, seen = files + len(listing.files), seen + listing.seen
        if files > MAX_FILES:
            raise _TooMuchError(f"has more than {MAX_FILES:,} manifests; put more into a file")
        if seen > MAX_ENTRIES:
            raise _TooMuchError(
                f"has more than {MAX_ENTRIES:,} files and folders; "
                "keep the manifests in a folder of their own, and name it"
            )
    return found


def _listing(odb: pygit2.Odb, folder: Entry, most: int) -> Listing:
    """Ends early beyond `most` files."""
    files: list[Entry] = []
    below: list[Entry] = []
    seen = 0
    for raw in _entries(odb, folder.id):
        seen += 1
        mode, name, _ = raw
        is_file = mode.startswith(b"100")
        if name.startswith(b".") or (is_file and not name.lower().endswith(_SUFFIXES)):
            continue
        entry = _entry(folder.path, raw)
        (below if entry.kind == _FOLDER else files).append(entry)
        if len(files) > most:
            break
    return Listing(tuple(files), tuple(below), seen)


def _refusal(entry: Entry) -> str:
    """Why the entry is not read, although it must not be passed over; '' if it is read."""
    if ODD_NAME.search(entry.path):
        return "has a name that is no UTF-8 text, or holds control characters; rename it"
    if entry.kind == _SUBMODULE:
        return "is a submodule, which is not read; commit its manifests themselves"
    if entry.kind == _LINK:
        if entry.path.lower().endswith(SUFFIXES):
            return "is a symbolic link, which is not followed; commit the manifest itself"
        return "is a symbolic link to a folder, which is not followed; commit the folder itself"
    return "" if entry.kind == _FILE else "is of a kind that git does not know; commit a file"


def _counts(odb: pygit2.Odb, root: str, entry: Entry) -> bool:
    """Whether the author may think that it is read: most symbolic links lead to other things."""
    return (
        entry.kind != _LINK
        or entry.path.lower().endswith(SUFFIXES)
        or _leads_to_folder(odb, root, entry)
    )


def _leads_to_folder(odb: pygit2.Odb, root: str, link: Entry) -> bool:
    if _size(odb, link.id) > _MAX_LINK:
        return False
    target = read_blob(odb, link.id).decode("utf-8", "surrogateescape")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), target))
    found = None if path.startswith(("/", "..")) else find(odb, root, path.removeprefix("."))
    return found is not None and found.kind == _FOLDER


def _entries(odb: pygit2.Odb, tree: str) -> Iterator[Raw]:
    """The entries of one tree object."""
    if _size(odb, tree) > _MAX_TREE:
        raise _TooMuchError("has a folder of more than a million entries; split it")
    for match in _ENTRY.finditer(read_blob(odb, tree)):
        yield match[1], match[2], match[3]


def _entry(folder: str, raw: Raw) -> Entry:
    mode, name, oid = raw
    path = name.decode("utf-8", "surrogateescape")
    return Entry(f"{folder}/{path}" if folder else path, int(mode, 8) & 0o170000, oid.hex())


def _size(odb: pygit2.Odb, oid: str) -> int:
    try:
        return odb.read_header(oid)[1]
    except (KeyError, pygit2.GitError) as error:
        raise _missing(oid, error) from error


def read_blob(odb: pygit2.Odb, oid: str) -> bytes:
    """The bytes of an object; raises SourceError."""
    try:
        return odb.read(oid)[1]
    except (KeyError, pygit2.GitError) as error:
        raise _missing(oid, error) from error


def _missing(oid: str, error: Exception) -> SourceError:
    return SourceError(
        f"object {oid} of the repository is missing or damaged ({error}); see `git fsck`",
        again=True,
    )
