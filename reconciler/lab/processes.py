"""Processes that outlive the command that started them, and are ended only if they are the same.

A process writes its own line of /proc/PID/stat to a file before it becomes what was asked for, so
none runs unrecorded; pid and start time together name it, whoever has the number later.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Kept short: the shell is replaced, and pid and start time stay.
RECORD = 'read -r line </proc/$$/stat && echo "$line" >"$0" && exec "$@"'


def start(command: Sequence[str], namespace: Path | None, pid_file: Path, log: Path) -> None:
    """Run `command` in a namespace (None: this one) and a session of its own; output to `log`."""
    inside = ["nsenter", f"--net={namespace}", "--"] if namespace else []
    detached = ["setsid", "--fork", "sh", "-c", RECORD, str(pid_file), *inside, *command]
    pid_file.unlink(missing_ok=True)
    with log.open("ab") as output:
        subprocess.run(detached, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True)
    limit = time.monotonic() + 5.0
    while not _written(pid_file) and time.monotonic() < limit:
        time.sleep(0.002)


def alive(pid_file: Path) -> int | None:
    """The pid of the recorded process, if that very process still runs."""
    try:
        recorded = _identity(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    pid = recorded[0]
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    dead = stat.rpartition(")")[2].split()[0] in "ZX"
    return None if dead or _identity(stat) != recorded else pid


def stop(pid_files: Sequence[Path], patience: float = 10.0) -> None:
    """End the recorded processes: asked first, killed after `patience` seconds in groups."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid_file in pid_files:
            if pid := alive(pid_file):
                with suppress(ProcessLookupError):
                    os.killpg(pid, number) if number == signal.SIGKILL else os.kill(pid, number)
        limit = time.monotonic() + patience
        while any(map(alive, pid_files)) and time.monotonic() < limit:
            time.sleep(0.02)
    for pid_file in pid_files:
        pid_file.unlink(missing_ok=True)


def _written(pid_file: Path) -> bool:
    """Whether the whole line is there, which the shell's redirection makes empty first."""
    try:
        return pid_file.read_text().endswith("\n")
    except FileNotFoundError:
        return False


def _identity(stat: str) -> tuple[int, int]:
    """(pid, start time in clock ticks since boot) of a line of /proc/PID/stat (proc(5))."""
    head, _, tail = stat.rpartition(")")
    try:
        return int(head.split(" ", 1)[0]), int(tail.split()[19])
    except IndexError:
        raise ValueError("not a line of /proc/PID/stat") from None
