"""follow: a commit and what is remembered of the last valid one -> what it means, or what changed.

Where only endpoints change, and nothing about the change deserves a word, the cost is that of the
change: what differs is found document by document, checked by itself, and against all others by
the numbers that no two may share. For anything else everything is built again from kept parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import Limit
from reconciler.manifest.document import Document
from reconciler.manifest.place import place
from reconciler.manifest.problem import Finding, Problem, Severity
from reconciler.manifest.schema import Validators
from reconciler.model.build import Built, assemble
from reconciler.model.claims import Claims, Names, Numbers
from reconciler.model.columns import Columns, in_order, join, read_columns, take
from reconciler.model.commit import lost_names
from reconciler.model.endpoints import read_endpoints
from reconciler.model.frame import Frame
from reconciler.model.mix import mix64
from reconciler.model.part import ENDPOINT, Part, read_part, refused_part
from reconciler.model.references import Unread
from reconciler.model.report import Report, qualified
from reconciler.model.rows import LabelSet
from reconciler.model.topology import AttachKind, Endpoints, Topology
from reconciler.source.files import Snapshot, SourceFile

Held = Mapping[str, tuple[str, Part]]  # by path: the blob and what it holds
Manifests = Mapping[str, Set[str]]  # by kind: qualified names


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What is remembered of a valid commit. `claims` None: two numbers are equal by accident."""

    held: Held
    frame: Frame
    claims: Claims | None
    labels: Mapping[int, LabelSet]  # by identity; those that are gone may linger
    on_hosts: NDArray[np.int64]  # endpoints of each host
    in_networks: NDArray[np.int64]  # addresses of each network
    names: Manifests
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """Two topologies of the same hosts, VPCs and networks, which have no endpoints but those that
    differ: as they were, and as they are. One that changed is in both."""

    old: Topology
    new: Topology


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A commit. `memory` is None if any problem is an error; otherwise there is a `topology`, or a
    `delta` to the commit that was remembered."""

    commit: str
    problems: tuple[Problem, ...]
    memory: Memory | None = None
    topology: Topology | None = None
    delta: Delta | None = None


class Kept(Protocol):
    """Parts by blob, kept somewhere for those who have no memory yet."""

    def get(self, blob: str, is_json: bool) -> Part | None:
        """What a file of these bytes holds, if it is known."""
        ...

    def put(self, blob: str, is_json: bool, part: Part) -> None:
        """Keep it."""
        ...


def follow(
    snapshot: Snapshot,
    validators: Validators,
    memory: Memory | None = None,
    kept: Kept | None = None,
) -> Step:
    """`memory` is that of any earlier commit. Raises what `snapshot.fetch` does."""
    held, paths = _hold(snapshot, validators, memory, kept)
    if memory is not None and memory.claims is not None:
        changed = _changes(memory, held, paths)
        step = _advance(snapshot.commit, memory, held, *changed) if changed else None
        if step:
            return step
    return _anew(snapshot, held)


def _hold(
    snapshot: Snapshot, validators: Validators, memory: Memory | None, kept: Kept | None
) -> tuple[Held, Set[str]]:
    """The part of every file, read where its bytes are new; and the paths that were so no more, or
    not before."""
    before = memory.held if memory else {}
    held, new, now = {}, set(), {file.path: file.blob for file in snapshot.files}
    went = [path for path, (blob, _) in before.items() if now.get(path) != blob]
    moved = {(before[path][0], _is_json(path)): before[path][1] for path in went}
    for file in snapshot.files:
        known = before.get(file.path)
        if known is None or known[0] != file.blob or file.refused:
            new.add(file.path)
            known = file.blob, _read(snapshot, file, validators, moved, known, kept)
        held[file.path] = known
    return held, new.union(went)


def _read(
    snapshot: Snapshot,
    file: SourceFile,
    validators: Validators,
    moved: Mapping[tuple[str, bool], Part],
    known: tuple[str, Part] | None,
    kept: Kept | None,
) -> Part:
    if file.refused:
        return refused_part(file.refused)
    is_json = _is_json(file.path)
    part = moved.get((file.blob, is_json))
    if part is None and kept is not None:
        part = kept.get(file.blob, is_json)
    if part is None:
        data = snapshot.bytes_of(file)
        part = read_part(data, is_json, validators, known[1] if known else None)
        if kept is not None:
            kept.put(file.blob, is_json, part)
    return part


def _is_json(path: str) -> bool:
    return path.lower().endswith(".json")


def _anew(snapshot: Snapshot, held: Held) -> Step:
    """Everything from the parts."""
    found = [each for path, (_, part) in held.items() for each in part.found(path)]
    few = [each for path, (_, part) in held.items() for each in part.documents(path)]
    columns = join([part.endpoints(path) for path, (_, part) in held.items()])
    broken = {each.path for each in found if each.severity is Severity.ERROR}
    invalid = frozenset(each for _, part in held.values() for each in part.invalid)
    known = Counter((each.path, each.name) for each in few if each.path in broken)
    for path in broken:
        for name in held[path][1].columns.names:
            known[path, name.rpartition("/")[2]] += 1
    lost = lost_names(_full(snapshot, broken), known, invalid)
    mended = [replace(each, path=path) for path, (_, part) in held.items() for each in part.mended]
    if mended:
        few += [each for each in mended if each.kind != ENDPOINT]
        more = read_columns([each for each in mended if each.kind == ENDPOINT])
        columns = in_order(join([columns, more]))
    built = assemble(few, columns, Unread(invalid, lost))
    findings: list[Finding] = [*found, *built.findings]
    problems = place(findings, _full(snapshot, {each.path for each in findings}))
    if built.topology is None or broken:
        return Step(snapshot.commit, problems)
    memory = _remember(held, few, built, built.topology, problems)
    return Step(snapshot.commit, problems, memory, built.topology)


def _full(snapshot: Snapshot, paths: Set[str]) -> list[SourceFile]:
    return [snapshot.full(file) for file in snapshot.files if file.path in paths]


def _remember(
    held: Held,
    few: Iterable[Document],
    built: Built,
    topology: Topology,
    problems: tuple[Problem, ...],
) -> Memory:
    points, columns = topology.endpoints, built.columns
    names: dict[str, set[str]] = {}
    for each in few:
        names.setdefault(each.kind, set()).add(qualified(each))
    return Memory(
        held,
        built.frame,
        Claims.of(_claims(columns, topology, built.frame)),
        dict(zip(columns.identities().tolist(), columns.label_sets, strict=True)),
        np.bincount(points.host, minlength=len(topology.hosts)),
        _addresses(points, topology),
        {ENDPOINT: Names(points.names), **{kind: frozenset(each) for kind, each in names.items()}},
        problems,
    )


def _changes(memory: Memory, new: Held, paths: Set[str]) -> tuple[Columns, Columns] | None:
    """Of these files, the endpoints that are no more as they were, and those that were not so
    before; None if there is more to it."""
    old, ordered = memory.held, sorted(paths)
    if {each.path for each in memory.warnings} & paths:
        return None
    before = [(path, old[path][1]) for path in ordered if path in old]
    after = [(path, new[path][1]) for path in ordered if path in new]
    if any(part.findings or part.invalid for _, part in after):
        return None
    if _few(before) != _few(after):
        return None
    ours = {text for _, part in before for text in part.digests}
    seen: set[bytes] = set()
    came = []
    for path, part in after:
        rows = []
        for row, text in enumerate(part.digests):
            if text not in ours or text in seen:
                rows.append(row)
            seen.add(text)
        came.append(take(part.endpoints(path), np.array(rows, np.intp)))
    went = [
        take(part.endpoints(path), np.array(rows, np.intp))
        for path, part in before
        if (rows := [row for row, text in enumerate(part.digests) if text not in seen])
    ]
    return join(went), join(came)


def _few(parts: Iterable[tuple[str, Part]]) -> Counter[tuple[str, int, bytes]]:
    """By place, since the frame's findings tell it."""
    return Counter((path, each.index, text) for path, part in parts for text, each in part.few)


