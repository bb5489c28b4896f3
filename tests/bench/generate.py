"""Generated repositories: believable networks of a chosen size, in files as people keep them.

At most 500 documents a file and 256 entries a folder; the same arguments give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2

DOCUMENTS = 500  # a file
ENTRIES = 256  # a folder
NETWORK_SIZE = 250  # endpoints of one /24


@dataclass(frozen=True, slots=True)
class Size:
    """How large a generated cluster is. Networks and VPCs follow from the endpoints."""

    endpoints: int
    hosts: int = 200
    zones: int = 4
    networks_per_vpc: int = 40

    @property
    def networks(self) -> int:
        """Full /24 networks, rounded up."""
        return -(-self.endpoints // NETWORK_SIZE)

    @property
    def vpcs(self) -> int:
        """VPCs, rounded up."""
        return -(-self.networks // self.networks_per_vpc)


def host(number: int, zones: int) -> str:
    """A Host manifest."""
    return (
        "apiVersion: reconciler/v1alpha1\nkind: Host\n"
        f"metadata: {{name: h{number}, labels: {{zone: z{number % zones}}}}}\n"
        f"spec: {{underlay: {underlay(number, zones)}, interface: eth0}}\n"
    )


def underlay(number: int, zones: int) -> str:
    """The address of a host: a /16 for each zone."""
    return f"172.{16 + number % zones}.{number // 250}.{number % 250 + 2}"


def vpc(number: int) -> str:
    """A VPC manifest, in a namespace of its own; every VPC has the same addresses."""
    return (
        "apiVersion: reconciler/v1alpha1\nkind: VPC\n"
        f"metadata: {{name: main, namespace: t{number}}}\n"
        f"spec: {{vni: {number + 1}, cidrs: [10.0.0.0/8]}}\n"
    )


def network(number: int, size: Size) -> str:
    """A Network manifest: the /24 number `number` of its VPC."""
    tenant, local = divmod(number, size.networks_per_vpc)
    return (
        "apiVersion: reconciler/v1alpha1\nkind: Network\n"
        f"metadata: {{name: n{local}, namespace: t{tenant}}}\n"
        f"spec: {{vpc: main, cidrs: [10.0.{local}.0/24]}}\n"
    )


def endpoint(number: int, size: Size, label: str = "web") -> str:
    """An Endpoint manifest, on a host chosen by its number."""
    index, slot = divmod(number, NETWORK_SIZE)
    tenant, local = divmod(index, size.networks_per_vpc)
    return (
        "apiVersion: reconciler/v1alpha1\nkind: Endpoint\n"
        f"metadata: {{name: e{number}, namespace: t{tenant}, labels: {{app: {label}}}}}\n"
        f"spec: {{network: n{local}, host: h{number * 7919 % size.hosts}, "
        f"addresses: [10.0.{local}.{slot + 2}]}}\n"
    )


def _chunks(count: int, length: int) -> Iterator[range]:
    for start in range(0, count, length):
        yield range(start, min(start + length, count))


def files(size: Size) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every file."""

    def joined(documents: list[str]) -> bytes:
        return "---\n".join(documents).encode()

    for part, numbers in enumerate(_chunks(size.hosts, DOCUMENTS)):
        yield f"hosts/{part}.yaml", joined([host(n, size.zones) for n in numbers])
    for part, numbers in enumerate(_chunks(size.vpcs, DOCUMENTS)):
        yield f"vpcs/{part}.yaml", joined([vpc(n) for n in numbers])
    for part, numbers in enumerate(_chunks(size.networks, DOCUMENTS)):
        yield f"networks/{part // ENTRIES}/{part}.yaml", joined([network(n, size) for n in numbers])
    for part, numbers in enumerate(_chunks(size.endpoints, DOCUMENTS)):
        path = f"endpoints/{part // ENTRIES}/{part}.yaml"
        yield path, joined([endpoint(n, size) for n in numbers])


def commit(repository: pygit2.Repository, contents: dict[str, bytes], message: str) -> str:
    """Commit `contents` on top of main without a work tree; the new commit's id."""
    made = prepare(repository, contents, message)
    repository.references.create("refs/heads/main", made, force=True)
    return str(made)


def prepare(repository: pygit2.Repository, contents: dict[str, bytes], message: str) -> pygit2.Oid:
    """The same, but main does not move to it yet."""
    index = pygit2.Index()
    parents = []
    if "refs/heads/main" in repository.references:
        head = repository.references["refs/heads/main"].peel(pygit2.Commit)
        index.read_tree(head.tree)
        parents = [head.id]
    for path, data in contents.items():
        blob = repository.create_blob(data)
        index.add(pygit2.IndexEntry(path, blob, pygit2.enums.FileMode.BLOB))
    tree = index.write_tree(repository)
    author = pygit2.Signature("bench", "bench@example.invalid", 0, 0)
    return repository.create_commit(None, author, author, message, tree, parents)


def repository(path: Path, size: Size) -> pygit2.Repository:
    """A bare repository with one commit of that size."""
    made = pygit2.init_repository(str(path), bare=True, initial_head="main")
    commit(made, dict(files(size)), f"{size.endpoints} endpoints")
    return made
