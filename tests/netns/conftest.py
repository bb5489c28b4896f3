"""Labs of small generated repositories: real agents, real packets, names that nobody else uses."""

import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler.agent import client
from reconciler.lab.demo import Workspace
from reconciler.lab.directory import Member
from reconciler.lab.lab import Lab, Up, Wanted

TENANT = """
apiVersion: v1
kind: Namespace
metadata: {{name: {name}}}
---
apiVersion: reconciler/v1alpha1
kind: VPC
metadata: {{name: {name}, namespace: {name}}}
spec: {{vni: {vni}, cidrs: [10.0.0.0/16, "2001:db8::/32"]}}
---
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {{name: left, namespace: {name}}}
spec:
  vpc: {name}
  cidrs: [10.0.1.0/24, "2001:db8:1::/64"]
  bouncers: {{count: {bouncers}}}
---
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {{name: other, namespace: {name}}}
spec:
  vpc: {name}
  cidrs: [10.0.2.0/24, "2001:db8:2::/64"]
  bouncers: {{count: {bouncers}}}
"""

MODES = ("native", "tc")
NETWORKS = {"left": 1, "other": 2}


def host(name: str, underlay: str, zone: str, role: bool) -> str:
    """A manifest; with `role` it bounces and divides, and otherwise it does neither."""
    flag = str(role).lower()
    return f"""
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {{name: {name}, labels: {{zone: {zone}}}}}
spec: {{underlay: {underlay}, bounce: {flag}, divide: {flag}}}
"""


def in_mode(files: Mapping[str, str], mode: str) -> dict[str, str]:
    """The same manifests with another attach mode of all hosts that are managed."""
    given = "spec: {underlay:"
    return {
        name: text.replace(given, f"spec: {{attachMode: {mode}, underlay:")
        for name, text in files.items()
    }


def tenant(name: str, vni: int, bouncers: int = 2) -> str:
    """A namespace with a VPC and its networks, of the same addresses for every tenant."""
    return TENANT.format(name=name, vni=vni, bouncers=bouncers)


def endpoint(namespace: str, name: str, network: str, number: int, on: str) -> str:
    """An endpoint with the addresses of its number, IPv4 and IPv6."""
    net = NETWORKS[network]
    return f"""
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  network: {network}
  host: {on}
  addresses: [10.0.{net}.{number}, "2001:db8:{net}::{number}"]
"""


class Cloud:
    """A lab that is up, and the repository that it follows."""

    def __init__(self, lab: Lab, workspace: Workspace, came: Up) -> None:
        self.lab, self.workspace, self.came = lab, workspace, came

    @classmethod
    def of(cls, lab: Lab, folder: Path, files: Mapping[str, str], **wanted: int) -> "Cloud":
        manifests = folder / "manifests"
        manifests.mkdir()
        for name, text in files.items():
            (manifests / name).write_text(text)
        workspace = Workspace.make(manifests, folder / "work", folder / "bare.git")
        workspace.push("begin")
        came = lab.up(Wanted(str(workspace.bare), **wanted), lambda *_: None)
        assert not came.behind, [(each.host, each.trouble()) for each in came.behind]
        return cls(lab, workspace, came)

    def member(self, name: str) -> Member:
        return self.lab.directory().find(name)

    def run(
        self, name: str, *command: str, timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """A command in the namespace of a host or endpoint, names replaced by addresses."""
        directory = self.lab.directory()
        return subprocess.run(
            [
                *("nsenter", f"--net={directory.find(name).netns}", "--"),
                *directory.resolve(command),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def ping(self, source: str, target: str, *options: str, count: int = 3) -> int:
        """How many of `count` pings were answered."""
        done = self.run(source, "ping", f"-c{count}", "-i0.05", "-W1", *options, target)
        return done.stdout.count("bytes from")

    def push(self, changes: Mapping[str, str | None]) -> None:
        """Write or delete files, commit, push, and wait until every host does what it says."""
        for name, text in changes.items():
            path = self.workspace.folder / name
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        pushed = self.workspace.push(f"change {', '.join(changes)}")
        hosts = [each.name for each in self.came.directory.hosts]
        behind = self.lab.agents.wait(hosts, pushed.commit, 30, lambda _: None)
        assert not behind, [(each.host, each.trouble()) for each in behind]

    def reasons(self, name: str) -> dict[str, int]:
        """Packets of a host by the reason of their verdict."""
        found = self._metric(name, "reconciler_verdict_packets")
        return {labels["reason"]: value for labels, value in found}

    def traffic(self, name: str, direction: str) -> dict[str, int]:
        """Packets of a host by endpoint: "rx" from it, "tx" to it."""
        found = self._metric(name, "reconciler_endpoint_packets")
        return {each["endpoint"]: n for each, n in found if each["direction"] == direction}

    def status(self, name: str) -> dict[str, Any]:
        """What a host's agent says of itself."""
        return dict(client.status(self.lab.places.host_run(name)))

    def _metric(self, name: str, metric: str) -> list[tuple[dict[str, str], int]]:
        page = client.request(self.lab.places.host_run(name), "GET", "/metrics", None, 5).decode()
        families = {each.name: each for each in text_string_to_metric_families(page)}
        return [(each.labels, int(each.value)) for each in families[metric].samples]


@contextmanager
def temporary_lab() -> Iterator[Lab]:
    """A lab of a name of its own; down afterwards, whatever happened."""
    lab = Lab(f"t{secrets.token_hex(4)}")
    try:
        yield lab
    finally:
        lab.down()


# Two hosts for endpoints and two that only relay, one of each in each zone.
RELAYED = "---".join(
    [
        host("alpha", "192.168.1.1", "a", False),
        host("bravo", "192.168.2.1", "b", False),
        host("relay-a", "192.168.1.2", "a", True),
        host("relay-b", "192.168.2.2", "b", True),
    ]
)
FILES = {
    "hosts.yaml": RELAYED,
    "red.yaml": "---".join(
        [
            tenant("red", 1001, bouncers=1),
            endpoint("red", "l1", "left", 11, "alpha"),
            endpoint("red", "l2", "left", 12, "bravo"),
            endpoint("red", "l3", "left", 13, "alpha"),
            endpoint("red", "o1", "other", 11, "bravo"),
            endpoint("red", "o2", "other", 12, "alpha"),
        ]
    ),
    "blue.yaml": "---".join(
        [
            tenant("blue", 1002, bouncers=1),
            endpoint("blue", "l1", "left", 11, "alpha"),
            endpoint("blue", "l2", "left", 12, "bravo"),
        ]
    ),
    # Nobody else asks these, so that their first packets are first. With one bouncer a network, on
    # different hosts, packets between the networks pass a divider.
    "quiet.yaml": "---".join(
        [
            tenant("quiet", 1003, bouncers=1),
            endpoint("quiet", "l1", "left", 11, "alpha"),
            endpoint("quiet", "l2", "left", 12, "bravo"),
            endpoint("quiet", "o1", "other", 11, "bravo"),
        ]
    ),
}


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two hosts with endpoints and two that only relay, for tests that change nothing."""
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("cloud"), FILES)