def _advance(commit: str, memory: Memory, held: Held, went: Columns, came: Columns) -> Step | None:
    """The change by itself; None if anything about it may be wrong."""
    report = Report()
    old = _topology(went, memory.frame, Report())
    new = _topology(came, memory.frame, report)
    if report.findings or len(set(came.names)) != len(came.names):
        return None
    if any(each.kind is AttachKind.HOST for each in new.attachments):
        return None  # what their routes reach is compared with those of others
    assert memory.claims is not None
    frame = memory.frame
    gone, come = _claims(_sorted(went), old, frame), _claims(_sorted(came), new, frame)
    claims = memory.claims.replaced(gone, come)
    labels = _labels(memory.labels, came)
    on_hosts = memory.on_hosts + _by_host(new) - _by_host(old)
    in_networks = (
        memory.in_networks + _addresses(new.endpoints, new) - _addresses(old.endpoints, old)
    )
    if claims is None or labels is None:
        return None
    if np.any(on_hosts > Limit.INTERFACES) or np.any(in_networks > Limit.ENDPOINTS):
        return None
    names = memory.names[ENDPOINT]
    assert isinstance(names, Names)
    memory = replace(
        memory,
        held=held,
        claims=claims,
        labels=labels,
        on_hosts=on_hosts,
        in_networks=in_networks,
        names={**memory.names, ENDPOINT: names.replaced(went.names, came.names)},
    )
    return Step(commit, memory.warnings, memory, delta=Delta(old, new))


