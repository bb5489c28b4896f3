"""What `lab up REPO` follows: a repository as it is, or one made from a plain folder.

A folder becomes a bare repository beside the lab; what changes in the folder is committed by the
next `lab up`, unless somebody has pushed meanwhile.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from reconciler.lab.layout import LabError

IMPORTED = "refs/lab/imported"  # the commit that the folder was last imported as
REMOTE = re.compile(r"[a-z+]+://|[^/]+@?[^/]*:(?!//)")
BRANCH = "main"


@dataclass(frozen=True, slots=True)
class Followed:
    """`path` is what the agents are told. `note` says what people should know, or is ''."""

    path: str
    branch: str
    imported: bool = False
    note: str = ""


def is_remote(text: str) -> bool:
    """Whether `text` is a URL or user@host:path, rather than a path that exists."""
    return bool(REMOTE.match(text)) and not Path(text).exists()


def is_repository(path: Path) -> bool:
    """Whether `path` itself is a repository, bare or with a work tree (not a folder inside one)."""
    if (path / ".git").exists():
        return True
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def git_dir(path: Path) -> Path:
    """Where HEAD is; follows the file .git of a linked work tree or submodule."""
    inner = path / ".git"
    if inner.is_file():
        return path / inner.read_text().removeprefix("gitdir:").strip()
    return inner if inner.is_dir() else path


def current_branch(path: Path) -> str:
    """What HEAD says, without opening the repository: it may be another user's."""
    head = (git_dir(path) / "HEAD").read_text().strip()
    if not head.startswith("ref: refs/heads/"):
        raise LabError(f"{path}: HEAD is not on a branch; name one with --branch")
    return head.removeprefix("ref: refs/heads/")


def follow_local(path: Path, branch: str) -> Followed:
    """A repository as it is; the current branch if `branch` is ''."""
    return Followed(str(path), branch or current_branch(path))


def follow_folder(folder: Path, branch: str, bare: Path) -> Followed:
    """A bare repository at `bare` whose branch holds the folder's files."""
    branch = branch or BRANCH
    if not bare.exists():
        pygit2.init_repository(str(bare), bare=True, initial_head=branch)
    repository = pygit2.Repository(str(bare))
    tree = _tree(repository, folder)
    reference = f"refs/heads/{branch}"
    head, last = _target(repository, reference), _target(repository, IMPORTED)
    note = ""
    if tree not in (_tree_of(repository, last), _tree_of(repository, head)):
        if head == last:
            head = _commit(repository, tree, head, folder, reference)
            repository.references.create(IMPORTED, head, force=True)
        else:
            note = f"{folder} has changed, and so has {bare}: kept what was pushed; push there"
    return Followed(str(bare), branch, True, note)


def _target(repository: pygit2.Repository, reference: str) -> pygit2.Oid | None:
    found = repository.references.get(reference)
    return pygit2.Oid(hex=str(found.target)) if found is not None else None


def _tree_of(repository: pygit2.Repository, commit: pygit2.Oid | None) -> pygit2.Oid | None:
    return None if commit is None else repository[commit].peel(pygit2.Commit).tree_id


def _tree(repository: pygit2.Repository, folder: Path) -> pygit2.Oid:
    """The files of a folder, symbolic links as such, without any .git."""
    index = pygit2.Index()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if ".git" in name.parts:
            continue
        if path.is_symlink():
            blob = repository.create_blob(str(path.readlink()).encode())
            index.add(pygit2.IndexEntry(name.as_posix(), blob, FileMode.LINK))
        elif path.is_file():
            blob = repository.create_blob_fromdisk(str(path))
            index.add(pygit2.IndexEntry(name.as_posix(), blob, FileMode.BLOB))
    if not len(index):
        raise LabError(f"{folder}: no files; `reconciler init` writes a repository to start from")
    return index.write_tree(repository)


def _commit(
    repository: pygit2.Repository,
    tree: pygit2.Oid,
    parent: pygit2.Oid | None,
    folder: Path,
    reference: str,
) -> pygit2.Oid:
    author = pygit2.Signature("reconciler lab", "lab@localhost", int(time.time()), 0)
    parents = [] if parent is None else [parent]
    return repository.create_commit(reference, author, author, f"import {folder}", tree, parents)
