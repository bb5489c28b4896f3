"""The agents of a lab: started as on a real host, each in its host's namespace, and watched."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.agent import client, store
from reconciler.lab import processes
from reconciler.lab.layout import LabError
from reconciler.lab.places import Places
from reconciler.lab.record import Record

LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class AgentView:
    """What is known of a host's agent. `status` is what it says of itself, {} if it does not."""

    host: str
    pid: int | None
    status: dict[str, Any]

    def condition(self, kind: str) -> dict[str, str]:
        """One of the conditions of its status, {} if unknown."""
        for each in self.status.get("conditions", ()):
            if each["type"] == kind:
                return dict(each)
        return {}

    def converged(self, commit: str) -> bool:
        """Whether the host does what `commit` says, and nothing waits."""
        return (
            self.status.get("enforced") == commit
            and self.condition("Ready").get("status") == "True"
            and self.condition("Waiting").get("status") == "False"
        )

    def stuck(self, commit: str) -> bool:
        """Whether waiting does not help: it has ended, or needs a person."""
        refused = any(self.condition(each).get("status") == "True" for each in ("Held", "Invalid"))
        return self.pid is None or (refused and self.status.get("lastAttempted") == commit)

    def trouble(self) -> str:
        """Why it has not converged, in a line; '' if it only needs time."""
        if self.pid is None:
            return "its agent has ended"
        for kind in ("Invalid", "Held", "Stalled", "Waiting", "Converged"):
            found = self.condition(kind)
            if found and found["status"] == ("False" if kind == "Converged" else "True"):
                return f"{kind.lower()}: {found['message'] or found['reason']}"
        return "" if self.status else "its agent has not answered yet"


class Agents:
    """Those of one lab."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def start(self, record: Record, hosts: Sequence[str], progress: Callable[[str], None]) -> None:
        """Start those that do not run, or run with another configuration; a few at a time."""
        starting: list[str] = []
        for host in hosts:
            if self._start(record, host):
                starting.append(host)
            while len(starting) >= max(2, os.cpu_count() or 2):
                starting = self._still_starting(starting)
            progress(host)
        while starting:
            starting = self._still_starting(starting)

    def _start(self, record: Record, host: str) -> bool:
        """Whether it was started now."""
        run = self.places.host_run(host)
        run.mkdir(parents=True, exist_ok=True)
        text = json.dumps(configuration(self.places, record, host), indent=1).encode()
        config, pid_file = run / "agent.yaml", run / "agent.pid"
        if processes.alive(pid_file):
            if config.exists() and config.read_bytes() == text:
                return False
            processes.stop([pid_file])
        store.replace(config, text, durable=False)
        (run / client.SOCKET).unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "reconciler", "agent", "--config", str(config)]
        processes.start(command, self.places.host_netns(host), pid_file, run / "agent.log")
        return True

    def _still_starting(self, hosts: list[str]) -> list[str]:
        """Those that have not opened their socket yet; waits a moment."""
        time.sleep(0.02)
        for host in hosts:
            if not processes.alive(self.places.host_run(host) / "agent.pid"):
                raise LabError(f"host {host}: the agent ended at once\n{self.log_tail(host)}")
        return [h for h in hosts if not (self.places.host_run(h) / client.SOCKET).exists()]

    def log_tail(self, host: str) -> str:
        """The last lines that a host's agent wrote, and where the rest is."""
        log = self.places.host_run(host) / "agent.log"
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
        return "\n".join([*(f"  {line}" for line in lines), f"  ({log})"])

    def view(self, host: str) -> AgentView:
        """The agent as it is now."""
        run = self.places.host_run(host)
        pid = processes.alive(run / "agent.pid")
        try:
            status = client.status(run, seconds=5.0) if pid else {}
        except (client.NoAgentError, ValueError):
            status = {}
        return AgentView(host, pid, status)

    def wait(
        self,
        hosts: Sequence[str],
        commit: str,
        patience: float,
        progress: Callable[[str], None],
    ) -> list[AgentView]:
        """Wait until every host does what `commit` says; those that do not after `patience` s."""
        limit = time.monotonic() + patience
        left = list(hosts)
        while True:
            views = [self.view(host) for host in left]
            behind = [view for view in views if not view.converged(commit)]
            for view in views:
                if view.converged(commit):
                    progress(view.host)
            if time.monotonic() > limit or all(view.stuck(commit) for view in behind):
                return behind
            left = [view.host for view in behind]
            time.sleep(0.05)

    def stop(self, hosts: Sequence[str]) -> None:
        """End them; packets go on."""
        processes.stop([self.places.host_run(host) / "agent.pid" for host in hosts])

    def stop_all(self) -> None:
        """End every process that the lab recorded."""
        processes.stop(sorted(self.places.run.glob("**/*.pid")))


def configuration(places: Places, record: Record, host: str) -> dict[str, Any]:
    """What a host's agent is told; the same file as on a real host."""
    return {
        "host": host,
        "repository": record.path,
        "branch": record.branch,
        "folder": record.folder,
        "stateDir": str(places.host_run(host) / "state"),
        "runDir": str(places.host_run(host)),
        "bpffs": str(places.bpffs),
        "netnsDir": str(places.netns),
        "createNetns": True,
        # Whoever brings up a lab of a repository has named it.
        "trust": [record.path],
    }
