"""The manifests that differ between two commits, by kind, namespace and name, field by field.

Where a manifest stands does not matter: moving it to another file changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.manifest.document import Document
from reconciler.plan.diff import Change

# What cannot be changed in place: everything made of the old value goes, and is made anew.
REPLACING = frozenset({("VPC", "spec.vni"), ("Network", "spec.vpc")})


@dataclass(frozen=True, slots=True)
class Field:
    """A field that differs; `path` like `spec.host`; None where it is absent."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class ManifestChange:
    """`path` is the file's, in the newer commit that has the manifest. An update has `fields`."""

    change: Change
    kind: str
    namespace: str
    name: str
    path: str
    fields: tuple[Field, ...] = ()

    @property
    def identity(self) -> str:
        """`Endpoint shop/web-1`."""
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"

    @property
    def replaced(self) -> tuple[str, ...]:
        """The changed fields that cannot be changed in place."""
        if self.change is not Change.UPDATE:
            return ()
        return tuple(each.path for each in self.fields if (self.kind, each.path) in REPLACING)


def manifest_changes(
    before: Iterable[Document], after: Iterable[Document]
) -> tuple[ManifestChange, ...]:
    """Deletions, updates, creations; each sorted by kind, namespace and name."""
    old = {(each.kind, each.namespace, each.name): each for each in before}
    new = {(each.kind, each.namespace, each.name): each for each in after}
    found: list[ManifestChange] = []
    for key in sorted(old.keys() - new.keys()):
        found.append(ManifestChange(Change.DELETE, *key, old[key].path))
    for key in sorted(old.keys() & new.keys()):
        if old[key].body != new[key].body:
            fields = tuple(changed_fields(old[key].body, new[key].body))
            found.append(ManifestChange(Change.UPDATE, *key, new[key].path, fields))
    for key in sorted(new.keys() - old.keys()):
        found.append(ManifestChange(Change.CREATE, *key, new[key].path))
    return tuple(found)


def changed_fields(
    old: Mapping[str, Any], new: Mapping[str, Any], inside: str = ""
) -> Iterator[Field]:
    """Mappings are compared member by member, everything else, lists too, as a whole."""
    for name in sorted({*old, *new}):
        path = f"{inside}.{name}" if inside else name
        left, right = old.get(name), new.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from changed_fields(left, right, path)
        elif left != right or (name in old) != (name in new):
            yield Field(path, left, right)
