"""SourceFile and Snapshot: the manifests of one commit, as bytes. Values; git.py makes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE = 4 << 20  # bytes; a manifest of 10,000 endpoints has less
MAX_FILES = 100_000
MAX_ENTRIES = 1_000_000  # files and folders of any name that are looked at
MAX_TOTAL = 512 << 20  # bytes of all manifests together
MAX_DEPTH = 64  # folders
# Bytes that are no UTF-8, and what would make a path in a message look like something else.
ODD_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a commit. `blob` is the git id of its bytes, so equal blobs have equal results.

    `data` None: not read yet, `Snapshot.full` does. `refused` says why it is not read at all, as a
    sentence about the file without its subject ("is a symbolic link; ..."), else ''; what concerns
    a whole folder is refused under its path. `size` is that of the bytes, where git was asked.
    """

    path: str
    blob: str
    data: bytes | None
    refused: str = ""
    size: int = 0

    @property
    def content(self) -> bytes:
        """The bytes of a file that was read."""
        if self.data is None:
            raise ValueError(f"{self.path} was not read; Snapshot.full reads it")
        return self.data


def _nowhere(blob: str) -> bytes:
    raise KeyError(blob)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All manifests of a commit, sorted by path; only names that end in SUFFIXES.

    `fetch` gives the bytes of a blob that was not read yet; it may raise SourceError. `folders` are
    what trees hold, for the next survey.
    """

    commit: str
    files: tuple[SourceFile, ...]
    fetch: Callable[[str], bytes] = field(default=_nowhere, compare=False, repr=False)
    folders: Mapping[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    def bytes_of(self, file: SourceFile) -> bytes:
        """The bytes of one of the files."""
        return self.fetch(file.blob) if file.data is None else file.data

    def full(self, file: SourceFile) -> SourceFile:
        """The file with its bytes."""
        return replace(file, data=self.bytes_of(file)) if file.data is None else file
