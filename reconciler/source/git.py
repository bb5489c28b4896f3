"""Repository: a git repository, here or far away, and the manifests of its commits.

Only objects are read, never a work tree. A local repository is opened anew for every question, so
that one which was replaced, repacked or fetched into meanwhile gives no stale answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pygit2

from reconciler.source.address import Address, parse_address
from reconciler.source.errors import SourceError, not_ours
from reconciler.source.files import Snapshot
from reconciler.source.remote import HEAD, Credentials, Remote
from reconciler.source.tree import list_files, read_blob

__all__ = ["GitSource", "Repository", "SourceError"]

# Whether libgit2 checks who owns a repository is a setting of the whole process.
_owner_check = threading.Lock()


@dataclass(frozen=True, slots=True)
class GitSource:
    """Where manifests come from: a path, or a file, https or ssh address.

    `branch` '' is what HEAD names; `folder` '' is the whole tree. `cache` is a folder for copies of
    remotes. `trusted`: a repository here may belong to another user. Secrets are files, read anew
    for every fetch: `ssh_key`, and `token`, a line of "token" or "user:token". `known_hosts` are
    the only ssh servers believed (the user's own file if absent); `ca` adds to the system's.
    """

    url: str
    branch: str = ""
    folder: str = ""
    cache: Path | None = None
    trusted: bool = False
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    token: Path | None = None
    ca: Path | None = None


class Repository:
    """Everything raises SourceError."""

    def __init__(self, source: GitSource, address: Address, remote: Remote | None) -> None:
        self._source = source
        self._address = address
        self._remote = remote

    @classmethod
    def open(cls, source: GitSource) -> Repository:
        """Checks what can be checked without a network; a remote still needs `fetch`."""
        address = parse_address(source.url)
        _checked_folder(source.folder)
        if address.is_remote:
            if source.cache is None:
                raise SourceError(f"{address} needs a folder for its copy; name one", again=False)
            credentials = Credentials(source.ssh_key, source.known_hosts, source.token, source.ca)
            remote = Remote(address, source.cache, credentials)
            return cls(source, address, remote)
        repository = cls(source, address, None)
        with repository._opened():
            return repository

    @property
    def is_remote(self) -> bool:
        """Whether `fetch` is what learns of new commits."""
        return self._remote is not None

    def fetch(self) -> None:
        """Bring the copy of a remote up to date; nothing for a local repository."""
        if self._remote and self._address.scheme == "file":
            with _owners(self._source.trusted):
                self._remote.fetch()
        elif self._remote:
            self._remote.fetch()  # may take long, and asks nobody who owns what

    def resolve(self, revision: str = "") -> str:
        """The id of the commit that `revision` names; '' is the head of the branch."""
        with self._opened() as repository:
            if revision:
                return _commit(repository, revision, self._address)
            branch = self._source.branch
            head = HEAD if self._remote else "HEAD"
            name = f"refs/heads/{branch}" if branch else head
            unborn = name == "HEAD" and repository.head_is_unborn
            if unborn or name not in repository.references:
                raise SourceError(_no_branch(repository, branch, self._address), again=True)
            return _head(repository, name, self._address)

    def merge_base(self, one: str, other: str) -> str:
        """The commit that both came from, ids as `resolve` returned them."""
        with self._opened() as repository:
            found = repository.merge_base(one, other)
        if found is None:
            raise SourceError(
                f"{one[:12]} and {other[:12]} have no commit in common; compare them with A..B",
                again=False,
            )
        return str(found)

    def snapshot(self, commit: str) -> Snapshot:
        """The manifests of `commit`, an id that `resolve` returned, with their bytes."""
        survey = self.survey(commit)
        return replace(survey, files=tuple(map(survey.full, survey.files)))

    def survey(self, commit: str, before: Snapshot | None = None) -> Snapshot:
        """The same without bytes: they are read when somebody asks. `before` saves questions."""
        with self._opened() as repository:
            found = _commit(repository, commit, self._address)
            tree = str(repository[found].peel(pygit2.Tree).id)
            folder = _checked_folder(self._source.folder)
            known = (before.files, before.folders) if before else ()
            files, folders = list_files(repository.odb, tree, folder, *known)
        return Snapshot(found, files, self._fetcher(), folders)

    def _fetcher(self) -> Callable[[str], bytes]:
        """Reads blobs of one snapshot; the repository is opened when the first is asked for."""
        opened: list[pygit2.Odb] = []

        def fetch(blob: str) -> bytes:
            if not opened:
                path = self._remote.copy() if self._remote else self._address.path
                with _owners(self._source.trusted):
                    opened.append(_open(str(path), self._address).odb)
            return read_blob(opened[0], blob)

        return fetch

    def watch_path(self) -> Path | None:
        """The folder below which something changes when a ref of a repository on this machine
        moves; None for a repository elsewhere."""
        if self._address.path is None:
            return None
        with _owners(self._source.trusted):
            repository = _open(str(self._address.path), self._address)
        return _common_folder(Path(repository.path))

    @contextmanager
    def _opened(self) -> Iterator[pygit2.Repository]:
        path = self._remote.copy() if self._remote else self._address.path
        with _owners(self._source.trusted):
            repository = _open(str(path), self._address)
        try:
            yield repository
        except pygit2.GitError as error:  # a damaged ref or object, or one that is being written
            message = f"{self._address} cannot be read ({error}); repair it, or push again"
            raise SourceError(message, again=True) from error
        finally:
            repository.free()


@contextmanager
def _owners(trusted: bool) -> Iterator[None]:
    """Whether a repository of another user may be opened meanwhile."""
    with _owner_check:
        pygit2.settings.owner_validation = not trusted
        try:
            yield
        finally:
            pygit2.settings.owner_validation = True


def _open(path: str, address: Address) -> pygit2.Repository:
    """The repository at `path`, or around it."""
    try:
        return pygit2.Repository(pygit2.discover_repository(path) or path)
    except (pygit2.GitError, KeyError) as error:
        if "not owned by current user" in str(error):
            raise not_ours(address) from error
        raise SourceError(
            f"{address} is no git repository ({error}); name one", again=True
        ) from error


def _commit(repository: pygit2.Repository, revision: str, address: Address) -> str:
    try:
        return str(repository.revparse_single(revision).peel(pygit2.Commit).id)
    except (KeyError, ValueError, pygit2.GitError) as error:
        if isinstance(error, pygit2.AmbiguousError):
            message = f"`{revision}` is ambiguous in {address}; write more of it"
        else:
            message = f"{address} has no commit `{revision}`; name a commit, branch or tag of it"
        raise SourceError(message, again=False) from error


def _head(repository: pygit2.Repository, name: str, address: Address) -> str:
    """The commit of a ref that is there; a push may bring what it lacks."""
    try:
        return str(repository.lookup_reference(name).peel(pygit2.Commit).id)
    except (KeyError, ValueError, pygit2.GitError) as error:
        message = f"{address}: {name} leads to no commit ({error}); push one there again"
        raise SourceError(message, again=True) from error


def _no_branch(repository: pygit2.Repository, branch: str, address: Address) -> str:
    branches = sorted(repository.branches.local)
    if not branches:
        return f"{address} has no commit yet; push one"
    if not branch:
        return f"{address} does not say which branch is its main one; name one of {_some(branches)}"
    return f"{address} has no branch `{branch}`; it has {_some(branches)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _checked_folder(folder: str) -> str:
    path = PurePosixPath(folder)
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(f"folder `{folder}` is not inside the repository; name one", again=False)
    return "" if path == PurePosixPath(".") else str(path)


def _common_folder(folder: Path) -> Path:
    """Where the refs are: a work tree that was added to a repository has only a HEAD of its own."""
    link = folder / "commondir"
    if not link.is_file():
        return folder
    return (folder / link.read_text(encoding="utf-8").strip()).resolve()
