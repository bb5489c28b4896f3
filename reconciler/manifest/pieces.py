"""The text of a YAML file -> its documents one by one, so that known ones are not read again.

It is for files without a problem: whatever deserves a word is left to `load.load_bytes`.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from hashlib import blake2b

from reconciler.manifest.document import Document
from reconciler.manifest.load import load_readings
from reconciler.manifest.read import read
from reconciler.manifest.schema import Validators
from reconciler.manifest.shapes import Filled
from reconciler.manifest.yamltext import MAX_DOCUMENTS, cut


@dataclass(frozen=True, slots=True)
class Pieces:
    """`texts` are the digests of all documents with their numbers; `documents` the unknown ones."""

    texts: tuple[tuple[int, bytes], ...]
    documents: tuple[Document | Filled, ...]


def read_pieces(data: bytes, validators: Validators, known: Container[bytes]) -> Pieces | None:
    """None if anything has to be said about the file. `known` are digests of valid documents.

    A document means the same wherever it stands: yamltext cuts the text before it reads any.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    texts: list[tuple[int, bytes]] = []
    documents: list[Document | Filled] = []
    number = 0
    for piece in cut(text):
        octets = piece.encode()
        digest = digest_of(octets.removeprefix(b"---\n"))  # the first document may have no marker
        filled = None
        if digest not in known:
            filled = validators.shapes.fill(piece.removeprefix("---\n"), number)
        if filled is not None:
            documents.append(filled)
        elif digest not in known:
            readings, wrong = read(octets, validators.scalars, is_json=False)
            result = load_readings(readings, wrong, validators)
            if result.findings or result.invalid or len(readings) > 1:
                return None
            documents += (replace(each, index=number) for each in result.documents)
            if not result.documents:  # nothing but comments, or an empty document
                number += len(readings)
                continue
        texts.append((number, digest))
        number += 1
    return Pieces(tuple(texts), tuple(documents)) if number <= MAX_DOCUMENTS else None


def digest_of(octets: bytes) -> bytes:
    """16 bytes of BLAKE2b."""
    return blake2b(octets, digest_size=16).digest()
