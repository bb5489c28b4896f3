"""SourceFile and Snapshot: the manifests of one commit, as bytes. Values; git.py makes them."""

from __future__ import annotations

import re
from dataclasses import dataclass

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE = 4 << 20  # bytes; a manifest of 10,000 endpoints has less
MAX_FILES = 100_000
MAX_ENTRIES = 1_000_000  # files and folders of any name that are looked at
MAX_TOTAL = 1 << 30  # bytes of all manifests together
MAX_DEPTH = 64  # folders
# Bytes that are no UTF-8, and what would make a path in a message look like something else.
ODD_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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
