"""Links of tc: pinned, switched in one step, read back, and gone when they are taken off."""

from collections.abc import Iterator

import pytest

from reconciler.compile.state import AttachMode, Link, Program
from reconciler.datapath import libbpf
from reconciler.datapath import rtnetlink as rt
from reconciler.datapath.links import Links
from reconciler.datapath.netlink import NetDevice, net_devices
from reconciler.datapath.pins import Pinned
from tests.bpf.harness import Bench
from tests.datapath.place import Place, entered

WANTED = Link("rv0", "access_tc", AttachMode.TC)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    try:
        made.pins.prepare()
        with entered(made.netns("host")):
            made.ip("host", *"link add rv0 type veth peer name eth0".split())
            yield made
    finally:
        made.clear()


@pytest.fixture
def releases() -> Iterator[tuple[Bench, Bench]]:
    """The same program loaded twice, as by two releases."""
    made = Bench(hook="tc"), Bench(hook="tc")
    yield made
    for each in made:
        each.close()


def devices() -> dict[str, NetDevice]:
    with rt.Socket() as route:
        return net_devices(route)


def attach(place: Place, release: Bench) -> libbpf.LinkInfo:
    links, program = Links(place.pins), release.programs["access"]
    links.keep_program(place.pins, Program("access_tc", b""), program)
    assert links.attach(WANTED, devices()) == ""
    with libbpf.get(place.pins.path(Pinned.LINK, "rv0")) as link:
        info = libbpf.link_info(link)
    assert info.program_id == libbpf.program_info(program).id
    return info


def test_a_link_is_read_back_and_taken_off(place: Place, releases: tuple[Bench, Bench]) -> None:
    assert attach(place, releases[0]).is_tc
    links = Links(place.pins)
    assert links.read(devices()) == (WANTED,)
    links.detach("rv0")
    assert links.read(devices()) == ()


def test_another_program_is_a_switch_of_the_same_link(
    place: Place, releases: tuple[Bench, Bench]
) -> None:
    before, after = (attach(place, each) for each in releases)
    assert (before.id, before.ifindex) == (after.id, after.ifindex)
    assert before.program_id != after.program_id


def test_a_link_goes_with_its_interface(place: Place, releases: tuple[Bench, Bench]) -> None:
    attach(place, releases[0])
    place.ip("host", "link", "del", "rv0")
    links = Links(place.pins)
    assert links.read(devices()) == ()
    links.tidy(devices())
    assert place.pins.names(Pinned.LINK) == []
