"""read_commit: the files of a commit -> its Topology, documents and problems, in one pass."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.manifest.document import Document
from reconciler.manifest.load import Identity, Kept, load
from reconciler.manifest.place import place
from reconciler.manifest.problem import Problem, Severity
from reconciler.manifest.schema import Schemas
from reconciler.model.build import build
from reconciler.model.references import Unread
from reconciler.model.topology import Topology
from reconciler.source.files import Snapshot, SourceFile

_NAME = re.compile(rb"""\bname["']?[ \t]*:[ \t]*["']?([a-z0-9][-a-z0-9]*)""")


@dataclass(frozen=True, slots=True)
class Commit:
    """`topology` is None if any problem is an error; problems are sorted by place."""

    id: str
    topology: Topology | None
    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


def read_commit(snapshot: Snapshot, schemas: Schemas, kept: Kept | None = None) -> Commit:
    """Load, build and place in one call; `schemas` by kind, `kept` as for `load`."""
    loaded = load(snapshot.files, schemas, kept)
    broken = {each.path for each in loaded.findings if each.severity is Severity.ERROR}
    known = Counter((each.path, each.name) for each in loaded.documents if each.path in broken)
    files = [file for file in snapshot.files if file.path in broken]
    names = lost_names(files, known, loaded.invalid)
    built = build((*loaded.documents, *loaded.mended), Unread(loaded.invalid, names))
    problems = place((*loaded.findings, *built.findings), snapshot.files)
    wrong = any(each.severity is Severity.ERROR for each in problems)
    return Commit(snapshot.commit, None if wrong else built.topology, loaded.documents, problems)


def lost_names(
    broken: Iterable[SourceFile], known: Counter[tuple[str, str]], invalid: Iterable[Identity]
) -> frozenset[str]:
    """What documents may be called that are too broken to say so: names in the text of files with
    errors, less the `known` ones (path and name) and the `invalid` ones, which were recognised."""
    recognised = {each.name for each in invalid}
    lost = set()
    for file in broken:
        for text, times in Counter(_NAME.findall(file.content)).items():
            name = text.decode()
            if name not in recognised and times > known[file.path, name]:
                lost.add(name)
    return frozenset(lost)
