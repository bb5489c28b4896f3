import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.lab import processes

HERE = Path("/proc/self/ns/net")


def wait_until_dead(pid: int) -> None:
    limit = time.monotonic() + 10
    while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < limit:
        time.sleep(0.01)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Path]:
    """The pid file of a process that sleeps."""
    pid_file = tmp_path / "sleeper.pid"
    processes.start(["sleep", "600"], HERE, pid_file, tmp_path / "log")
    yield pid_file
    processes.stop([pid_file])


def test_a_started_process_is_recorded_by_its_own_pid(sleeper: Path) -> None:
    pid = processes.alive(sleeper)
    assert pid
    assert os.getpgid(pid) == os.getsid(pid) != os.getpgid(0)


def test_a_stopped_process_is_gone_and_so_is_its_record(sleeper: Path) -> None:
    pid = processes.alive(sleeper)
    assert pid
    processes.stop([sleeper])
    assert not Path(f"/proc/{pid}/exe").exists()
    assert not sleeper.exists()


def test_a_process_that_ignores_the_request_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid_file, child_file = tmp_path / "stubborn.pid", tmp_path / "child"
    script = f"trap '' TERM; sleep 600 & echo $! >{child_file}; while :; do wait; done"
    processes.start(["sh", "-c", script], HERE, pid_file, tmp_path / "log")
    limit = time.monotonic() + 10
    while not (child_file.exists() and child_file.read_text()) and time.monotonic() < limit:
        time.sleep(0.01)
    child = int(child_file.read_text())
    processes.stop([pid_file], patience=0.2)
    wait_until_dead(child)
    assert not Path(f"/proc/{child}/exe").exists()
    assert processes.alive(pid_file) is None


def test_another_process_with_the_recorded_pid_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            head, _, tail = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")
            fields = tail.split()
            fields[19] = str(int(fields[19]) - 100)  # the recorded one began a second earlier
            pid_file = tmp_path / "stale.pid"
            pid_file.write_text(f"{head}) {' '.join(fields)}\n")
            assert processes.alive(pid_file) is None
            processes.stop([pid_file])
            assert other.poll() is None
        finally:
            other.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("text", ["", "12", "not a process", "1 (sh) S 1 2"])
def test_a_record_cut_short_names_no_process(tmp_path: Path, text: str) -> None:
    pid_file = tmp_path / "cut.pid"
    pid_file.write_text(text)
    assert processes.alive(pid_file) is None


def test_what_a_process_writes_goes_to_its_log(tmp_path: Path) -> None:
    log, pid_file = tmp_path / "log", tmp_path / "talker.pid"
    processes.start(["sh", "-c", "echo hello; echo problem >&2"], HERE, pid_file, log)
    limit = time.monotonic() + 10
    while processes.alive(pid_file) and time.monotonic() < limit:
        time.sleep(0.01)
    assert log.read_text().split() == ["hello", "problem"]
