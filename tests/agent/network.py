"""A small network of two hosts in a real repository, changed by real commits and pushes."""

import json
import subprocess
from pathlib import Path
from typing import Any

VPC, NETWORK = "shop", "web"
OTHER = "far-1"  # the other host; nobody runs it


def git(*arguments: str | Path, at: Path) -> str:
    """One git command's output."""
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    command = ["git", *identity, *map(str, arguments)]
    return subprocess.run(command, cwd=at, check=True, text=True, capture_output=True).stdout


def manifest(kind: str, name: str, spec: dict[str, Any], namespace: str = "shop") -> str:
    """One document; JSON is YAML."""
    metadata = {"name": name} if kind == "Host" else {"name": name, "namespace": namespace}
    body = {"apiVersion": "reconciler/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    return json.dumps(body)


class Network:
    """A bare repository and the clone that pushes to it; the host under test has `endpoints`.

    `netns` begins the names of the endpoints' namespaces.
    """

    def __init__(self, folder: Path, host: str, endpoints: int = 2, netns: str = "shop") -> None:
        self.bare, self.clone = folder / "network.git", folder / "clone"
        self.host, self._netns = host, netns
        git("init", "--quiet", "--bare", "--initial-branch=main", self.bare, at=folder)
        git("clone", "--quiet", self.bare, self.clone, at=folder)
        git("checkout", "--quiet", "-B", "main", at=self.clone)
        self.base()
        self.endpoints(endpoints)
        self.first = self.push()

    def base(self, **own: Any) -> None:
        """Hosts, the VPC and its network; `own` is more of the host under test."""
        self.write(
            "base.yaml",
            manifest("Host", self.host, {"underlay": "192.0.2.1", "interface": "eth0", **own}),
            manifest("Host", OTHER, {"underlay": "192.0.2.2", "interface": "eth0"}),
            manifest("VPC", VPC, {"vni": 4097, "cidrs": ["10.1.0.0/16"]}),
            manifest("Network", NETWORK, {"vpc": VPC, "cidrs": ["10.1.0.0/24"]}),
        )

    def write(self, name: str, *documents: str) -> None:
        """One file of the clone."""
        (self.clone / name).write_text("\n---\n".join(documents) + "\n")

    def endpoints(self, count: int, first: int = 1) -> None:
        """So many endpoints on the host under test, numbered from `first`, and none other."""
        numbers = range(first, first + count)
        self.write("endpoints.yaml", *(self.endpoint(number) for number in numbers))

    def endpoint(
        self,
        number: int,
        network: str = NETWORK,
        host: str = "",
        attach: dict[str, Any] | None = None,
    ) -> str:
        """One endpoint's manifest; on the host under test, by a veth, if nothing else is said."""
        name = f"{network}-{number}"
        spec = {
            "network": network,
            "host": host or self.host,
            "addresses": [f"10.1.{0 if network == NETWORK else 9}.{number + 10}"],
            "attach": attach or {"veth": {"netns": f"{self._netns}.{name}"}},
        }
        return manifest("Endpoint", name, spec)

    def commit(self) -> str:
        """Everything in the clone; the commit's id."""
        git("add", "-A", at=self.clone)
        git("commit", "--quiet", "--allow-empty", "-m", "change", at=self.clone)
        return git("rev-parse", "HEAD", at=self.clone).strip()

    def push(self, *options: str) -> str:
        """Commit and push; the commit's id."""
        commit = self.commit()
        git("push", "--quiet", *options, "origin", "main", at=self.clone)
        return commit
