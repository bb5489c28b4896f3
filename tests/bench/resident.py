"""A real agent on a generated repository, in a network namespace of its own, on this kernel.

What is measured is outside of it: when a row is live in the map, its processor time, its memory.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyroute2 import IPRoute

from reconciler.abi.generated import MAPS
from reconciler.abi.table import zeros
from reconciler.agent import client
from reconciler.datapath import elements
from reconciler.datapath.pins import Pinned, Pins
from tests.bench import generate
from tests.bench.generate import Size
from tests.cli.command import PROGRAM
from tests.datapath.place import Place, entered

PATIENCE = 1800.0  # seconds; only a failure waits so long
GATEWAY, GATEWAY_MAC = "198.51.100.1", "02:00:00:00:00:fe"
SPEC = MAPS["endpoints"]


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit cost, in seconds: until its row was live, and of the agent's processors."""

    live: float
    cpu: float
    phases: Mapping[str, float]


class Resident:
    """The agent of one host of a generated cluster."""

    def __init__(self, place: Place, folder: Path, size: Size, host: int, **settings: Any) -> None:
        self.size, self.host = size, host
        self._added: list[str] = []
        self.git = generate.repository(folder / "git", size)
        self._run, self._netns, self._bpffs = folder / "run", folder / "netns", place.bpffs
        self._netns.mkdir()
        self._pins = Pins(place.bpffs, f"h{host}")
        configuration = {
            "host": f"h{host}",
            "repository": str(folder / "git"),
            "runDir": str(self._run),
            "stateDir": str(folder / "state"),
            "bpffs": str(place.bpffs),
            "netnsDir": str(self._netns),
            "createNetns": True,
            "drift": 3600,
            "poll": 0,
            **settings,
        }
        (folder / "agent.json").write_text(json.dumps(configuration))
        self._log = folder / "agent.log"
        with self._log.open("wb") as log:
            command = [PROGRAM, "agent"]
            self.process = subprocess.Popen(
                [*command, "--config", folder / "agent.json"], stdout=log, stderr=log
            )

    def wait(self, commit: str) -> Mapping[str, Any]:
        """Until this commit is applied and nothing waits; the status."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self.process.poll() is None, self._log.read_text()
            try:
                found = client.status(self._run)
            except client.NoAgentError:
                found = {}
            if found.get("lastApplied") == commit and found.get("conditions"):
                return found
            time.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def head(self) -> str:
        return str(self.git.references["refs/heads/main"].target)

    def change(self, number: int, label: str) -> Change:
        """Give one endpoint of this host another label; until its row says so."""
        place = number // generate.NETWORK_SIZE, number % generate.NETWORK_SIZE + 2
        return self._carry(changed_file(self.size, number, label), self._key(*place))

    def add(self, beside: int, slot: int) -> Change:
        """Add an endpoint on this host, in the network of another; until its row is there."""
        index = beside // generate.NETWORK_SIZE
        tenant, local = divmod(index, self.size.networks_per_vpc)
        self._added.append(
            "apiVersion: reconciler/v1alpha1\nkind: Endpoint\n"
            f"metadata: {{name: new-{slot}, namespace: t{tenant}, labels: {{app: web}}}}\n"
            f"spec: {{network: n{local}, host: h{self.host}, addresses: [10.0.{local}.{slot}]}}\n"
        )
        file = {"endpoints/added.yaml": "---\n".join(self._added).encode()}
        return self._carry(file, self._key(index, slot))

    def _carry(self, files: dict[str, bytes], key: bytes) -> Change:
        commit = generate.prepare(self.git, files, "change")
        with self._pins.get(Pinned.MAP, "endpoints") as fd:  # type: ignore[union-attr]
            size = SPEC.value.dtype.itemsize
            before = elements.lookup(fd, key, size)
            spent = self.cpu()
            begin = time.perf_counter()
            self.git.references["refs/heads/main"].set_target(commit)
            while elements.lookup(fd, key, size) == before:
                assert time.perf_counter() - begin < PATIENCE, self._log.read_text()
                time.sleep(0.0005)
            live = time.perf_counter() - begin
            spent = self.cpu() - spent
        status = self.wait(str(commit))
        return Change(live, spent, status["lastRound"]["phasesMs"])

    def own(self) -> list[int]:
        """The endpoints of this host."""
        return [n for n in range(self.size.endpoints) if n * 7919 % self.size.hosts == self.host]

    def cpu(self) -> float:
        """Seconds of processors that the agent has used."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory(self) -> int:
        """Resident bytes of its own."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024

    def end(self) -> None:
        """End the agent, and what it made."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._pins.remove_all()
        for each in self._netns.iterdir():
            subprocess.run(["umount", str(each)], check=False, capture_output=True)
            each.unlink(missing_ok=True)
        # Where the first namespace was made, the folder has become a mount of itself.
        subprocess.run(["umount", str(self._netns)], check=False, capture_output=True)

    def _key(self, index: int, slot: int) -> bytes:
        """Of an address in the network of that index."""
        tenant, local = divmod(index, self.size.networks_per_vpc)
        key = zeros(SPEC.key, 1)
        key["vni"] = tenant + 1
        octets = bytes(10) + b"\xff\xff" + bytes([10, 0, local, slot])
        key["address"] = np.frombuffer(octets, np.uint8)
        return key.tobytes()


@contextmanager
def resident(folder: Path, size: Size, host: int = 7, **settings: Any) -> Iterator[Resident]:
    """Start it, and take everything away afterwards."""
    place = Place()
    place.host = f"h{host}"
    folder.mkdir(parents=True, exist_ok=True)
    agent = None
    try:
        with entered(place.netns("bench")):
            _underlay(size, host)
            agent = Resident(place, folder, size, host, **settings)
        yield agent
    finally:
        if agent is not None:
            agent.end()
        place.clear()
        shutil.rmtree(folder, ignore_errors=True)


def _underlay(size: Size, host: int) -> None:
    """The host's address, and a router behind which all others are."""
    with IPRoute() as route:
        route.link("add", ifname="eth0", kind="veth", peer={"ifname": "far0"})
        for name in ("eth0", "far0"):
            route.link("set", index=route.link_lookup(ifname=name)[0], state="up")
        index = route.link_lookup(ifname="eth0")[0]
        route.addr("add", index=index, address=generate.underlay(host, size.zones), prefixlen=32)
        route.route("add", dst=f"{GATEWAY}/32", oif=index, scope="link")
        route.neigh("add", dst=GATEWAY, lladdr=GATEWAY_MAC, ifindex=index, state="permanent")
        route.route("add", dst="default", gateway=GATEWAY, oif=index)


def changed_file(size: Size, number: int, label: str) -> dict[str, bytes]:
    """The file of one endpoint, in which that endpoint has another label."""
    part = number // generate.DOCUMENTS
    numbers = range(part * generate.DOCUMENTS, min((part + 1) * generate.DOCUMENTS, size.endpoints))
    texts = [generate.endpoint(each, size, label if each == number else "web") for each in numbers]
    return {f"endpoints/{part // generate.ENTRIES}/{part}.yaml": "---\n".join(texts).encode()}
