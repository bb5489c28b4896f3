"""Source: where the wanted state of this host comes from: the newest commit, or a file.

A commit is read and compiled once, from what is kept of the last valid one, at the cost of what
changed. Now and then that is compared with the meaning of the whole commit.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.agent.heap import settle
from reconciler.agent.report import Phases
from reconciler.compile import serial
from reconciler.compile.followed import Followed, follow_host
from reconciler.compile.overview import Overview
from reconciler.compile.state import HostName, HostState
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import Kept, follow
from reconciler.plan.guards import Inventory
from reconciler.source.address import parse_address
from reconciler.source.files import Snapshot
from reconciler.source.git import GitSource, Repository, SourceError
from reconciler.source.package import schemas

LOG = logging.getLogger("reconciler.agent")
CHECK_AFTER = 100  # commits followed by their changes; at the next round without a new commit


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
    overview: Overview | None = None  # of the commit; without endpoints
    moved: HostState | None = None  # where endpoints are now that the host had the commit before


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

    def read(
        self, revision: str, phases: Phases, last: HostState | None = None
    ) -> Wanted | Invalid:
        """What it means. `last`, the last good state, is what was before the first one."""
        ...


class RepositorySource:
    """The head of a branch, compiled for one host."""

    def __init__(
        self,
        git: GitSource,
        host: HostName,
        cache: Kept | None = None,
        check_after: int = CHECK_AFTER,
    ) -> None:
        self._git = git
        self._cache, self._check_after = cache, check_after
        self._opened: Repository | None = None
        self._host = host
        self._validators = compile_schemas(schemas())
        self._kept: Wanted | Invalid | None = None
        self._snapshot: Snapshot | None = None  # of the last valid commit
        self._followed: Followed | None = None
        self._unchecked = 0
        self.differences = 0  # found by comparing with whole commits; there should be none

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

    def read(
        self, revision: str, phases: Phases, last: HostState | None = None
    ) -> Wanted | Invalid:
        """See Source."""
        if self._kept is None or self._kept.revision != revision:
            with phases("snapshot"):
                snapshot = self._repository().survey(revision, self._snapshot)
            self._kept = self._mean(snapshot, phases, last)
        elif self._unchecked >= self._check_after and isinstance(self._kept, Wanted):
            self._check(phases)
        return self._kept

    def _repository(self) -> Repository:
        """Opened when it is first asked: it may appear after the agent."""
        if self._opened is None:
            self._opened = Repository.open(self._git)
        return self._opened

    def _mean(self, snapshot: Snapshot, phases: Phases, last: HostState | None) -> Wanted | Invalid:
        before = self._followed
        with phases("validate"):
            step = follow(
                snapshot, self._validators, before.memory if before else None, self._cache
            )
        if step.memory is None:
            return Invalid(snapshot.commit, tuple(map(str, step.problems)))
        with phases("compile"):
            self._followed = follow_host(step, self._host, before, last)
        self._unchecked += step.delta is not None
        self._snapshot = snapshot
        if step.topology is not None:
            del step, before
            settle()
        return self._wanted(snapshot.commit, self._followed)

    def _wanted(self, commit: str, followed: Followed) -> Wanted:
        names = followed.memory.names
        if followed.missing:
            # The guards judge it: a commit that forgets a host must not empty it unasked.
            names = {**names, "Host": names.get("Host", frozenset()) - {self._host}}
        return Wanted(
            commit, followed.state, names, followed.missing, followed.overview, followed.moved
        )

    def _check(self, phases: Phases) -> None:
        """Compile the whole commit, and let that win over what was worked out from changes."""
        snapshot, followed = self._snapshot, self._followed
        assert snapshot is not None
        assert followed is not None
        self._unchecked = 0
        with phases("check"):
            step = follow(snapshot, self._validators)
            whole = None if step.memory is None else follow_host(step, self._host)
        if whole is not None and whole.state == followed.state:
            return
        self.differences += 1
        LOG.error(
            "commit %s: its meaning as worked out from changes differs from that of the whole "
            "commit, which is used instead; please report it",
            snapshot.commit,
        )
        self._followed = whole
        if whole is None:
            self._kept = Invalid(snapshot.commit, tuple(map(str, step.problems)))
        else:
            self._kept = self._wanted(snapshot.commit, whole)


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

    def read(
        self, revision: str, phases: Phases, last: HostState | None = None
    ) -> Wanted | Invalid:
        """See Source."""
        return self._wanted
