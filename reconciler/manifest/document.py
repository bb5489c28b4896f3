"""Document: one manifest after parsing and schema validation, and after mending if need be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.manifest.problem import pointer


@dataclass(frozen=True, slots=True)
class Document:
    """`body` is plain dicts, lists and scalars by YAML 1.2 rules, valid against its kind's schema.

    `namespace` is '' for cluster-scoped kinds. `index` counts the documents of the file from 0; a
    position is found by parsing that file a second time (manifest.place).

    `unsure` is for manifests with errors, which are judged as far as they are right: the pointers
    (RFC 6901) of what is not as its author means it. Nothing may be concluded from it.
    """

    kind: str
    namespace: str
    name: str
    path: str
    index: int
    body: Mapping[str, Any]
    unsure: frozenset[str] = frozenset()

    def sure(self, *steps: str | int) -> bool:
        """Whether the value at these steps, present or absent, is as its author means it."""
        return self.stated(*steps) and not self._any_below(pointer(*steps))

    def stated(self, *steps: str | int) -> bool:
        """The same, though some of what it holds may not be: of a list, its length is right."""
        return not self.unsure or all(
            pointer(*steps[:length]) not in self.unsure for length in range(len(steps) + 1)
        )

    def _any_below(self, at: str) -> bool:
        return any(each.startswith(f"{at}/") for each in self.unsure)
