"""Source: where the wanted state of this host comes from: the newest commit, or a file.

A commit is read and compiled once; what it means is kept until another commit is read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.agent.report import Phases
from reconciler.compile import serial
from reconciler.compile.host import UnknownHostError, compile_host
from reconciler.compile.state import HostName, HostState
from reconciler.manifest.problem import Severity
from reconciler.model.commit import read_commit
from reconciler.plan.guards import Inventory, inventory
from reconciler.source.address import parse_address
from reconciler.source.files import Snapshot
from reconciler.source.git import GitSource, Repository, SourceError
from reconciler.source.package import schemas


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What a revision means for this host, before its facts.

    `names` are those of all manifests, None for a state from a file. `missing` says why the commit
    has nothing for this host: no such Host, or a foreign one.
    """

    revision: str
    state: HostState
    names: Inventory | None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Invalid:
    """A commit with problems means nothing."""

    revision: str
    problems: tuple[str, ...]


class Source(Protocol):
    """Both methods raise SourceError when the repository cannot be read now."""

    def newest(self) -> str:
        """The newest revision known here; cheap."""
        ...

    def read(self, revision: str, phases: Phases) -> Wanted | Invalid:
        """What it means."""
        ...


class RepositorySource:
    """The head of a branch, compiled for one host."""

    def __init__(self, git: GitSource, host: HostName) -> None:
        self._git = git
        self._opened: Repository | None = None
        self._host = host
        self._schemas = schemas()
        self._kept: Wanted | Invalid | None = None

    def newest(self) -> str:
        """See Source; only what was fetched is known."""
        return self._repository().resolve()

    def fetch(self) -> None:
        """Ask the remote for what is new; raises SourceError."""
        self._repository().fetch()

    @property
    def is_remote(self) -> bool:
        """Whether only `fetch` learns of new commits."""
        return parse_address(self._git.url).is_remote

    def watch_path(self) -> Path | None:
        """The folder in which a moved ref shows; None when there is none here, or none yet."""
        try:
            return self._repository().watch_path()
        except SourceError:
            return None

    def read(self, revision: str, phases: Phases) -> Wanted | Invalid:
        """See Source."""
        if self._kept is None or self._kept.revision != revision:
            with phases("snapshot"):
                snapshot = self._repository().snapshot(revision)
            self._kept = self._mean(snapshot, phases)
        return self._kept

    def _repository(self) -> Repository:
        """Opened when it is first asked: it may appear after the agent."""
        if self._opened is None:
            self._opened = Repository.open(self._git)
        return self._opened

    def _mean(self, snapshot: Snapshot, phases: Phases) -> Wanted | Invalid:
        with phases("validate"):
            commit = read_commit(snapshot, self._schemas)
        errors = [each for each in commit.problems if each.severity is Severity.ERROR]
        if commit.topology is None or errors:
            return Invalid(snapshot.commit, tuple(map(str, commit.problems)))
        with phases("compile"):
            names = inventory(commit.documents)
            try:
                state = compile_host(commit.topology, self._host)
            except UnknownHostError as error:
                # The guards judge it: a commit that forgets a host must not empty it unasked.
                hosts = names.get("Host", frozenset()) - {self._host}
                nothing = HostState.empty(self._host)
                return Wanted(snapshot.commit, nothing, {**names, "Host": hosts}, str(error))
        return Wanted(snapshot.commit, state, names)


class FileSource:
    """One state in its serial form: what `compile` wrote, here or elsewhere."""

    def __init__(self, path: Path, data: bytes) -> None:
        """Raises serial.SerialError, UnicodeDecodeError."""
        digest = hashlib.sha256(data).hexdigest()[:16]
        self._wanted = Wanted(f"{path.name}@{digest}", serial.load(data.decode()), None)

    @property
    def host(self) -> HostName:
        """Whose state it is."""
        return self._wanted.state.host

    def newest(self) -> str:
        """See Source."""
        return self._wanted.revision

    def read(self, revision: str, phases: Phases) -> Wanted | Invalid:
        """See Source."""
        return self._wanted
