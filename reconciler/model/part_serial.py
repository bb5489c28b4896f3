"""Part <-> bytes, for a cache: JSON for what is text, base64 for columns; checked by a digest.

It is read by the same release only, so it has no version of its own.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.manifest.document import Document
from reconciler.manifest.load import Identity
from reconciler.manifest.pieces import digest_of
from reconciler.manifest.problem import Finding, Severity
from reconciler.model.columns import Columns, Places
from reconciler.model.part import WIDTH, Part
from reconciler.model.texts import Texts
from reconciler.model.topology import AttachKind, Attachment

_ARRAYS: Mapping[str, tuple[str, int]] = {  # dtype, and width of a row
    "digest": ("<u8", 1),
    "network": ("<i4", 1),
    "host": ("<i4", 1),
    "mac": ("u1", 6),
    "labels": ("<i4", 1),
    "attachment": ("<i4", 1),
    "spot": ("<u8", 1),
    "address": ("u1", 16),
    "owner": ("<i4", 1),
}


def dump_part(part: Part) -> bytes:
    """The opposite of `load_part`."""
    columns, places = part.columns, part.columns.documents
    arrays = {name: getattr(columns, name) for name in _ARRAYS}
    body = {
        "few": [
            [text.hex(), each.kind, each.namespace, each.name, each.index, each.body]
            for text, each in part.few
        ],
        "texts": _text(part.texts),
        "findings": [_finding(each) for each in part.findings],
        "invalid": part.invalid,
        "mended": [
            [each.kind, each.namespace, each.name, each.index, each.body, sorted(each.unsure)]
            for each in part.mended
        ],
        "names": bytes(columns.names).decode(),
        "numbers": _text(places.number.astype("<i4").tobytes()),
        "networks": columns.network_names,
        "hosts": columns.host_names,
        "label_sets": columns.label_sets,
        "attachments": [[each.kind, each.netns, each.interface] for each in columns.attachments],
        **{name: _text(arrays[name].astype(kind).tobytes()) for name, (kind, _) in _ARRAYS.items()},
    }
    octets = json.dumps(body, separators=(",", ":")).encode()
    return digest_of(octets) + octets


def load_part(data: bytes) -> Part:
    """Raises ValueError for bytes that `dump_part` has not made, or that were damaged since."""
    if digest_of(data[WIDTH:]) != data[:WIDTH]:
        raise ValueError("not what was written")
    body = json.loads(data[WIDTH:])
    few = tuple((bytes.fromhex(text), _document(*rest)) for text, *rest in body["few"])
    findings = tuple(_found(*each) for each in body["findings"])
    invalid = tuple(Identity(*each) for each in body["invalid"])
    mended = tuple(_document(*each) for each in body["mended"])
    return Part(few, _columns(body), b64decode(body["texts"]), findings, invalid, mended)


def _columns(body: Mapping[str, Any]) -> Columns:
    names = Texts.of_bytes(body["names"].encode())
    arrays = {name: _array(body[name], *layout) for name, layout in _ARRAYS.items()}
    numbers = _array(body["numbers"], "<i4", 1)
    return Columns(
        documents=Places(names, ("",), np.zeros(len(names), np.int32), numbers),
        names=names,
        network_names=tuple((name, space) for name, space in body["networks"]),
        host_names=tuple(body["hosts"]),
        label_sets=tuple(
            (space, salt, tuple((key, value) for key, value in labels))
            for space, salt, labels in body["label_sets"]
        ),
        attachments=tuple(
            Attachment(AttachKind(kind), netns, name) for kind, netns, name in body["attachments"]
        ),
        **arrays,
    )


def _text(octets: bytes) -> str:
    return b64encode(octets).decode()


def _array(text: str, kind: str, width: int) -> NDArray[Any]:
    rows = np.frombuffer(b64decode(text), kind)
    rows = rows.astype(rows.dtype.newbyteorder("="))
    return rows.reshape(-1, width) if width > 1 else rows


def _document(
    kind: str, namespace: str, name: str, index: int, body: Any, unsure: Iterable[str] = ()
) -> Document:
    return Document(kind, namespace, name, "", index, body, frozenset(unsure))


def _finding(each: Finding) -> list[Any]:
    place = [each.document, each.pointer, each.code, each.message]
    return [*place, each.severity, each.on_key, each.line, each.column]


def _found(
    document: int, pointer: str, code: str, message: str, severity: str, *rest: Any
) -> Finding:
    return Finding("", document, pointer, code, message, Severity(severity), *rest)
