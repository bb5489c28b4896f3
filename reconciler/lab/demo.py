"""The demo's steps: each does something to a lab and returns what real packets said about it.

cli/lab_demo.py puts them in order and shows the results.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError

from reconciler.datapath.netlink import inside
from reconciler.lab.agents import AgentView
from reconciler.lab.change import Change
from reconciler.lab.directory import Member
from reconciler.lab.echo import Sample, Stream
from reconciler.lab.lab import Lab
from reconciler.lab.layout import LabError

BRANCH = "main"
IFF_RUNNING = 0x40  # linux/if.h


@dataclass(frozen=True, slots=True)
class Pushed:
    """A commit, and when its push began and ended (monotonic)."""

    commit: str
    began: float
    ended: float


class Workspace:
    """A work tree with a bare repository to push to, as an operator would have them."""

    def __init__(self, folder: Path, bare: Path) -> None:
        self.folder, self.bare = folder, bare

    @classmethod
    def make(cls, manifests: Path, folder: Path, bare: Path) -> Workspace:
        """Both, new, with nothing committed yet."""
        shutil.copytree(manifests, folder, symlinks=True, ignore=lambda *_: [".git"])
        workspace = cls(folder, bare)
        workspace._git("init", "-q", "--bare", "--initial-branch", BRANCH, str(bare))
        workspace._git("init", "-q", "--initial-branch", BRANCH)
        workspace._git("remote", "add", "origin", str(bare))
        return workspace

    def texts(self) -> dict[str, str]:
        """The files by path."""
        files = (each for each in sorted(self.folder.rglob("*")) if each.is_file())
        names = ((each.relative_to(self.folder), each) for each in files)
        return {n.as_posix(): f.read_text() for n, f in names if n.parts[0] != ".git"}

    def push(self, message: str) -> Pushed:
        """Commit everything and push."""
        self._git("add", "--all")
        self._git("commit", "-q", "-m", message)
        began = time.monotonic()
        self._git("push", "-q", "origin", f"HEAD:{BRANCH}")
        ended = time.monotonic()
        return Pushed(self._git("rev-parse", "HEAD").strip(), began, ended)

    def _git(self, *arguments: str) -> str:
        who = ["-c", "user.name=operator", "-c", "user.email=operator@localhost"]
        unsigned = ["-c", "commit.gpgSign=false"]
        command = ["git", "-C", str(self.folder), *who, *unsigned, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"git {arguments[0]}: {done.stderr.strip()}")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a ping: requests sent and lost, in all and since `since` (monotonic)."""

    source: Member
    target: Member
    sent: int
    lost: int
    since: float
    sent_since: int
    lost_since: int

    @classmethod
    def of(cls, source: Member, target: Member, samples: Sequence[Sample], since: float) -> Heard:
        """Counts."""
        later = [each for each in samples if each.sent >= since]
        lost, lost_later = (sum(s.answered is None for s in part) for part in (samples, later))
        return cls(source, target, len(samples), lost, since, len(later), lost_later)


@dataclass(frozen=True, slots=True)
class Changed:
    """What a push came to; seconds are counted from its beginning.

    `bystander` was not concerned, `moved` counts from its new interface on, `added` from its first
    answer on.
    """

    commit: str
    push: float
    converged: float
    first_answer: float
    interface_up: float
    bystander: Heard
    added: Heard
    moved: Heard
    behind: tuple[AgentView, ...]


def push_change(lab: Lab, workspace: Workspace, change: Change, patience: float = 30.0) -> Changed:
    """Push the change under three running pings, and wait until it has had its effect."""
    pairs = [
        change.bystanders,
        (change.asker, change.added),
        (change.asker, change.moved),
    ]
    streams = [Stream(source.netns, target.address(4)) for source, target in pairs]
    with streams[0] as bystander, streams[1] as added, streams[2] as moved:
        watch = InterfaceWatch(change.moved.netns)
        with watch:
            time.sleep(0.5)
            message = f"Add {change.added.name}, move {change.moved.name} to {change.moved.host}"
            (workspace.folder / change.path).write_text(change.text)
            pushed = workspace.push(message)
            hosts = [each.name for each in lab.directory().hosts if each.managed]
            behind = lab.agents.wait(hosts, pushed.commit, patience, lambda _: None)
            converged = time.monotonic()
            _wait_for_answers([added, moved], patience)
        for each in (bystander, added, moved):
            each.stop()
        first = next((s.sent for s in added.samples if s.answered is not None), float("inf"))
        counted = zip(pairs, (bystander, added, moved), (0.0, first, watch.changed_at), strict=True)
        heard = [Heard.of(*pair, each.samples, since) for pair, each, since in counted]
    return Changed(
        pushed.commit,
        pushed.ended - pushed.began,
        converged - pushed.began,
        first - pushed.began,
        watch.changed_at - pushed.began,
        heard[0],
        heard[1],
        heard[2],
        tuple(behind),
    )


def _wait_for_answers(streams: Sequence[Stream], patience: float) -> None:
    """Until the newest requests of each have been answered for half a second."""
    limit = time.monotonic() + patience
    while time.monotonic() < limit:
        newest = [each.samples[-60:-10] for each in streams]
        if all(part and all(s.answered is not None for s in part) for part in newest):
            return
        time.sleep(0.05)


class InterfaceWatch:
    """Looks every 2 ms whether another interface has taken the place of eth0 in a namespace."""

    def __init__(self, namespace: Path, name: str = "eth0") -> None:
        self.changed_at = float("inf")  # monotonic, when the new one was seen up
        self._name, self._stop = name, threading.Event()
        self._thread = threading.Thread(target=inside, args=(namespace, self._look))

    def __enter__(self) -> InterfaceWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        with IPRoute() as route:
            before, _ = _look_at(route, self._name)
            while not self._stop.wait(0.002):
                now, running = _look_at(route, self._name)
                if running and now != before:
                    self.changed_at = time.monotonic()
                    return


def _look_at(route: IPRoute, name: str) -> tuple[int, bool]:
    """(index, whether it is up and has its carrier) of an interface; 0 if there is none."""
    try:
        found = route.link("get", ifname=name)[0]
    except NetlinkError:
        return 0, False
    return found["index"], bool(found["flags"] & IFF_RUNNING)
