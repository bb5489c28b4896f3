"""The last good state on disk, through serial form and crashes."""

import json
from pathlib import Path

import pytest

from reconciler.agent.store import LastGood, Store, StoreError, replace
from tests.agent.fake import Machine


@pytest.fixture
def good(machine: Machine) -> LastGood:
    machine.round()
    found = machine.store.load()
    assert found is not None
    return found


def test_what_was_saved_is_loaded(tmp_path: Path, good: LastGood) -> None:
    store = Store(tmp_path / "other")
    assert store.load() is None
    store.save(good)
    assert store.load() == good


def test_bodies_that_are_no_longer_named_are_removed(
    tmp_path: Path, machine: Machine, good: LastGood
) -> None:
    machine.network.endpoints(3)
    machine.network.push()
    machine.round()
    found = machine.store.load()
    assert found is not None
    assert found != good
    Store(tmp_path / "state").save(found)  # whole, as by an agent that has just begun
    assert len(list((tmp_path / "state").iterdir())) == 3
    assert machine.store.load() == found


def test_a_crash_before_the_head_is_replaced_leaves_the_old_state(
    tmp_path: Path, good: LastGood
) -> None:
    folder = tmp_path / "state"
    (folder / "state-0123456789abcdef.json").write_text("{")
    (folder / "last-good.json.new").write_text("{")
    assert Store(folder).load() == good


@pytest.mark.parametrize("name", ["last-good.json", "state-*.json", "names-*.json"])
def test_a_damaged_file_is_named(tmp_path: Path, good: LastGood, name: str) -> None:
    (damaged,) = (tmp_path / "state").glob(name)
    damaged.write_bytes(b"\0" * 100)
    with pytest.raises(StoreError, match=r"last-good\.json"):
        Store(tmp_path / "state").load()


def test_a_file_that_lacks_something_is_named(tmp_path: Path, good: LastGood) -> None:
    head = tmp_path / "state" / "last-good.json"
    found = json.loads(head.read_bytes())
    del found["applied"]
    head.write_text(json.dumps(found))
    with pytest.raises(StoreError, match=r"last-good\.json"):
        Store(tmp_path / "state").load()


def test_a_force_is_remembered_until_it_is_carried_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    assert store.forced() == ""
    store.force("0123")
    assert Store(tmp_path / "state").forced() == "0123"
    store.unforce()
    store.unforce()
    assert store.forced() == ""


def test_removing_forgets_everything_but_strangers_files(tmp_path: Path, good: LastGood) -> None:
    folder = tmp_path / "state"
    (folder / "copies").mkdir()
    (folder / "notes.txt").write_text("mine")
    Store(folder).remove()
    assert [each.name for each in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    Store(folder).remove()
    Store(folder).remove()
    assert not folder.exists()


def test_replacing_a_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    replace(tmp_path / "file", b"one")
    replace(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"two"
    assert len(list(tmp_path.iterdir())) == 1
