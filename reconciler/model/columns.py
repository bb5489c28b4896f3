"""Endpoint manifests -> Columns: what each document says by itself, with nothing looked up yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.manifest.document import Document
from reconciler.model.mac import parse_mac
from reconciler.model.names import SALT, identity
from reconciler.model.references import target_name
from reconciler.model.report import qualified
from reconciler.model.topology import MAPPED, AttachKind, Attachment

NO_MAC = bytes(6)
LabelSet = tuple[str, str, tuple[tuple[str, str], ...]]  # namespace, salt, sorted labels


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """n endpoints with m addresses, in the order of `documents`; what repeats is numbered."""

    documents: Sequence[Document]
    names: tuple[str, ...]
    network: NDArray[np.int32]  # (n,) index into network_names
    network_names: tuple[tuple[str, str], ...]  # (qualified name, namespace of who asks)
    host: NDArray[np.int32]  # (n,) index into host_names
    host_names: tuple[str, ...]
    mac: NDArray[np.uint8]  # (n, 6), zero where none is given
    labels: NDArray[np.int32]  # (n,) index into label_sets
    label_sets: tuple[LabelSet, ...]
    attachment: NDArray[np.int32]  # (n,) index into attachments
    attachments: tuple[Attachment, ...]
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


def read_columns(documents: Sequence[Document]) -> Columns:
    """The only loop over all endpoints that builds objects; it keeps none of them."""
    networks, hosts, labels, attachments = _Numbers(), _Numbers(), _Numbers(), _Numbers()
    names, macs, octets, counts = [], bytearray(), bytearray(), []
    for document in documents:
        spec, metadata = document.body["spec"], document.body["metadata"]
        name = qualified(document)
        names.append(name)
        networks.add((target_name(spec["network"], document.namespace), document.namespace))
        hosts.add(spec["host"])
        macs += parse_mac(spec["mac"]) if "mac" in spec else NO_MAC
        labels.add(_label_set(document.namespace, metadata))
        attachments.add(_attachment(spec["attach"], name) if "attach" in spec else Attachment())
        addresses = spec.get("addresses", ())
        counts.append(len(addresses))
        for text in addresses:
            octets += _octets(text)
    return Columns(
        documents,
        tuple(names),
        networks.column,
        tuple(networks.known),
        hosts.column,
        tuple(hosts.known),
        np.frombuffer(macs, np.uint8).reshape(-1, 6),
        labels.column,
        tuple(labels.known),
        attachments.column,
        tuple(attachments.known),
        np.frombuffer(octets, np.uint8).reshape(-1, 16),
        np.repeat(np.arange(len(names), dtype=np.int32), counts),
    )


def _octets(text: str) -> bytes:
    return IPv6Address(text).packed if ":" in text else MAPPED + IPv4Address(text).packed


def _label_set(namespace: str, metadata: Mapping[str, Any]) -> LabelSet:
    salt = metadata.get("annotations", {}).get(SALT, "")
    return namespace, salt, tuple(sorted(metadata.get("labels", {}).items()))


def _attachment(attach: Mapping[str, Any], name: str) -> Attachment:
    """The default network namespace has no name here, also where it is written out."""
    if "interface" in attach:
        return Attachment(AttachKind.INTERFACE, "", attach["interface"])
    if "host" in attach:
        return Attachment(AttachKind.HOST, "", "")
    veth = attach["veth"]
    netns = veth.get("netns", "")
    default = default_netns(name)
    return Attachment(
        AttachKind.VETH, "" if netns == default else netns, veth.get("interface", "eth0")
    )


def default_netns(name: str) -> str:
    """Of the endpoint "namespace/name"; both are DNS labels, so the first dot divides them."""
    return name.replace("/", ".")
