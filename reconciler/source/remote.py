"""Remote: a bare copy of a repository elsewhere, kept up to date by fetching.

TLS certificates and ssh host keys are verified by libgit2, and its verdict stands. The copy is a
cache: a fetch that was killed half-way is completed by the next, and deleting it costs one fetch.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import CredentialType, FetchPrune

from reconciler.source.address import Address
from reconciler.source.errors import SourceError, not_ours

HEAD = "refs/reconciler/HEAD"  # in the copy: the commit that HEAD named over there
_REFSPECS = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", f"+HEAD:{HEAD}"]
_MAX_PACKS = 128  # every fetch adds one, and libgit2 keeps each open; then the copy is made anew
_CONNECT_TIMEOUT = 10_000  # ms
_ANSWER_TIMEOUT = 60_000  # ms without a byte

# Timeouts, trusted certificates and the folder of known_hosts are settings of the whole process.
_settings = threading.Lock()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files; see GitSource."""

    ssh_key: Path | None = None
    known_hosts: Path | None = None
    token: Path | None = None
    ca: Path | None = None


class Remote:
    """`folder` may hold the copies of many repositories."""

    def __init__(self, address: Address, folder: Path, credentials: Credentials) -> None:
        self._address = address
        self._credentials = credentials
        name = hashlib.sha256(address.url.encode()).hexdigest()[:16]
        self._copy = folder / f"{name}.git"
        self._new = folder / f"{name}.new"
        self._home = folder / f"{name}.home"
        self._lock = folder / f"{name}.lock"

    def copy(self) -> Path:
        """The bare repository; raises SourceError before the first fetch."""
        if not self._copy.is_dir():
            raise SourceError(f"{self._address} has not been fetched yet", again=True)
        return self._copy

    def fetch(self) -> None:
        """Take over all branches and tags, also where they went back; raises SourceError."""
        try:
            with self._locked():
                if self._copy.is_dir() and len(list(self._packs())) < _MAX_PACKS:
                    self._fetch_into(self._copy)
                    return
                shutil.rmtree(self._new, ignore_errors=True)
                self._fetch_into(self._new)
                shutil.rmtree(self._copy, ignore_errors=True)
                self._new.rename(self._copy)
        except OSError as error:
            raise SourceError(f"the copy of {self._address}: {error}", again=True) from error

    def _packs(self) -> Iterator[Path]:
        return (self._copy / "objects" / "pack").glob("*.pack")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """No two processes fetch into one copy; what a killed one left behind is removed."""
        self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in (*self._copy.rglob("*.lock"), *self._copy.glob("objects/pack/pack_git2_*")):
                left.unlink(missing_ok=True)
            yield

    def _fetch_into(self, path: Path) -> None:
        callbacks = _Callbacks(self._address, self._credentials)
        with _process_settings(self._credentials, self._home):
            try:
                repository = pygit2.init_repository(str(path), bare=True)
                remote = repository.remotes.create_anonymous(self._address.url)
                heads = {head.name for head in remote.list_heads(callbacks, proxy=True)}
                _forget_others(repository, heads)
                remote.fetch(_REFSPECS, callbacks=callbacks, prune=FetchPrune.PRUNE, proxy=True)
            except (pygit2.GitError, OSError, ValueError, KeyError) as error:
                raise self._explained(error, callbacks.mistrusted) from error

    def _explained(self, error: Exception, mistrusted: bool) -> SourceError:
        url = self._address
        if mistrusted:
            if url.scheme == "ssh":
                return SourceError(
                    f"{url}: the server's host key is not among the known ones; check it, and add "
                    f"it to {self._credentials.known_hosts or '~/.ssh/known_hosts'}",
                    again=False,
                )
            return SourceError(
                f"{url}: the server's certificate is not valid, or for another name; name the file "
                "of its authority if it is your own",
                again=False,
            )
        if isinstance(error, pygit2.AuthError):
            return SourceError(f"{url} refuses us ({error}); check key or token", again=False)
        if "not owned by current user" in str(error):
            return not_ours(url)
        # libgit2 says no more than this of some certificates that are for another name
        hint = "; is its certificate for this name?" if "SSL error" in str(error) else ""
        return SourceError(f"{url} cannot be fetched: {error}{hint}", again=True)


class _Callbacks(pygit2.RemoteCallbacks):
    """Answers libgit2's questions. Each credential is offered once: libgit2 asks until it fits."""

    def __init__(self, address: Address, credentials: Credentials) -> None:
        super().__init__()
        self._address = address
        self._files = credentials
        self._offered = False
        self.mistrusted = False

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        """libgit2 has checked the authority and name, or known_hosts; without this method it
        would accept every ssh host."""
        self.mistrusted = not valid
        return valid

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.Username | pygit2.UserPass | pygit2.Keypair | pygit2.KeypairFromAgent:
        """Called when the server asks for one of `allowed_types`."""
        user = username_from_url or self._address.user
        if allowed_types & CredentialType.USERNAME:
            return pygit2.Username(user)
        if self._offered:
            raise pygit2.AuthError("it did not accept what was offered")
        self._offered = True
        if allowed_types & CredentialType.SSH_KEY:
            if self._files.ssh_key is None:
                return pygit2.KeypairFromAgent(user)
            return pygit2.Keypair(user, None, str(self._files.ssh_key), "")
        if allowed_types & CredentialType.USERPASS_PLAINTEXT and self._files.token:
            name, _, token = _first_line(self._files.token).rpartition(":")
            return pygit2.UserPass(name or user or "git", token)
        raise pygit2.AuthError("it asks for credentials, and none are configured")


def _forget_others(repository: pygit2.Repository, heads: set[str | None]) -> None:
    """Delete the refs that the remote no longer has: a fetch does so last, and cannot make branch
    `a/b` while there is an `a`."""
    for name in list(repository.references):
        if name.startswith(("refs/heads/", "refs/tags/")) and name not in heads:
            repository.references.delete(name)


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip().partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise pygit2.AuthError(f"the token's file: {error}") from error


@contextmanager
def _process_settings(credentials: Credentials, home: Path) -> Iterator[None]:
    """libgit2's settings for one fetch. It looks for known_hosts below a home directory."""
    with _settings:
        settings = pygit2.settings
        settings.server_connect_timeout = _CONNECT_TIMEOUT
        settings.server_timeout = _ANSWER_TIMEOUT
        before = settings.homedir
        try:
            _believe(credentials, home)
            yield
        finally:
            if before is not None:
                settings.homedir = before


def _believe(credentials: Credentials, home: Path) -> None:
    """Make the given authorities and host keys those that libgit2 checks against."""
    try:
        if credentials.ca:
            pygit2.settings.set_ssl_cert_locations(str(credentials.ca), None)
        if credentials.known_hosts:
            (home / ".ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(credentials.known_hosts, home / ".ssh" / "known_hosts")
            pygit2.settings.homedir = str(home)
    except (OSError, pygit2.GitError) as error:
        raise SourceError(f"authorities or known hosts: {error}", again=False) from error
