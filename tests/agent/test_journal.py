"""What a last good state changed, appended line by line, leads to that state again."""

from itertools import pairwise
from pathlib import Path

import pytest

from reconciler.agent import journal
from reconciler.agent.good import LastGood
from reconciler.agent.store import Store, StoreError
from reconciler.compile.followed import Followed, follow_host
from reconciler.compile.linger import keep, withdrawn
from reconciler.compile.state import HostName
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import Memory, follow
from reconciler.source.package import schemas
from tests.compile.test_update import exact
from tests.model.histories import History

VALIDATORS = compile_schemas(schemas())


def goods(seed: int, commits: int) -> list[LastGood]:
    """The states of a host, and the names, along a random history."""
    memory: Memory | None = None
    followed: Followed | None = None
    found: list[LastGood] = []
    for number, each in enumerate(History(seed).snapshots(commits)):
        step = follow(each, VALIDATORS, memory)
        if step.memory is not None:
            followed = follow_host(step, HostName("h1"), followed)
            memory = step.memory
            kept = found[-1].kept if found else ()
            if found:
                kept = keep(
                    kept,
                    withdrawn(found[-1].state, followed.state),
                    followed.state,
                    10.0 * number,
                    20.0,
                )
            names, at = memory.names, float(number)
            found.append(LastGood(each.commit, followed.state, names, at, kept))
    return found


def same(one: LastGood, other: LastGood) -> bool:
    names = [
        {kind: set(each) for kind, each in (good.names or {}).items()} for good in (one, other)
    ]
    return (
        exact(one.state) == exact(other.state)
        and (one.revision, one.applied) == (other.revision, other.applied)
        and names[0] == names[1]
        and one.state.vpcs == other.state.vpcs
        and [(each.until, exact(each.rows)) for each in one.kept]
        == [(each.until, exact(each.rows)) for each in other.kept]
    )


@pytest.mark.parametrize("seed", range(12))
def test_random_history_noted_change_by_change_is_read_back_as_it_was(seed: int) -> None:
    states, lines = goods(seed, 12), b""
    for before, good in pairwise(states):
        line = journal.line(before, good)
        assert line is not None
        lines += line
        assert same(journal.replayed(states[0], lines), good)


def test_line_that_a_crash_cut_short_counts_as_never_written() -> None:
    first, second, third = goods(6, 12)[:3]
    one, other = journal.line(first, second), journal.line(second, third)
    assert one is not None
    assert other is not None
    for length in (0, 5, len(other) - 1):
        assert same(journal.replayed(first, one + other[:length]), second)


def test_journal_that_is_damaged_before_its_end_is_reported() -> None:
    first, second, third = goods(6, 12)[:3]
    one, other = journal.line(first, second), journal.line(second, third)
    assert one is not None
    assert other is not None
    with pytest.raises(ValueError, match="line 1"):
        journal.replayed(first, b"#" + one[1:] + other)


def large(tmp_path: Path, states: list[LastGood]) -> Store:
    """A store whose journal has room."""
    store = Store(tmp_path)
    store.save(states[0])
    store._room = 1 << 20
    return store


def test_small_change_of_a_large_state_replaces_no_file(tmp_path: Path) -> None:
    states = goods(6, 12)
    store = large(tmp_path, states)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    for good in states[1:]:
        store.save(good)
        loaded = Store(tmp_path).load()
        assert loaded is not None
        assert same(loaded, good)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1


def test_full_journal_is_replaced_by_a_whole_state(tmp_path: Path) -> None:
    states = goods(6, 12)
    store = large(tmp_path, states)
    store.save(states[1])
    store._room = 0
    store.save(states[2])
    assert len(list(tmp_path.glob("changes-*"))) == 0
    loaded = Store(tmp_path).load()
    assert loaded is not None
    assert same(loaded, states[2])


def test_damaged_journal_is_named_like_any_damaged_file(tmp_path: Path) -> None:
    states = goods(6, 12)
    store = large(tmp_path, states)
    for good in states[1:]:
        store.save(good)
    (path,) = tmp_path.glob("changes-*")
    path.write_bytes(b"#" + path.read_bytes()[1:])
    with pytest.raises(StoreError, match=r"last-good\.json"):
        Store(tmp_path).load()