def _sorted(columns: Columns) -> Columns:
    return take(columns, np.argsort(columns.names.fixed(), kind="stable"))


def _topology(columns: Columns, frame: Frame, report: Report) -> Topology:
    endpoints, attachments = read_endpoints(_sorted(columns), frame, report)
    return Topology(frame.hosts, frame.vpcs, frame.networks, attachments, endpoints)


def _by_host(topology: Topology) -> NDArray[np.int64]:
    return np.bincount(topology.endpoints.host, minlength=len(topology.hosts))


def _addresses(points: Endpoints, topology: Topology) -> NDArray[np.int64]:
    return np.bincount(points.network[points.address_owner], minlength=len(topology.networks))


def _labels(known: Mapping[int, LabelSet], came: Columns) -> Mapping[int, LabelSet] | None:
    """With those of new endpoints; None if an identity would stand for two sets."""
    found = dict(zip(came.identities().tolist(), came.label_sets, strict=True))
    fresh = {number: labels for number, labels in found.items() if number not in known}
    if len(found) < len(came.label_sets):
        return None
    if any(known[number] != found[number] for number in found.keys() - fresh.keys()):
        return None
    return {**known, **fresh} if fresh else known


def _claims(columns: Columns, topology: Topology, frame: Frame) -> Numbers:
    """What no two endpoints may have in common: names, addresses and MACs in a VPC, names of
    interfaces and places on a host."""
    points = topology.endpoints
    vpc = frame.vpc_of[points.network].astype(np.uint64)
    host = points.host.astype(np.uint64)
    mac = np.zeros((len(points), 8), np.uint8)
    mac[:, 2:] = points.mac
    high, low = np.ascontiguousarray(points.address).view(">u8").astype(np.uint64).T
    kinds = [each.kind is not AttachKind.HOST for each in topology.attachments]
    placed = np.array(kinds, np.bool_)[points.attachment]
    spot, place = columns.spot[placed], host[placed]
    return np.concatenate(
        [
            _mixed(0, columns.digest),
            _mixed(1, low, high, vpc[points.address_owner]),
            _mixed(2, mac.view(">u8")[:, 0].astype(np.uint64), vpc),
            _mixed(3, columns.digest >> np.uint64(20), host),
            _mixed(4, spot, place),
        ]
    )


def _mixed(kind: int, *columns: Numbers) -> Numbers:
    """A hash of each row."""
    mixed = mix64(columns[0] + np.uint64(kind))
    for column in columns[1:]:
        mixed = mix64(mixed ^ mix64(column + np.uint64(kind)))
    return mixed
