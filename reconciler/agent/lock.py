"""HostLock: one agent per host, by a lock that the kernel drops when the process ends, anyhow."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.datapath.errors import HostError


class AgentRunningError(Exception):
    """Another process holds this host's lock; `pid` is 0 where it left no number."""

    def __init__(self, host: str, pid: int, path: Path) -> None:
        self.pid = pid
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"host {host}: {who} holds {path}; one agent works on a host at a time, "
            f"stop that one first, or speak to it (`reconciler status`, `reconciler apply`)"
        )


class HostLock:
    """Held from `take` until `release`, or until the process ends."""

    def __init__(self, run_dir: Path, host: str) -> None:
        self._path = run_dir / "lock"
        self._host = host
        self._file = -1

    def take(self) -> Self:
        """Take it at once or raise AgentRunningError; HostError where it cannot be made."""
        if self._file >= 0:
            return self
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise HostError(f"{self._path}: {error.strerror}; choose another runDir") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise AgentRunningError(self._host, holder(self._path.parent), self._path) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._file = handle
        return self

    def release(self) -> None:
        """Twice is once. The file stays: removing it would let two processes lock two files."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self.take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def holder(run_dir: Path) -> int:
    """The process that wrote its number into the lock; 0 for none. It need not live any more."""
    try:
        return int((run_dir / "lock").read_text() or 0)
    except (OSError, ValueError):
        return 0
