"""The real agent as a process of its own, in its host's network namespace, on the real kernel."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from reconciler.agent import client
from tests.agent.network import Network
from tests.cli.command import PROGRAM, Done, reconciler
from tests.datapath.place import NETNS, Place, entered

PATIENCE = 60.0  # seconds; only a failure waits so long

Status = Mapping[str, Any]


class Host:
    """A place with an underlay and a repository, and the agent on it, which may come and go.

    Settings are as in the configuration file; drift is looked for so rarely, and a remote so
    never, that what happens in a test happens because of what the test did.
    """

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self._folder = place, folder
        self.network = Network(folder, place.host, netns=place.tag)
        for number in range(1, 40):
            place.name(f"web-{number}")
        with IPRoute() as route:
            route.link("add", ifname="eth0", kind="veth", peer={"ifname": "far0"})
            for name in ("eth0", "far0"):
                route.link("set", index=route.link_lookup(ifname=name)[0], state="up")
            index = route.link_lookup(ifname="eth0")[0]
            route.addr("add", index=index, address="192.0.2.1", prefixlen=24)
        self.run_dir, self.state_dir = folder / "run", folder / "state"
        self.config = folder / "agent.json"
        self.settings = {
            "host": place.host,
            "repository": str(self.network.bare),
            "runDir": str(self.run_dir),
            "stateDir": str(self.state_dir),
            "bpffs": str(place.bpffs),
            "netnsDir": str(NETNS),
            "createNetns": True,
            "drift": 600,
            "poll": 0,
        }
        self.configure()
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, **settings: Any) -> None:
        """Write the configuration, with some settings changed."""
        self.settings |= settings
        self.config.write_text(json.dumps(self.settings))

    def start(self, *before: str, **environment: str) -> "Host":
        """Start the agent, in the namespace of the calling thread; `before` runs it."""
        with (self._folder / "agent.log").open("ab") as log:
            command = [*before, PROGRAM, "agent", "--config", self.config]
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **environment}
            )
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        assert self.process
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def clear(self) -> None:
        """Nothing outlives the test."""
        if self.process and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.process = None

    def run(self, verb: str, *arguments: str | Path) -> Done:
        """One of the verbs on this host; the caller looks at the exit code."""
        words = (*verb.split(), "--config", self.config, *arguments)
        return reconciler(*map(str, words), cwd=self._folder)

    def status(self) -> Status:
        """What the agent says of itself; {} if it does not answer."""
        try:
            return client.status(self.run_dir)
        except client.NoAgentError:
            return {}

    def wait(self, holds: Callable[[Status], bool]) -> Status:
        """Until the status is such; a failure shows it, and the log."""
        end = time.monotonic() + PATIENCE
        found: Status = {}
        while time.monotonic() < end:
            found = self.status()
            if found.get("conditions") and holds(found):
                return found
            assert self.process is None or self.process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(f"{json.dumps(found, indent=1)}\n{self.log}")

    def applied(self, commit: str) -> Status:
        """Until this commit is applied."""
        return self.wait(lambda found: found["lastApplied"] == commit and ready(found))

    @property
    def log(self) -> str:
        """What the agents wrote."""
        return (self._folder / "agent.log").read_text()

    def interfaces(self) -> set[str]:
        """The endpoints that have interfaces in the kernel, by the agent's aliases."""
        with IPRoute() as route:
            aliases = [link.get("IFLA_IFALIAS") or "" for link in route.get_links()]
        return {alias.rpartition(":")[2] for alias in aliases if alias.startswith("reconciler:")}


@contextmanager
def somewhere(folder: Path) -> Iterator[Host]:
    """A host with two endpoints wanted, and no agent yet; the caller is in its namespace."""
    place = Place()
    try:
        with entered(place.netns("host")):
            host = Host(place, folder)
            try:
                yield host
            finally:
                host.clear()
    finally:
        place.clear()


def condition(found: Status, kind: str) -> str:
    """The status of one condition."""
    return next(each["status"] for each in found["conditions"] if each["type"] == kind)


def ready(found: Status) -> bool:
    """Whether the host does what the newest commit says."""
    return condition(found, "Ready") == "True"
