"""What is worked out from the change alone is, to the byte, what the whole commit means."""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from reconciler.compile.followed import Followed, Had, follow_host, moved_since
from reconciler.compile.host import compile_all
from reconciler.compile.overview import Overview
from reconciler.compile.state import HostName, HostState
from reconciler.compile.update import touched, update
from reconciler.manifest.schema import compile_schemas
from reconciler.model.commit import read_commit
from reconciler.model.follow import Delta, Memory, follow
from reconciler.source.files import Snapshot
from reconciler.source.package import schemas
from tests.model.histories import History, snapshot

VALIDATORS = compile_schemas(schemas())
States = Mapping[HostName, HostState]


def full(each: Snapshot) -> Snapshot:
    return replace(each, files=tuple(map(each.full, each.files)))


def updated(states: States, delta: Delta) -> States:
    base = Overview.of(delta.new)
    old, new = base.among(delta.old), base
    hosts = delta.new.hosts
    reached = [number for number in touched(old, new) if hosts[number].managed]
    names = {HostName(hosts[number].name): number for number in reached}
    return {
        **states,
        **{name: update(states[name], old, new, number) for name, number in names.items()},
    }


def exact(state: HostState) -> object:
    """Everything, origins as well, which no comparison of states sees."""
    tables = {
        name: (table.keys.tobytes(), table.values.tobytes(), table.origins.tobytes())
        for name, table in state.tables.items()
    }
    return tables, state.programs, state.links, state.interfaces, state.origins, state.vpcs


def walk(seed: int, commits: int) -> tuple[int, int, int]:
    """How many commits of a history were followed by their change, built anew, or invalid."""
    memory: Memory | None = None
    states: States = {}
    by_change = anew = invalid = 0
    for each in History(seed).snapshots(commits):
        whole = read_commit(full(each), schemas())
        step = follow(each, VALIDATORS, memory)
        assert step.problems == whole.problems
        assert (step.memory is None) == (whole.topology is None)
        if step.memory is None or whole.topology is None:
            invalid += 1
            continue
        if step.delta is not None:
            by_change += 1
            states = updated(states, step.delta)
        else:
            anew += 1
            assert step.topology is not None
            states = compile_all(step.topology)
        wanted = compile_all(whole.topology)
        assert {name: exact(each) for name, each in states.items()} == {
            name: exact(each) for name, each in wanted.items()
        }
        memory = step.memory
    return by_change, anew, invalid


@pytest.mark.parametrize("seed", range(25))
def test_random_history_followed_by_its_changes_means_what_each_commit_means(seed: int) -> None:
    walk(seed, 12)


def test_most_commits_of_these_histories_are_followed_by_their_change() -> None:
    counts = [walk(seed, 12) for seed in range(100, 106)]
    by_change, anew, invalid = map(sum, zip(*counts, strict=True))
    assert by_change > 20
    assert anew > 5
    assert invalid > 5


def test_endpoints_that_moved_are_found_from_the_change_as_from_the_whole() -> None:
    """Where they are now, for the host that had them; of several histories some move."""
    moves = 0
    for seed in range(40):
        before: dict[HostName, Followed] = {}
        for each in History(seed).snapshots(8):
            memory = next(iter(before.values())).memory if before else None
            step = follow(each, VALIDATORS, memory)
            whole = read_commit(full(each), schemas()).topology
            if step.memory is None or whole is None:
                continue
            now: dict[HostName, Followed] = {}
            for number, host in enumerate(whole.hosts):
                name = HostName(host.name)
                if not host.managed or (step.topology is None and name not in before):
                    continue
                now[name] = follow_host(step, name, before.get(name))
                if name in before and not before[name].missing:
                    old, new = before[name].state, now[name].state
                    expected = moved_since(Had((old,)), new, Overview.of(whole), number)
                    found = now[name].moved
                    assert (found is None) == (expected is None)
                    if found is not None and expected is not None:
                        moves += 1
                        assert exact(found) == exact(expected)
            before = now
    assert moves > 5


def test_endpoints_are_found_that_moved_with_commits_which_a_host_did_not_come_to_hold() -> None:
    """From each change as from the whole commit, but for rows of endpoints that nobody has now."""
    dice, pending = random.Random(1), 0
    for seed in range(40):
        before: dict[HostName, Followed] = {}
        held: dict[HostName, HostState] = {}
        for each in History(seed).snapshots(10):
            memory = next(iter(before.values())).memory if before else None
            step = follow(each, VALIDATORS, memory)
            if step.memory is None:
                continue
            anew = follow(each, VALIDATORS)
            assert anew.topology is not None
            now: dict[HostName, Followed] = {}
            for name in [HostName(host.name) for host in anew.topology.hosts if host.managed]:
                if step.topology is None and name not in before:
                    continue
                last = held.get(name)
                now[name] = follow_host(step, name, before.get(name), last)
                whole = follow_host(anew, name, before.get(name), last).moved
                assert rows_of(whole).items() <= rows_of(now[name].moved).items()
                if name in before and last is not before[name].state:
                    pending += len(rows_of(whole))
                if name not in held or dice.random() < 0.4:
                    held[name] = now[name].state
            before = now
    assert pending > 10


def rows_of(state: HostState | None) -> dict[bytes, tuple[bytes, str]]:
    """Values and origins of a state's endpoints."""
    if state is None:
        return {}
    table = state.tables["endpoints"]
    rows = zip(table.keys, table.values, table.origins.tolist(), strict=True)
    return {key.tobytes(): (value.tobytes(), state.origins[at]) for key, value, at in rows}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("thousand", range(3))
def test_thousands_of_random_histories_mean_what_their_commits_mean(thousand: int) -> None:
    for seed in range(1000 * (thousand + 1), 1000 * (thousand + 2)):
        walk(seed, 12)


def test_endpoint_that_moves_to_another_file_changes_nothing() -> None:
    files = History(1).files
    first = follow(snapshot("1", files), VALIDATORS)
    files["c.yaml"] = [files["a.yaml"].pop()]
    step = follow(snapshot("2", files), VALIDATORS, first.memory)
    assert step.delta is not None
    assert len(step.delta.old.endpoints) == len(step.delta.new.endpoints) == 0
