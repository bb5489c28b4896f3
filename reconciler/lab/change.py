"""A change worth showing: a commit that adds one endpoint and moves another, made for any topology.

Chosen by rule from the manifests, so that the demo works on other repositories than its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.lab.directory import Directory, Member
from reconciler.lab.layout import LabError
from reconciler.manifest.document import Document
from reconciler.model.topology import Address, AttachKind, Cidr, Network, Topology


@dataclass(frozen=True, slots=True)
class Change:
    """`added` and `moved` as they will be; `text` is the new content of the file at `path`.

    `asker` and the two `bystanders` are of the same VPC, and do not change.
    """

    added: Member
    moved: Member
    moved_from: str
    asker: Member
    bystanders: tuple[Member, Member]
    path: str
    text: str


def choose_change(
    topology: Topology, documents: Iterable[Document], directory: Directory, read: dict[str, str]
) -> Change:
    """`read` has the files' contents by path; LabError if the repository is too small for it."""
    sizes = Counter(each.vni for each in directory.endpoints if _suits(each))
    vni = max(sizes, key=lambda each: (sizes[each], -each), default=0)
    members = [each for each in directory.endpoints if each.vni == vni and _suits(each)]
    managed = [each for each in directory.hosts if each.managed]
    if len(members) < 4 or len(managed) < 2:
        raise LabError("the demo needs four endpoints of one VPC with IPv4, on two hosts")
    asker, moved = members[0], members[-1]
    zones = {each.name: each.zone for each in managed}
    here = zones.get(moved.host)
    target = next(
        (each.name for each in managed if each.zone != here),
        next(each.name for each in managed if each.name != moved.host),
    )
    document = next(
        each
        for each in documents
        if each.kind == "Endpoint" and f"{each.namespace}/{each.name}" == moved.name
    )
    number = topology.endpoints.names.index(moved.name)
    network = topology.networks[topology.endpoints.network[number]]
    added = _sibling(directory, moved, network, next(h.name for h in managed if h.name != target))
    text = _moved_text(read[document.path], document, moved.host, target)
    return Change(
        added,
        Member(moved.name, target, moved.netns, moved.addresses, moved.vni, moved.vpc),
        moved.host,
        asker,
        _apart(members[1:-1]),
        document.path,
        text + _manifest(document, added),
    )


def _suits(member: Member) -> bool:
    return member.attach is AttachKind.VETH and any(a.version == 4 for a in member.addresses)


def _apart(members: list[Member]) -> tuple[Member, Member]:
    """Two of them, on different hosts if there are such."""
    first = members[0]
    return first, next((each for each in members if each.host != first.host), members[1])


def _sibling(directory: Directory, moved: Member, network: Network, host: str) -> Member:
    """The next of the moved endpoint's kind: web-4 after web-3, with the next free addresses."""
    namespace, _, name = moved.name.partition("/")
    base = re.sub(r"-?\d+$", "", name)
    names = {each.name for each in directory.endpoints}
    fresh = next(
        f"{namespace}/{base}-{n}"
        for n in range(1, 1 << 20)
        if f"{namespace}/{base}-{n}" not in names
    )
    taken = {a for each in directory.endpoints if each.vni == moved.vni for a in each.addresses}
    taken |= set(network.gateways)
    addresses = tuple(_free(cidr, taken) for cidr in network.cidrs)
    netns = moved.netns.parent / fresh.replace("/", ".")
    return Member(fresh, host, netns, addresses, moved.vni, moved.vpc)


def _free(cidr: Cidr, taken: set[Address]) -> Address:
    """The address after the highest that is taken, or the first free one."""
    used = [each for each in taken if each.version == cidr.version and each in cidr]
    after = max(used, key=int) + 1 if used else cidr[1]
    if after in cidr and after != cidr[-1]:
        return after
    return next(each for each in cidr.hosts() if each not in taken)


def _moved_text(text: str, document: Document, old: str, new: str) -> str:
    """The file with the endpoint's `host:` changed."""
    parts = re.split(r"(?m)^(---.*\n)", text)
    for position, part in enumerate(parts):
        named = re.search(rf"\bname:\s*{re.escape(document.name)}\b(?!-)", part)
        if named and re.search(r"\bkind:\s*Endpoint\b", part):
            parts[position], count = re.subn(rf"\bhost:\s*{re.escape(old)}\b", f"host: {new}", part)
            if count == 1:
                return "".join(parts)
    raise LabError(f"{document.path}: cannot tell where `host: {old}` of {document.name} stands")


def _manifest(like: Document, added: Member) -> str:
    addresses = ", ".join(map(str, added.addresses))
    network = like.body["spec"]["network"]
    if isinstance(network, dict):
        network = "{" + ", ".join(f"{key}: {value}" for key, value in network.items()) + "}"
    return (
        "---\n"
        "apiVersion: reconciler/v1alpha1\n"
        "kind: Endpoint\n"
        f"metadata: {{name: {added.name.partition('/')[2]}, namespace: {like.namespace}}}\n"
        "spec:\n"
        f"  network: {network}\n"
        f"  host: {added.host}\n"
        f"  addresses: [{addresses}]\n"
    )
