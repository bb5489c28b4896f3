"""Document: one manifest after parsing and schema validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """`body` is plain dicts, lists and scalars by YAML 1.2 rules, valid against its kind's schema.

    `namespace` is '' for cluster-scoped kinds. `index` counts the documents of the file from 0; a
    position is found by parsing that file a second time (manifest.positions).
    """

    kind: str
    namespace: str
    name: str
    path: str
    index: int
    body: Mapping[str, Any]
