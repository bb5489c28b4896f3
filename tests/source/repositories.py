"""Repositories made object by object, so that they can hold what no git command would make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

WHO = pygit2.Signature("Operator", "operator@example.com", 1_700_000_000, 0)


@dataclass(frozen=True, slots=True)
class Raw:
    """An entry of any mode: a symbolic link, a submodule, a tree that was written before."""

    mode: str
    data: bytes = b""
    id: str = ""


def link(target: str) -> Raw:
    return Raw("120000", target.encode())


SUBMODULE = Raw("160000", id="a" * 40)
Files = Mapping[str | bytes, "bytes | str | Raw | Files"]


def create(path: Path, files: Files | None = None, branch: str = "main") -> pygit2.Repository:
    """A bare repository with one commit, or none."""
    repository = pygit2.init_repository(str(path), bare=True, initial_head=branch)
    if files is not None:
        commit(repository, files, branch)
    return repository


def commit(repository: pygit2.Repository, files: Files, branch: str = "main") -> str:
    """Replace everything by `files`; nested mappings are folders."""
    name = f"refs/heads/{branch}"
    parents = [repository.references[name].target] if name in repository.references else []
    tree = write_tree(repository, files)
    return str(repository.create_commit(name, WHO, WHO, "change\n", tree, parents))


def write_tree(repository: pygit2.Repository, files: Files) -> pygit2.Oid:
    entries = []
    for name, content in files.items():
        raw = name if isinstance(name, bytes) else name.encode()
        mode, oid = _entry(repository, content)
        entries.append((raw + b"/" * (mode == "40000"), mode, raw, oid))
    data = b"".join(
        mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid)
        for _, mode, name, oid in sorted(entries)
    )
    return repository.odb.write(ObjectType.TREE, data)


def _entry(repository: pygit2.Repository, content: bytes | str | Raw | Files) -> tuple[str, str]:
    if isinstance(content, Mapping):
        return "40000", str(write_tree(repository, content))
    if isinstance(content, Raw):
        return content.mode, content.id or str(repository.create_blob(content.data))
    data = content.encode() if isinstance(content, str) else content
    return "100644", str(repository.create_blob(data))
