"""Programs of their own, each on one core: a number on standard output, of this process alone.

    loader GIT          seconds of libyaml's C loader for all files
    start GIT HOST [C]  seconds of a cold start to tables that are in the kernel, with a cache in C
    memory [GIT HOST]   resident bytes with the repository in mind; without it, of the imports
Seconds are of the processor, since other work on the machine is none of this; imports, here and of
the loader, and opening the repository are done before.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path

import pygit2
import yaml

from reconciler.abi.generated import MAPS
from reconciler.agent.blobs import BlobCache
from reconciler.agent.heap import settle
from reconciler.compile.bind import bind
from reconciler.compile.facts import Device, Facts, NextHop
from reconciler.compile.followed import follow_host
from reconciler.compile.programs import is_transit
from reconciler.compile.state import HostName, HostState
from reconciler.datapath import libbpf, tables
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import follow
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas


def loader(git: str) -> float:
    """The reference."""
    repository = pygit2.Repository(git)
    data = list(_blobs(repository.head.peel(pygit2.Tree)))
    begin = time.process_time()
    for each in data:
        for _ in yaml.load_all(each, yaml.CSafeLoader):
            pass
    return time.process_time() - begin


def _blobs(tree: pygit2.Tree) -> list[bytes]:
    found = []
    for entry in tree:
        found += _blobs(entry) if isinstance(entry, pygit2.Tree) else [entry.data]
    return found


def start(git: str, host: str, cache: str = "") -> float:
    """From the commit to rows that were read back from the kernel's maps."""
    source = Repository.open(GitSource(git))
    begin = time.process_time()
    kept = BlobCache(Path(cache)) if cache else None
    step = follow(source.survey(source.resolve()), compile_schemas(schemas()), None, kept)
    state = follow_host(step, HostName(host)).state
    fill(bind(state, made_up(state)).state)
    return time.process_time() - begin


def made_up(state: HostState) -> Facts:
    """Facts of a host on which everything is there."""
    uplinks = tuple(sorted(each.interface for each in state.links if is_transit(each.program)))
    names = [*uplinks, *(each.name for each in state.interfaces)]
    hosts = [IPv4Address(each) for each in state.tables["hosts"].keys["address"].tolist()]
    return Facts(
        {name: Device(n + 2, bytes(6), 1500, True) for n, name in enumerate(names)},
        uplinks,
        {each: NextHop(b"\2\0\0\0\0\1", uplinks[0]) for each in hosts},
        {each: number for number, each in enumerate(hosts)},
        {each.endpoint: number for number, each in enumerate(state.interfaces)},
        {},
        {each.name: "1" for each in state.programs},
    )


def fill(state: HostState) -> int:
    """Write every table into a map of its own, and read it back; the number of rows."""
    with ExitStack() as stack:
        for name, table in state.tables.items():
            spec = MAPS[name]
            fd = stack.enter_context(libbpf.create_map(spec, spec.capacity))
            tables.write_rows(fd, spec, table.keys, table.values)
            assert tables.read_table(fd, spec, spec.capacity) == table
    return sum(map(len, state.tables.values()))


def memory(git: str = "", host: str = "") -> float:
    """As an agent holds it."""
    validators = compile_schemas(schemas())
    held: list[object] = [validators]
    if git:
        source = Repository.open(GitSource(git))
        snapshot = source.survey(source.resolve())
        step = follow(snapshot, validators)
        held += [source, snapshot, follow_host(step, HostName(host))]
        del step
    settle()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    assert held
    return float(resident)


if __name__ == "__main__":
    verbs = {"loader": loader, "start": start, "memory": memory}
    print(verbs[sys.argv[1]](*sys.argv[2:]))
