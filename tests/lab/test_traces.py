import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.datapath.devices import MARK
from reconciler.datapath.netlink import netns_exists
from reconciler.lab import netns, record, traces
from reconciler.lab.directory import Directory, Member
from reconciler.lab.lab import Lab
from reconciler.lab.layout import LabError
from reconciler.lab.places import DEFAULT, NETNS, Places
from reconciler.lab.record import Record
from tests.lab.conftest import NamespaceMaker

SHARED = Places(DEFAULT)  # whose namespaces are where everybody's are


def directory(*paths: Path, host: str = "edge-1") -> Directory:
    members = tuple(Member(f"shop/{path.name}", host, path, ()) for path in paths)
    hosts = (Member(host, host, NETNS / f"nobody:{host}", ()),)
    return Directory("0" * 40, NETNS / "nobody::underlay", hosts, members)


def test_a_namespace_that_an_agent_of_the_lab_made_is_the_labs(namespace: NamespaceMaker) -> None:
    ours, others, nobodys = namespace("ours"), namespace("others"), namespace("nobodys")
    netns.create(ours, f"{MARK}:edge-1:shop/web-1")
    netns.create(others, f"{MARK}:edge-10:shop/web-1")
    netns.create(nobodys, "")
    found = traces.own_namespaces(SHARED, ["edge-1"])
    assert ours in found
    assert others not in found
    assert nobodys not in found


def test_a_namespace_of_somebody_else_is_not_taken_over(namespace: NamespaceMaker) -> None:
    path = namespace("nobodys")
    netns.create(path, "")
    with pytest.raises(LabError, match=r"exists and is not this lab's; remove it .* or .* --name"):
        traces.refuse_foreign(SHARED, directory(path), {"edge-1"})


def test_a_namespace_that_is_the_labs_own_is_used_again(namespace: NamespaceMaker) -> None:
    path = namespace("ours")
    netns.create(path, f"{MARK}:edge-1:shop/web-1")
    traces.refuse_foreign(SHARED, directory(path), {"edge-1"})


def test_pins_of_a_host_that_is_not_the_labs_are_refused() -> None:
    host = f"t-{secrets.token_hex(4)}"
    pins = SHARED.pins(host)
    pins.mkdir(parents=True)
    try:
        with pytest.raises(LabError, match=f"`reconciler host remove --host {host}`"):
            traces.refuse_foreign(SHARED, directory(host=host), set())
        traces.refuse_foreign(SHARED, directory(host=host), {host})
    finally:
        pins.rmdir()
        traces.remove_if_empty(pins.parent)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab with a name that nobody else uses."""
    made = Lab(f"t{secrets.token_hex(4)}")
    yield made
    made.down()


def test_down_removes_what_a_killed_up_left(lab: Lab) -> None:
    """All is recorded before it is made; of this lab a host was made, and not its agent."""
    places = lab.places
    for folder in (places.run, places.netns, places.bpffs, places.pins("edge-1")):
        folder.mkdir(parents=True, exist_ok=True)
    Record("/nowhere", "main", hosts=("edge-1", "edge-2")).save(places)
    netns.create(places.host_netns("edge-1"), places.mark)
    netns.create(places.netns / "shop.web-1", f"{MARK}:edge-1:shop/web-1")
    assert lab.down()
    assert not places.run.exists()
    assert not places.bpffs.exists()
    assert not netns_exists(places.host_netns("edge-1"))
    assert not lab.down()


def test_two_commands_do_not_work_on_one_lab(lab: Lab) -> None:
    with record.locked(lab.places), pytest.raises(LabError, match="another command is at work"):
        lab.down()


@pytest.mark.parametrize("name", ["", "Lab", "a" * 13, "a/b", "-a", "a.b"])
def test_a_name_that_cannot_be_a_folder_or_fit_a_socket_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="at most 12"):
        Places(name)


def test_the_socket_of_the_longest_names_fits() -> None:
    socket = Places("a" * 12).host_run("h" * 63) / "agent.sock"
    assert len(str(socket).encode()) < 108  # sun_path, unix(7)
