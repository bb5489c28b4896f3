"""SourceFile and Snapshot: the manifests of one commit, as bytes. Values; git.py makes them."""

from __future__ import annotations

from dataclasses import dataclass

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE = 4 << 20  # bytes; a manifest of 10,000 endpoints has less
MAX_FILES = 100_000
MAX_ENTRIES = 1_000_000  # files and folders of any name that are looked at
MAX_TOTAL = 1 << 30  # bytes of all manifests together
MAX_DEPTH = 64  # folders


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a commit. `blob` is the git id of its bytes, so equal blobs have equal results.

    `refused` says why `data` was not read, as a sentence about the file without its subject
    ("is a symbolic link; ..."), else ''. What concerns a whole folder is refused under its path.
    """

    path: str
    blob: str
    data: bytes
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All manifests of a commit, sorted by path; only names that end in SUFFIXES."""

    commit: str
    files: tuple[SourceFile, ...]
