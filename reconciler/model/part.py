"""Part: what one file contributes to a topology; it depends on the file's bytes alone.

Endpoints are columns, so that a part can be kept for every file of a large repository.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reconciler.manifest.document import Document
from reconciler.manifest.load import Identity, load_bytes
from reconciler.manifest.pieces import Pieces, digest_of, read_pieces
from reconciler.manifest.problem import Finding
from reconciler.manifest.schema import Validators
from reconciler.manifest.shapes import Filled, whole
from reconciler.model.columns import Columns, join, read_columns, take

ENDPOINT = "Endpoint"
WIDTH = 16  # bytes of a text's digest


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Paths are '' throughout. `few` are the documents of all kinds but Endpoint.

    Documents of equal digest are equal. `texts` holds those of the endpoints one after the other.
    """

    few: tuple[tuple[bytes, Document], ...]
    columns: Columns
    texts: bytes
    findings: tuple[Finding, ...] = ()
    invalid: tuple[Identity, ...] = ()
    mended: tuple[Document, ...] = ()  # of any kind

    @property
    def digests(self) -> list[bytes]:
        """Of each endpoint, by row."""
        return [self.texts[at : at + WIDTH] for at in range(0, len(self.texts), WIDTH)]

    def documents(self, path: str) -> list[Document]:
        """`few` for a file at `path`."""
        return [replace(document, path=path) for _, document in self.few]

    def endpoints(self, path: str) -> Columns:
        """`columns` for a file at `path`."""
        places = self.columns.documents
        return replace(self.columns, documents=replace(places, paths=(path,) * len(places.paths)))

    def found(self, path: str) -> list[Finding]:
        """`findings` for a file at `path`."""
        return [replace(finding, path=path) for finding in self.findings]


def refused_part(reason: str) -> Part:
    """Of a file that is not read."""
    finding = Finding("", -1, "", "SRC1001", f"this {reason}")
    return Part((), read_columns(()), b"", (finding,))


def read_part(
    data: bytes, is_json: bool, validators: Validators, before: Part | None = None
) -> Part:
    """Documents that `before` has too are not read again."""
    if not is_json:
        rows = {text: row for row, text in enumerate(before.digests)} if before else {}
        few = dict(before.few) if before else {}
        pieces = read_pieces(data, validators, rows.keys() | few.keys())
        if pieces:
            return _joined(pieces, before, rows, few)
    result = load_bytes(data, is_json, validators)
    texts = {each.index: _digest(each) for each in result.documents}
    made = _part(result.documents, texts)
    return replace(made, findings=result.findings, invalid=result.invalid, mended=result.mended)


def _digest(document: Document) -> bytes:
    return digest_of(json.dumps(document.body, sort_keys=True).encode())


def _part(documents: Sequence[Document | Filled], texts: dict[int, bytes]) -> Part:
    few = tuple((texts[each.index], whole(each)) for each in documents if each.kind != ENDPOINT)
    many = [each for each in documents if each.kind == ENDPOINT]
    return Part(few, read_columns(many), b"".join(texts[each.index] for each in many))


def _joined(
    pieces: Pieces, before: Part | None, rows: dict[bytes, int], few: dict[bytes, Document]
) -> Part:
    """What is new, and what `before` knew, in the order of the file."""
    made = _part(pieces.documents, dict(pieces.texts))
    if before is None:
        return made
    new = {document.index for document in pieces.documents}
    old = [(number, text) for number, text in pieces.texts if number not in new]
    kept = [(number, text) for number, text in old if text in rows]
    columns = take(before.columns, np.array([rows[text] for _, text in kept], np.intp))
    numbers = np.array([number for number, _ in kept], np.int32)
    columns = replace(columns, documents=replace(columns.documents, number=numbers))
    columns = join([columns, made.columns])
    order = np.argsort(columns.documents.number)
    digests = [*(text for _, text in kept), *made.digests]
    others = [(text, replace(few[text], index=number)) for number, text in old if text in few]
    return Part(
        tuple(sorted([*others, *made.few], key=lambda each: each[1].index)),
        take(columns, order),
        b"".join(digests[row] for row in order.tolist()),
    )
