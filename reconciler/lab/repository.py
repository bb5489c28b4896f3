"""What `lab up REPO` follows: a repository as it is, a copy of a remote, or one made of a folder.

Hosts of a lab reach nobody outside it, so a remote's copy is kept up to date for them (mirror.py).
A folder becomes a bare repository; what changes in it is committed by the next `lab up`, unless
somebody has pushed meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from reconciler.lab.layout import LabError
from reconciler.lab.places import Places
from reconciler.manifest.problem import Problem
from reconciler.model.commit import Commit, read_commit
from reconciler.model.topology import Topology
from reconciler.source.address import parse_address
from reconciler.source.git import GitSource, Repository, SourceError
from reconciler.source.package import schemas
from reconciler.source.remote import HEAD, Credentials, Remote

IMPORTED = "refs/lab/imported"  # the commit that the folder was last imported as
BRANCH = "main"


@dataclass(frozen=True, slots=True)
class Followed:
    """`path` is what the agents are told; `url` is what it is a copy of, if it is.

    `note` says what people should know, or is ''.
    """

    path: str
    branch: str
    url: str = ""
    imported: bool = False
    note: str = ""


class ProblemsError(LabError):
    """The newest commit has problems, so nobody can say what it means."""

    def __init__(self, commit: str, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        lines = "\n".join(map(str, problems))
        super().__init__(f"commit {commit[:12]} has problems:\n{lines}")


def follow(text: str, branch: str, files: Credentials, places: Places) -> Followed:
    """What `text` names: a repository, a folder, a remote's address. LabError if none of them.

    `files` are for a remote.
    """
    try:
        address = parse_address(text)
    except SourceError as error:
        raise LabError(str(error)) from error
    if address.path is None:
        return follow_remote(address.url, branch, files, places.copies)
    if is_repository(address.path):
        return follow_local(address.path, branch)
    if address.path.is_dir():
        return follow_folder(address.path, branch, places.repository)
    raise LabError(f"{address.path}: there is no such repository or folder")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The newest commit of a branch, and what it means."""

    commit: Commit
    topology: Topology


def read(followed: Followed, folder: str, revision: str = "") -> Head:
    """A commit, or the newest; ProblemsError if it means nothing, LabError if it is unreadable."""
    try:
        repository = _open(followed, folder)
        commit = read_commit(repository.snapshot(repository.resolve(revision)), schemas())
    except SourceError as error:
        raise LabError(str(error)) from error
    if commit.topology is None:
        raise ProblemsError(commit.id, commit.problems)
    return Head(commit, commit.topology)


def head(followed: Followed) -> str:
    """The newest commit's id; LabError if there is none."""
    try:
        return _open(followed, "").resolve()
    except SourceError as error:
        raise LabError(str(error)) from error


def _open(followed: Followed, folder: str) -> Repository:
    # Whoever brings up a lab of another user's repository has named it.
    return Repository.open(GitSource(followed.path, followed.branch, folder, trusted=True))


def follow_remote(url: str, branch: str, files: Credentials, copies: Path) -> Followed:
    """A copy of a remote, fetched now; the branch that HEAD names there if `branch` is ''."""
    remote = Remote(parse_address(url), copies, files)
    try:
        remote.fetch()
    except SourceError as error:
        raise LabError(str(error)) from error
    copy = remote.copy()
    return Followed(str(copy), branch or _branch_of_head(copy), url=url)


def _branch_of_head(copy: Path) -> str:
    """A fetch says which commit HEAD names, not which branch; main wins among equals."""
    repository = pygit2.Repository(str(copy))
    named = repository.references.get(HEAD)
    branches = {name: repository.branches[name].target for name in repository.branches.local}
    equal = sorted(name for name, target in branches.items() if named and target == named.target)
    if not equal:
        raise LabError(f"{copy}: HEAD names no branch; name one with --branch")
    return BRANCH if BRANCH in equal else equal[0]


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
    newest, last = _target(repository, reference), _target(repository, IMPORTED)
    note = ""
    if tree not in (_tree_of(repository, last), _tree_of(repository, newest)):
        if newest == last:
            newest = _commit(repository, tree, newest, folder, reference)
            repository.references.create(IMPORTED, newest, force=True)
        else:
            note = f"{folder} has changed, and so has {bare}: kept what was pushed; push there"
    return Followed(str(bare), branch, imported=True, note=note)


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
