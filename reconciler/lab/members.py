"""Who is in a lab: of each host what its agent enforces, and over it what the newest commit says.

A commit that is refused, or says nothing, takes no name away: what it names is still there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from reconciler.lab import repository
from reconciler.lab.directory import Directory, Member, make_directory
from reconciler.lab.layout import LabError
from reconciler.lab.places import Places
from reconciler.lab.record import Record
from reconciler.lab.repository import Followed, Head


def directory_of(places: Places, head: Head, hosts: Iterable[str]) -> Directory:
    """Who is in the lab's `hosts` as of a commit."""
    return make_directory(
        head.commit.id, head.topology, {h: places.host_netns(h) for h in hosts}, places.router
    )


def current(places: Places, known: Record, kept: Directory) -> Directory:
    """Who is in the lab now; `kept` is who was when it came up, for what git no longer says."""
    followed = Followed(known.path, known.branch)
    try:
        newest = repository.head(followed)
    except LabError:
        newest = kept.commit
    read = _reader(places, known, kept)
    enforced = {host: _enforced(places, host) for host in known.hosts}
    if newest == kept.commit and set(enforced.values()) <= {newest, ""}:
        return kept
    held = {host: read(commit) or kept for host, commit in enforced.items()}
    return replace(overlaid(kept, held, read(newest)), commit=newest)


def overlaid(kept: Directory, held: Mapping[str, Directory], newest: Directory | None) -> Directory:
    """Of each host who is there as of `held`, and over it everybody of `newest`."""
    hosts = {each.name: each for host, part in held.items() for each in _of(part.hosts, host)}
    ends = {each.name: each for host, part in held.items() for each in _of(part.endpoints, host)}
    for each in newest.hosts if newest else ():
        hosts[each.name] = each
    for each in newest.endpoints if newest else ():
        ends[each.name] = each
    return replace(kept, hosts=_sorted(hosts), endpoints=_sorted(ends))


def _reader(places: Places, known: Record, kept: Directory) -> Callable[[str], Directory | None]:
    """Reads each commit once; None for one that is gone or has problems."""
    found: dict[str, Directory | None] = {kept.commit: kept, "": None}

    def read(commit: str) -> Directory | None:
        if commit not in found:
            found[commit] = None
            with suppress(LabError):  # it changes nothing on the hosts either
                followed = Followed(known.path, known.branch)
                head = repository.read(followed, known.folder, commit)
                found[commit] = directory_of(places, head, known.hosts)
        return found[commit]

    return read


def _enforced(places: Places, host: str) -> str:
    """The commit that a host's agent said it enforces, also if the agent is gone; '' if unknown."""
    try:
        status = json.loads((places.host_run(host) / "status.json").read_bytes())
    except (OSError, ValueError):
        return ""
    return str(status.get("enforced", ""))


def _of(members: Iterable[Member], host: str) -> Iterable[Member]:
    return (each for each in members if each.host == host)


def _sorted(members: Mapping[str, Member]) -> tuple[Member, ...]:
    return tuple(members[name] for name in sorted(members))
