import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.agent.lock import AgentRunningError, HostLock, holder
from reconciler.datapath.errors import HostError

HOLD = """
import sys
from pathlib import Path
from reconciler.agent.lock import HostLock
HostLock(Path(sys.argv[1]), "edge-1").take()
print("held", flush=True)
sys.stdin.read()
"""


def hold(run_dir: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_second_agent_of_a_host_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with hold(tmp_path) as process:
        try:
            with pytest.raises(AgentRunningError, match=f"edge-1: process {process.pid} holds"):
                HostLock(tmp_path, "edge-1").take()
        finally:
            process.kill()


def test_agents_of_two_hosts_run_side_by_side(tmp_path: Path) -> None:
    with HostLock(tmp_path / "edge-1", "edge-1"), HostLock(tmp_path / "edge-2", "edge-2"):
        assert holder(tmp_path / "edge-1") == holder(tmp_path / "edge-2") == os.getpid()


def test_a_killed_agent_leaves_no_lock(tmp_path: Path) -> None:
    with hold(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    with HostLock(tmp_path, "edge-1"):
        assert holder(tmp_path) == os.getpid()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="choose another runDir"):
        HostLock(tmp_path / "file" / "run", "edge-1").take()


def test_a_released_lock_names_nobody(tmp_path: Path) -> None:
    lock = HostLock(tmp_path, "edge-1").take()
    lock.release()
    lock.release()
    assert holder(tmp_path) == 0
