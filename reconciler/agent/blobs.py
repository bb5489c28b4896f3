"""BlobCache: what files contribute, on disk by blob id, so that a cold start parses nothing twice.

Safe to delete at any time; bounded; of one release and its schemas, others are thrown away.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from reconciler.agent.store import replace
from reconciler.model.part import Part
from reconciler.model.part_serial import dump_part, load_part

LIMIT = 512 << 20  # bytes; a million endpoints take some 150 MiB
_CODE = ("manifest", "model")  # folders of the package that say what bytes mean


class BlobCache:
    """model.follow.Kept in a folder. A file that cannot be read or written is not there."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._all, self._limit = folder, limit
        self._folder = folder / _version()
        self._room: int | None = None  # bytes that may be written before somebody has to look

    def get(self, blob: str, is_json: bool) -> Part | None:
        """What a file of these bytes holds."""
        try:
            return load_part(self._path(blob, is_json).read_bytes())
        except (OSError, ValueError):
            return None

    def put(self, blob: str, is_json: bool, part: Part) -> None:
        """Keep it."""
        data = dump_part(part)
        try:
            if self._room is None or self._room < len(data):
                self._tidy()
            path = self._path(blob, is_json)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, data, durable=False)
        except OSError:
            return
        self._room = (self._room or 0) - len(data)

    def _path(self, blob: str, is_json: bool) -> Path:
        return self._folder / blob[:2] / f"{blob[2:]}.{'json' if is_json else 'yaml'}"

    def _tidy(self) -> None:
        """Throw away other releases' files, and the oldest until half of the room is free."""
        for other in self._all.glob("*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        found = [(path.stat(), path) for path in self._folder.glob("*/*")]
        used = sum(stat.st_size for stat, _ in found)
        if used > self._limit // 2:
            for stat, path in sorted(found, key=lambda each: each[0].st_mtime_ns):
                path.unlink(missing_ok=True)
                used -= stat.st_size
                if used <= self._limit // 2:
                    break
        self._room = self._limit - used


def _version() -> str:
    """A digest of everything that decides what bytes mean."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    files = [path for name in _CODE for path in (package / name).glob("*.py")]
    for root in (package / "schemas", package.parent / "schemas"):
        files += root.glob("*.json")
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
