"""Lab: a repository brought up as namespaces, and taken down again, whatever happened meanwhile.

Level-triggered like the agents: `up` computes what should be there, makes what is missing and
removes what is not wanted; `down` removes all that a lab of this name can have made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from reconciler.agent import store
from reconciler.compile.state import HostName
from reconciler.datapath.netlink import netns_exists
from reconciler.datapath.pins import Pins, is_bpffs
from reconciler.lab import members, mirror, netns, record, repository, traces
from reconciler.lab.agents import Agents, AgentView
from reconciler.lab.directory import Directory, Member
from reconciler.lab.guests import guests, plug
from reconciler.lab.layout import LabError, Layout, plan_underlay
from reconciler.lab.places import BPFFS, RUN, Places
from reconciler.lab.record import Record
from reconciler.lab.repository import Followed
from reconciler.lab.underlay import Underlay
from reconciler.model.topology import Topology
from reconciler.source.remote import Credentials

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `lab up` was asked for. `hosts` empty: all of the repository's."""

    repository: str
    branch: str = ""
    folder: str = ""
    hosts: tuple[str, ...] = ()
    mtu: int = 1500
    patience: float = 120.0  # seconds for the hosts to converge
    credentials: Credentials = field(default_factory=Credentials)  # of a remote


@dataclass(frozen=True, slots=True)
class Up:
    """What `lab up` came to. `behind` are the hosts that did not converge in time."""

    record: Record
    directory: Directory
    layout: Layout
    followed: Followed
    behind: tuple[AgentView, ...]

    @property
    def shared(self) -> list[tuple[str, ...]]:
        """Zones that share a switch, because their addresses are too mixed to route between."""
        return [each.zones for each in self.layout.segments if len(each.zones) > 1]


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host of a lab: what should be there as of `commit`, and what is."""

    member: Member
    agent: AgentView
    commit: str
    endpoints: int
    namespaces: int  # of its endpoints, that are there

    @property
    def converged(self) -> bool:
        """Whether nothing is to be done; a foreign host has no agent that could."""
        return not self.member.managed or self.agent.converged(self.commit)

    @property
    def summary(self) -> str:
        """In a few words."""
        if not self.member.managed:
            return "foreign"
        return "converged" if self.converged else self.agent.trouble() or "converging"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "host": self.member.name,
            "zone": self.member.zone,
            "underlay": str(self.member.address()),
            "netns": str(self.member.netns),
            "pid": self.agent.pid,
            "commit": self.agent.status.get("enforced", ""),
            "converged": self.converged,
            "summary": self.summary,
            "endpoints": self.endpoints,
            "namespaces": self.namespaces,
        }


class Lab:
    """The lab of one name."""

    def __init__(self, name: str) -> None:
        self.places = Places(name)
        self.agents = Agents(self.places)

    def up(self, wanted: Wanted, progress: Progress) -> Up:
        """Bring it up, or what is missing of it, and wait until the hosts have converged."""
        with record.locked(self.places):
            try:
                return self._up(wanted, progress)
            finally:
                if record.load(self.places) is None:  # refused before anything of it was there
                    self._remove(set())

    def _up(self, wanted: Wanted, progress: Progress) -> Up:
        known = record.load(self.places)
        self._make_folders()
        followed = repository.follow(
            wanted.repository, wanted.branch, wanted.credentials, self.places
        )
        head = repository.read(followed, wanted.folder)
        layout = plan_underlay(head.topology.hosts)
        hosts = _choose(wanted.hosts, layout)
        directory = members.directory_of(self.places, head, hosts)
        old = set(known.hosts) if known else set()
        traces.refuse_foreign(self.places, directory, old)
        wish = Record(
            followed.path,
            followed.branch,
            followed.url,
            wanted.folder,
            wanted.mtu,
            credentials=_named(wanted.credentials),
        )
        wish.with_hosts(old | hosts).save(self.places)
        self._remove_hosts(old - hosts)
        wish = wish.with_hosts(hosts)
        wish.save(self.places)
        self._save(directory)
        self._build(wish, layout, head.topology, directory, progress)
        if followed.url:
            mirror.start(self.places)
        behind = self._converge(wish, layout, head.commit.id, wanted.patience, progress)
        if not behind:  # what a host still enforces is still somebody's
            self._prune(directory, old | hosts)
        return Up(wish, directory, layout, followed, tuple(behind))

    def _build(
        self,
        wish: Record,
        layout: Layout,
        topology: Topology,
        directory: Directory,
        progress: Progress,
    ) -> None:
        """The underlay, and what stands behind existing interfaces."""
        namespaces = {host: self.places.host_netns(host) for host in wish.hosts}
        count = _counter("underlay", len(wish.hosts), progress)
        Underlay(self.places.router, namespaces, wish.mtu, self.places.mark).build(layout, count)
        inside = {each.name: each.netns for each in directory.endpoints}
        for cable in layout.cables:
            if cable.host in wish.hosts and cable.managed:
                for guest in guests(topology, cable.host):
                    there = inside[guest.inside.endpoint]
                    plug(guest, namespaces[cable.host], there, wish.mtu, self.places.mark)

    def _converge(
        self, wish: Record, layout: Layout, commit: str, patience: float, progress: Progress
    ) -> list[AgentView]:
        managed = [each.host for each in layout.cables if each.managed and each.host in wish.hosts]
        self.agents.start(wish, managed, _counter("agents", len(managed), progress))
        count = _counter("converged", len(managed), progress)
        return self.agents.wait(managed, commit, patience, count)

    def down(self) -> bool:
        """Remove everything, also what a crash left; whether there was anything."""
        with record.locked(self.places):
            known = record.load(self.places)
            hosts = set(known.hosts) if known else set()
            there = self.places.run.exists()
            self._remove(hosts)
        traces.remove_if_empty(RUN)
        return there

    def _remove(self, hosts: set[str]) -> None:
        self.agents.stop_all()
        self._remove_hosts(hosts)
        for each in traces.own_namespaces(self.places, hosts):
            netns.remove(each)
        if self.places.own:
            traces.unmount(self.places.netns)
            traces.remove_tree(self.places.bpffs)
        traces.remove_tree(self.places.run)
        traces.remove_if_empty(self.places.bpffs / "reconciler")

    def directory(self) -> Directory:
        """Who is in the lab now (members.py)."""
        known = record.load(self.places)
        if known is None or not self.places.directory.exists():
            raise LabError(f"lab {self.places.name} is not up; `reconciler lab up REPO` starts it")
        kept = Directory.load(self.places.directory.read_text())
        return members.current(self.places, known, kept)

    def status(self) -> list[HostStatus]:
        """Every host as it is now, sorted by name."""
        directory = self.directory()
        found = []
        for each in directory.hosts:
            view = self.agents.view(each.name)
            points = [point for point in directory.endpoints if point.host == each.name]
            up = sum(netns_exists(point.netns) for point in points)
            found.append(HostStatus(each, view, directory.commit, len(points), up))
        return found

    def _save(self, directory: Directory) -> None:
        store.replace(self.places.directory, directory.dump().encode(), durable=False)

    def _make_folders(self) -> None:
        if not is_bpffs(BPFFS):
            raise LabError(f"{BPFFS} is not mounted; as root: mount -t bpf bpf {BPFFS}")
        for each in (self.places.run, self.places.netns, self.places.bpffs):
            each.mkdir(parents=True, exist_ok=True)

    def _remove_hosts(self, hosts: Iterable[str]) -> None:
        """Agents, pins, namespaces and files of hosts; their endpoints' namespaces stay."""
        gone = sorted(hosts)
        self.agents.stop(gone)
        for host in gone:
            Pins(self.places.bpffs, host).remove_all()
            netns.remove(self.places.host_netns(host))
            traces.remove_tree(self.places.host_run(host))

    def _prune(self, directory: Directory, hosts: set[str]) -> None:
        """Namespaces of endpoints that were removed or renamed; agents take only interfaces."""
        wanted = {each.netns for each in directory.everybody}
        for each in traces.own_namespaces(self.places, hosts):
            if each not in wanted and each != self.places.router:
                netns.remove(each)


def _named(files: Credentials) -> dict[str, str]:
    """The files that were given, by field."""
    return {name: str(path) for name, path in asdict(files).items() if path}


def _choose(asked: Sequence[str], layout: Layout) -> set[HostName]:
    """The hosts asked for, or all."""
    every = {cable.host for cable in layout.cables}
    if unknown := sorted(set(asked) - every):
        raise LabError(
            f"no Host is called {', '.join(unknown)}; there are {', '.join(sorted(every))}"
        )
    return {host for host in every if not asked or host in asked}


def _counter(what: str, total: int, progress: Progress) -> Callable[[str], None]:
    """Turns the name of each that is done into a count."""
    done: set[str] = set()

    def count(name: str) -> None:
        done.add(name)
        progress(what, len(done), total)

    progress(what, 0, total)
    return count
