from pathlib import Path

import pytest

from reconciler.abi.generated import MAPS
from reconciler.datapath import libbpf
from reconciler.datapath.pins import NoBpffsError, Noted, Pinned, Pins, is_bpffs
from tests.datapath.place import BPFFS, Place


@pytest.fixture
def pins(place: Place) -> Pins:
    place.pins.prepare()
    return place.pins


@pytest.mark.parametrize("name", ["eth0", "eth0.100", "a%b", "100%2E", "tilde~", "x" * 15])
def test_any_interface_name_can_be_pinned_and_noted(pins: Pins, name: str) -> None:
    with libbpf.create_map(MAPS["hosts"], 4) as fd:
        pins.put(Pinned.MAP, name, fd)
        number = libbpf.map_info(fd).id
    assert pins.names(Pinned.MAP) == [name]
    found = pins.get(Pinned.MAP, name)
    assert found is not None
    assert libbpf.map_info(found).id == number
    pins.note(Noted.LINK, name, {"mode": "native"})
    assert pins.notes(Noted.LINK) == [name]
    assert pins.read_note(Noted.LINK, name) == {"mode": "native"}
    pins.remove(Pinned.MAP, name)
    pins.remove(Pinned.MAP, name)
    pins.forget(Noted.LINK, name)
    pins.forget(Noted.LINK, name)
    assert pins.names(Pinned.MAP) == pins.notes(Noted.LINK) == []
    assert pins.get(Pinned.MAP, name) is None


def test_pinning_again_replaces(pins: Pins) -> None:
    ids = []
    for _ in range(2):
        with libbpf.create_map(MAPS["hosts"], 4) as fd:
            pins.put(Pinned.MAP, "hosts", fd)
            ids.append(libbpf.map_info(fd).id)
    found = pins.get(Pinned.MAP, "hosts")
    assert found is not None
    assert libbpf.map_info(found).id == ids[1] != ids[0]


def test_what_a_crash_left_half_done_is_not_seen_and_is_no_obstacle(pins: Pins) -> None:
    with libbpf.create_map(MAPS["hosts"], 4) as fd:
        libbpf.pin(fd, pins.root / "set" / "maps" / "hosts~")
        (pins.root / "notes" / "link:eth0~").symlink_to("{}")
        assert pins.names(Pinned.MAP) == []
        assert pins.notes(Noted.LINK) == []
        pins.put(Pinned.MAP, "hosts", fd)
        pins.note(Noted.LINK, "eth0", {"a": 1})
    assert pins.names(Pinned.MAP) == ["hosts"]
    assert pins.notes(Noted.LINK) == ["eth0"]


@pytest.mark.parametrize("text", ["", "not json", "[1]", '"text"', "{"])
def test_a_note_that_is_none_of_ours_is_no_note(pins: Pins, text: str) -> None:
    (pins.root / "notes" / "link:eth0").symlink_to(text or " ")
    assert pins.read_note(Noted.LINK, "eth0") is None


def test_reading_where_nothing_was_pinned_finds_nothing(place: Place) -> None:
    assert place.pins.names(Pinned.LINK) == place.pins.notes(Noted.LINK) == []
    assert place.pins.get(Pinned.MAP, "hosts") is None
    assert place.pins.read_note(Noted.LINK, "eth0") is None
    assert list(place.bpffs.iterdir()) == []


def test_hosts_of_one_kernel_do_not_see_each_other(place: Place) -> None:
    one, other = Pins(place.bpffs, "one"), Pins(place.bpffs, "other")
    for each in (one, other):
        each.prepare()
        each.note(Noted.LINK, "eth0", {"of": str(each.root)})
    one.remove_all()
    one.remove_all()
    assert not one.root.exists()
    assert other.read_note(Noted.LINK, "eth0") == {"of": str(other.root)}
    other.remove_all()
    assert list(place.bpffs.iterdir()) == []


def test_a_bpf_file_system_is_told_from_others(tmp_path: Path) -> None:
    assert is_bpffs(BPFFS)
    assert not is_bpffs(tmp_path)
    assert not is_bpffs(Path("/"))
    with pytest.raises(NoBpffsError, match=f"mount -t bpf bpf {tmp_path}"):
        Pins(tmp_path, "host").prepare()
