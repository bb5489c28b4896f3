"""Small repositories: texts of files -> a commit, read with the real loader and schemas."""

import json
from collections.abc import Mapping
from typing import Any

from reconciler.model.commit import Commit, read_commit
from reconciler.model.topology import Topology
from reconciler.source.files import Snapshot, SourceFile
from reconciler.source.package import schemas

HOSTS = """\
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {name: edge-1, labels: {zone: a}}
spec: {underlay: 172.31.1.11}
---
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {name: edge-2, labels: {zone: b}}
spec: {underlay: 172.31.2.11}
"""
NETWORK = """\
apiVersion: reconciler/v1alpha1
kind: VPC
metadata: {name: shop, namespace: shop}
spec: {vni: 4097, cidrs: [10.0.0.0/8, 2001:db8::/32]}
---
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {name: web, namespace: shop}
spec: {vpc: shop, cidrs: [10.1.0.0/24, 2001:db8:1::/64]}
"""
BASE = {"hosts.yaml": HOSTS, "network.yaml": NETWORK}


def read(files: Mapping[str, str | bytes]) -> Commit:
    """The commit of these files alone."""
    known = sorted(files.items())
    sources = [
        SourceFile(path, "", data if isinstance(data, bytes) else data.encode())
        for path, data in known
    ]
    return read_commit(Snapshot("0" * 40, tuple(sources)), schemas())


def problems(files: Mapping[str, str | bytes]) -> list[str]:
    """What is wrong with BASE and these files, as the author sees it."""
    return [str(each) for each in read({**BASE, **files}).problems]


def topology(files: Mapping[str, str | bytes]) -> Topology:
    """The topology of BASE and these files, which must have no problem."""
    commit = read({**BASE, **files})
    assert commit.topology is not None, [str(each) for each in commit.problems]
    return commit.topology


def manifest(
    kind: str, name: str, spec: Mapping[str, Any], namespace: str = "", **meta: Any
) -> str:
    """One document on one line, to be joined by `many`."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **meta}
    version = "v1" if kind == "Namespace" else "reconciler/v1alpha1"
    body = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
    return json.dumps(body) + "\n"


def many(*documents: str) -> str:
    """A file of several documents."""
    return "---\n".join(documents)


def endpoint(name: str, *addresses: str, namespace: str = "shop", **spec: Any) -> str:
    """An endpoint of network web on edge-1, unless `spec` says otherwise."""
    labels = spec.pop("labels", {"app": "web"})
    whole = {"network": "web", "host": "edge-1", **spec}
    if addresses:
        whole["addresses"] = list(addresses)
    return manifest("Endpoint", name, whole, namespace, labels=labels)
