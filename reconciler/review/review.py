"""Review: what a change from one commit to another does to manifests, hosts and their rows.

Needs no host: fact columns are zero on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.compile.host import compile_all
from reconciler.compile.state import HostName, HostState
from reconciler.model.commit import Commit
from reconciler.model.topology import Topology
from reconciler.plan.diff import Change, Counts, diff
from reconciler.plan.guards import Context, Limits, inventory
from reconciler.plan.plan import make_plan
from reconciler.review.manifests import ManifestChange, manifest_changes


@dataclass(frozen=True, slots=True)
class HostChange:
    """What is to be written on a host, by kind of thing; rows there before and after."""

    host: HostName
    change: Change
    kinds: Mapping[str, Counts]
    rows_before: int
    rows_after: int

    @property
    def counts(self) -> Counts:
        """All writes."""
        return sum(self.kinds.values(), Counts())


@dataclass(frozen=True, slots=True)
class Refused:
    """A guard that would refuse the change, on which hosts."""

    code: str
    message: str
    hosts: tuple[HostName, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """`hosts` are those that change, of `total_hosts` in either commit.

    `compared` is False if the older commit has problems: nobody knows then what its hosts hold, so
    only manifests that could be read are compared.
    """

    before: str
    after: str
    manifests: tuple[ManifestChange, ...]
    hosts: tuple[HostChange, ...]
    total_hosts: int
    refused: tuple[Refused, ...]
    compared: bool = True
    cautions: tuple[str, ...] = ()  # what no guard refuses, and a reviewer should know

    @property
    def empty(self) -> bool:
        """Neither a manifest nor a row changes."""
        return not self.manifests and not self.hosts

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Whose manifests change."""
        return tuple(sorted({each.namespace for each in self.manifests} - {""}))

    @property
    def manifest_counts(self) -> Counts:
        """Manifests by change."""
        seen = [each.change for each in self.manifests]
        return Counts(*(seen.count(c) for c in (Change.CREATE, Change.UPDATE, Change.DELETE)))

    @property
    def counts(self) -> Counts:
        """All writes on all hosts."""
        return sum((each.counts for each in self.hosts), Counts())


def review(before: Commit, after: Commit, limits: Limits | None = None) -> Review:
    """What `after`, which must have a topology, changes."""
    assert after.topology is not None
    manifests = manifest_changes(before.documents, after.documents)
    if before.topology is None:
        total = sum(host.managed for host in after.topology.hosts)
        return Review(before.id, after.id, manifests, (), total, (), compared=False)
    old, new = compile_all(before.topology), compile_all(after.topology)
    context = Context(before=inventory(before.documents), after=inventory(after.documents))
    hosts: list[HostChange] = []
    refused: dict[tuple[str, str], list[HostName]] = {}
    for name in sorted({*old, *new}):
        nothing = HostState.empty(name)
        left, right = old.get(name, nothing), new.get(name, nothing)
        if not diff(right, left):
            continue
        plan = make_plan(right, left, (), context, limits)
        hosts.append(
            HostChange(
                name, _change(name, old, new), plan.diff.counts_by_kind, _rows(left), _rows(right)
            )
        )
        for each in plan.refusals:
            refused.setdefault((each.code, each.message), []).append(name)
    guards = tuple(Refused(*key, tuple(names)) for key, names in sorted(refused.items()))
    total, cautions = len({*old, *new}), tuple(_given_away(before.topology, after.topology))
    return Review(before.id, after.id, manifests, tuple(hosts), total, guards, cautions=cautions)


def _given_away(before: Topology, after: Topology) -> Iterator[str]:
    """VNIs that are another VPC's now."""
    owners = {each.vni: f"{each.namespace}/{each.name}" for each in before.vpcs}
    for each in sorted(after.vpcs, key=lambda vpc: vpc.vni):
        old, new = owners.get(each.vni), f"{each.namespace}/{each.name}"
        if old not in (None, new):
            yield (
                f"VNI {each.vni} goes from VPC {old} to VPC {new}: while hosts hold different "
                f"commits, packets of one may reach endpoints of the other; free it in one commit "
                f"and give it away in a later one, when all hosts have the first"
            )


def _change(
    name: HostName, old: Mapping[HostName, HostState], new: Mapping[HostName, HostState]
) -> Change:
    if name not in old:
        return Change.CREATE
    return Change.UPDATE if name in new else Change.DELETE


def _rows(state: HostState) -> int:
    return sum(map(len, state.tables.values()))
