"""Endpoint manifests -> Columns: what each document says by itself, with nothing looked up yet.

Columns of files are kept, cut and joined; of a document only its name and place remain.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from ipaddress import IPv6Address
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from reconciler.manifest.document import Document
from reconciler.manifest.shapes import Filled
from reconciler.model.mac import parse_mac
from reconciler.model.names import identity, interface_digest, interface_name
from reconciler.model.references import target_name
from reconciler.model.rows import LabelSet, RowReader
from reconciler.model.texts import Texts, joined
from reconciler.model.topology import MAPPED, AttachKind, Attachment

NO_MAC = bytes(6)


Rows = NDArray[np.intp]
Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class Places(Sequence[Document]):
    """Endpoint documents without their bodies, made when a finding needs one."""

    names: Texts
    paths: tuple[str, ...]
    file: NDArray[np.int32]  # (n,) index into paths
    number: NDArray[np.int32]  # (n,) of the document in its file

    def __len__(self) -> int:
        """Number of endpoints."""
        return len(self.names)

    @overload
    def __getitem__(self, row: int) -> Document: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Document]: ...
    def __getitem__(self, row: int | slice) -> Document | Sequence[Document]:
        """The document of a row."""
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        namespace, _, name = self.names[row].rpartition("/")
        path, number = self.paths[int(self.file[row])], int(self.number[row])
        return Document("Endpoint", namespace, name, path, number, {})


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """n endpoints with m addresses, in the order of `documents`; what repeats is numbered."""

    documents: Places
    names: Texts
    digest: NDArray[np.uint64]  # (n,) of the name; names.interface_name is its high 44 bits
    network: NDArray[np.int32]  # (n,) index into network_names
    network_names: tuple[tuple[str, str], ...]  # (qualified name, namespace of who asks)
    host: NDArray[np.int32]  # (n,) index into host_names
    host_names: tuple[str, ...]
    mac: NDArray[np.uint8]  # (n, 6), zero where none is given
    labels: NDArray[np.int32]  # (n,) index into label_sets
    label_sets: tuple[LabelSet, ...]
    attachment: NDArray[np.int32]  # (n,) index into attachments
    attachments: tuple[Attachment, ...]
    spot: NDArray[np.uint64]  # (n,) digest of what the attachment claims on its host
    address: NDArray[np.uint8]  # (m, 16)
    owner: NDArray[np.int32]  # (m,) ascending index into the n endpoints

    def identities(self) -> NDArray[np.uint32]:
        """The identity of each label set."""
        found = [identity(space, dict(labels), salt) for space, salt, labels in self.label_sets]
        return np.array(found, np.uint32)


@dataclass(slots=True)
class _Numbers:
    """Numbers values in the order in which they appear."""

    known: dict[Any, int] = field(default_factory=dict)
    found: list[int] = field(default_factory=list)

    def add(self, value: Any) -> None:
        self.found.append(self.known.setdefault(value, len(self.known)))

    @property
    def column(self) -> NDArray[np.int32]:
        return np.array(self.found, np.int32)


def read_columns(documents: Sequence[Document | Filled]) -> Columns:
    """The only loop over all endpoints that builds objects; it keeps none of them."""
    networks, hosts, labels, attachments = _Numbers(), _Numbers(), _Numbers(), _Numbers()
    names, macs, octets, counts = [], bytearray(), bytearray(), []
    digests, spots, paths, numbers = [], [], _Numbers(), []
    reader = RowReader()
    usual = Attachment()
    for document in documents:
        row = reader.row(document)
        name = f"{row.namespace}/{row.name}"
        names.append(name)
        digests.append(interface_digest(name))
        networks.add((target_name(row.network, row.namespace), row.namespace))
        hosts.add(row.host)
        macs += parse_mac(row.mac) if row.mac else NO_MAC
        labels.add(row.labels)
        attachment = usual if row.attach is None else _attachment(row.attach, name)
        attachments.add(attachment)
        spots.append(_spot(attachment, name))
        paths.add(row.path)
        numbers.append(row.document)
        counts.append(len(row.addresses))
        for text in row.addresses:
            octets += _octets(text)
    known = Texts(names)
    return Columns(
        Places(known, tuple(paths.known), paths.column, np.array(numbers, np.int32)),
        known,
        np.array(digests, np.uint64),
        networks.column,
        tuple(networks.known),
        hosts.column,
        tuple(hosts.known),
        np.frombuffer(macs, np.uint8).reshape(-1, 6),
        labels.column,
        tuple(labels.known),
        attachments.column,
        tuple(attachments.known),
        np.array(spots, np.uint64),
        np.frombuffer(octets, np.uint8).reshape(-1, 16),
        np.repeat(np.arange(len(names), dtype=np.int32), counts),
    )


def take(columns: Columns, rows: Rows) -> Columns:
    """The columns of some rows, in the order in which they are given."""
    begins = np.searchsorted(columns.owner, [rows, rows + 1])
    counts = begins[1] - begins[0]
    ends = np.cumsum(counts)
    addresses = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
        begins[0] - ends + counts, counts
    )
    names = columns.names.take(rows)
    places = columns.documents
    return replace(
        columns,
        documents=Places(names, places.paths, places.file[rows], places.number[rows]),
        names=names,
        digest=columns.digest[rows],
        network=columns.network[rows],
        host=columns.host[rows],
        mac=columns.mac[rows],
        labels=columns.labels[rows],
        attachment=columns.attachment[rows],
        spot=columns.spot[rows],
        address=columns.address[addresses],
        owner=np.repeat(np.arange(len(rows), dtype=np.int32), counts),
    )


def join(parts: Sequence[Columns]) -> Columns:
    """All rows, one part after the other."""
    nothing = read_columns(())
    parts = (nothing, *parts)
    names = joined(part.names for part in parts)
    file, paths = _renumber([(p.documents.file, p.documents.paths) for p in parts])
    network, network_names = _renumber([(p.network, p.network_names) for p in parts])
    host, host_names = _renumber([(p.host, p.host_names) for p in parts])
    labels, label_sets = _renumber([(p.labels, p.label_sets) for p in parts])
    attachment, attachments = _renumber([(p.attachment, p.attachments) for p in parts])
    firsts = np.cumsum([0, *(len(p.names) for p in parts)]).astype(np.int32)
    return Columns(
        Places(names, paths, file, np.concatenate([p.documents.number for p in parts])),
        names,
        np.concatenate([p.digest for p in parts]),
        network,
        network_names,
        host,
        host_names,
        np.concatenate([p.mac for p in parts]),
        labels,
        label_sets,
        attachment,
        attachments,
        np.concatenate([p.spot for p in parts]),
        np.concatenate([p.address for p in parts]),
        np.concatenate([p.owner + first for p, first in zip(parts, firsts, strict=False)]),
    )


def in_order(columns: Columns) -> Columns:
    """The rows in the order of paths and documents."""
    places = columns.documents
    rank = np.argsort(np.argsort(np.array(places.paths, object), kind="stable"))
    return take(columns, np.lexsort((places.number, rank[places.file])))


def _renumber(
    parts: Sequence[tuple[NDArray[np.int32], tuple[Value, ...]]],
) -> tuple[NDArray[np.int32], tuple[Value, ...]]:
    """Columns that index values of their own, as one that indexes the distinct values in use."""
    known: dict[Value, int] = {}
    found = []
    for column, values in parts:
        used = np.flatnonzero(np.bincount(column, minlength=len(values)))
        numbers = np.zeros(len(values), np.int32)
        numbers[used] = [known.setdefault(values[each], len(known)) for each in used.tolist()]
        found.append(numbers[column])
    return np.concatenate(found), tuple(known)


def _octets(text: str) -> bytes:
    """Of an address that was checked."""
    return IPv6Address(text).packed if ":" in text else MAPPED + bytes(map(int, text.split(".")))


def _attachment(attach: Mapping[str, Any], name: str) -> Attachment:
    """The default network namespace has no name here, also where it is written out."""
    if "interface" in attach:
        return Attachment(AttachKind.INTERFACE, "", attach["interface"])
    if "tap" in attach:
        return Attachment(AttachKind.TAP, "", attach["tap"].get("name", ""))
    if "host" in attach:
        return Attachment(AttachKind.HOST, "", "")
    veth = attach["veth"]
    netns = veth.get("netns", "")
    default = default_netns(name)
    return Attachment(
        AttachKind.VETH, "" if netns == default else netns, veth.get("interface", "eth0")
    )


def _spot(attachment: Attachment, name: str) -> int:
    """64 bits: equal where two endpoints of a host cannot both have what they ask for.

    (Routes of `host` attachments may go together, which the checks decide.)
    """
    claim = [attachment.kind, attachment.interface]
    if attachment.kind is AttachKind.TAP:  # two devices of one name, whoever makes them
        claim = [AttachKind.INTERFACE, attachment.interface or interface_name(name)]
    if attachment.kind is AttachKind.VETH:
        claim.append(attachment.netns or default_netns(name))
    octets = "\0".join(claim).encode()
    return int.from_bytes(blake2b(octets, digest_size=8).digest(), "big")


def default_netns(name: str) -> str:
    """Of the endpoint "namespace/name"; both are DNS labels, so the first dot divides them."""
    return name.replace("/", ".")
