import os
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from reconciler.compile.state import Interface, InterfaceKind, Route
from reconciler.datapath.devices import Devices, ForeignInterfaceError, NotReadyError
from reconciler.datapath.netlink import NetDevice, net_devices
from reconciler.datapath.pins import Noted
from reconciler.datapath.rtnetlink import Socket
from tests.datapath.place import NETNS, Place, command


@pytest.fixture
def devices(place: Place) -> Devices:
    place.pins.prepare()
    return Devices(place.host, place.pins, NETNS, create_netns=False)


def found() -> dict[str, NetDevice]:
    with Socket() as route:
        return net_devices(route)


def read(devices: Devices) -> tuple[Interface, ...]:
    return devices.read(found())


def wanted(place: Place, name: str = "rvweb1", netns: str = "web-1") -> Interface:
    return Interface(
        name,
        f"shop/{netns}",
        InterfaceKind.VETH,
        vni=7,
        network=99,
        netns=place.name(netns),
        peer="eth0",
        mac="02:00:00:00:01:01",
        mtu=1438,
        addresses=("10.1.0.11/24", "2001:db8:1::11/64"),
        routes=(Route("default", "10.1.0.1"), Route("default", "2001:db8:1::1")),
    )


def test_a_veth_pair_is_read_back_as_it_was_wanted(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    devices.ensure(wanted(place))
    assert read(devices) == (wanted(place),)


def test_the_inner_end_is_ready_for_frames_that_xdp_redirects(
    place: Place, devices: Devices
) -> None:
    place.netns("web-1")
    devices.ensure(wanted(place))
    features = place.features("web-1", "eth0")
    assert features["generic-receive-offload"]
    assert not features["tx-checksumming"]
    assert not features["tcp-segmentation-offload"]
    assert not features["tx-sctp-segmentation"]


def test_what_tc_sends_on_may_be_left_to_a_card_and_tunnels_may_not(
    place: Place, devices: Devices
) -> None:
    place.netns("web-1")
    left = replace(wanted(place), offloads=True)
    devices.ensure(left)
    assert read(devices) == (left,)
    features = place.features("web-1", "eth0")
    assert features["tx-checksum-ip-generic"]
    assert features["tx-tcp-segmentation"]
    assert features["tx-udp-segmentation"]
    assert not features["tx-udp_tnl-segmentation"]
    assert not features["tx-sctp-segmentation"]
    offload(place, "tso", "off")
    assert read(devices) != (left,)
    devices.ensure(left)
    assert read(devices) == (left,)


def test_the_inner_end_has_its_address_at_once(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    devices.ensure(wanted(place))
    shown = place.ip("web-1", "-6", "addr", "show", "dev", "eth0", "scope", "global")
    assert "2001:db8:1::11/64" in shown
    assert "tentative" not in shown


def test_the_outer_end_is_marked_and_silent(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    devices.ensure(wanted(place))
    assert found()["rvweb1"].alias == f"reconciler:{place.host}:shop/web-1"
    assert place.ip("host", "-6", "addr", "show", "dev", "rvweb1") == ""


@contextmanager
def monitored(place: Place, short: str) -> Iterator[Callable[[float], list[str]]]:
    """A function: what changed in a namespace, once it was quiet for so many seconds."""
    words = ["ip", "-netns", f"{place.tag}.{short}", "monitor", "link", "address", "route"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as monitor:
        assert monitor.stdout is not None
        stream = monitor.stdout.fileno()

        def changes(seconds: float) -> list[str]:
            said = b""
            while select.select([stream], [], [], seconds)[0]:
                said += os.read(stream, 1 << 16)
            return said.decode().splitlines()

        try:
            yield changes
        finally:
            monitor.terminate()


def test_ensuring_twice_changes_nothing(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    with monitored(place, "web-1") as inside, monitored(place, "host") as outside:
        devices.ensure(wanted(place))
        assert inside(2.5)  # the kernel is slow with its own link-local address
        assert outside(0.5)
        devices.ensure(wanted(place))
        assert inside(0.5) + outside(0.5) == []


DAMAGES = {
    "mac": lambda place: place.ip("web-1", "link", "set", "eth0", "address", "02:00:00:00:09:09"),
    "mtu": lambda place: place.ip("web-1", "link", "set", "eth0", "mtu", "1400"),
    "outer mtu": lambda place: place.ip("host", "link", "set", "rvweb1", "mtu", "1400"),
    "address gone": lambda place: place.ip("web-1", "addr", "del", "10.1.0.11/24", "dev", "eth0"),
    "other prefix": lambda place: place.ip(
        "web-1", "addr", "replace", "10.1.0.11/16", "dev", "eth0"
    ),
    "address added": lambda place: place.ip("web-1", "addr", "add", "10.1.0.99/24", "dev", "eth0"),
    "six gone": lambda place: place.ip("web-1", "addr", "del", "2001:db8:1::11/64", "dev", "eth0"),
    "route gone": lambda place: place.ip("web-1", "route", "del", "default"),
    "six route gone": lambda place: place.ip("web-1", "-6", "route", "del", "default"),
    "route added": lambda place: place.ip("web-1", "route", "add", "10.9.0.0/16", "dev", "eth0"),
    "down": lambda place: place.ip("host", "link", "set", "rvweb1", "down"),
    "peer down": lambda place: place.ip("web-1", "link", "set", "eth0", "down"),
    "alias": lambda place: place.ip(
        "host", "link", "set", "rvweb1", "alias", f"reconciler:{place.host}:shop/other"
    ),
    "no alias": lambda place: place.ip("host", "link", "set", "rvweb1", "alias", ""),
    "link-local": lambda place: place.ip("host", "link", "set", "rvweb1", "addrgenmode", "eui64"),
    "checksums": lambda place: offload(place, "tx", "on"),
    "gro": lambda place: offload(place, "gro", "off"),
    "renamed": lambda place: (
        place.ip("web-1", "link", "set", "eth0", "down"),
        place.ip("web-1", "link", "set", "eth0", "name", "eth7"),
    ),
    "moved": lambda place: (
        place.netns("elsewhere"),
        place.ip("web-1", "link", "set", "eth0", "netns", f"{place.tag}.elsewhere"),
    ),
    "deleted": lambda place: place.ip("host", "link", "del", "rvweb1"),
    "note": lambda place: place.pins.forget(Noted.INTERFACE, "rvweb1"),
}


def offload(place: Place, what: str, value: str) -> None:
    command("nsenter", f"--net={NETNS}/{place.tag}.web-1", "ethtool", "-K", "eth0", what, value)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_what_differs_is_seen_and_repaired(
    place: Place, devices: Devices, damage: Callable[[Place], object]
) -> None:
    place.netns("web-1")
    devices.ensure(wanted(place))
    damage(place)
    assert read(devices) != (wanted(place),)
    devices.ensure(wanted(place))
    assert read(devices) == (wanted(place),)


@pytest.mark.parametrize(
    "change",
    [
        {"mac": "02:00:00:00:02:02"},
        {"mtu": 1300},
        {"addresses": ("10.1.0.12/24",), "routes": (Route("default", "10.1.0.1"),)},
        {"addresses": ("10.1.0.11/32",), "routes": (Route("default", "10.1.0.1"),)},
        {"addresses": ("2001:db8:1::11/64",), "routes": ()},
        {"routes": (Route("10.0.0.0/8", "10.1.0.1"), Route("10.77.0.0/16", ""))},
        {"peer": "eth1"},
        {"vni": 8, "network": 100},
        {"endpoint": "shop/web-2"},
        {"offloads": True},
    ],
    ids=",".join,
)
def test_a_change_is_carried_out_and_undone(
    place: Place, devices: Devices, change: dict[str, object]
) -> None:
    place.netns("web-1")
    first, second = wanted(place), replace(wanted(place), **change)  # type: ignore[arg-type]
    for each in (first, second, first):
        devices.ensure(each)
        assert read(devices) == (each,)


def test_an_interface_moves_to_another_namespace(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    place.netns("web-9")
    devices.ensure(wanted(place))
    moved = replace(wanted(place), netns=place.name("web-9"))
    devices.ensure(moved)
    assert read(devices) == (moved,)
    assert "eth0" not in place.ip("web-1", "link")


def test_an_absolute_path_names_a_namespace(place: Place, devices: Devices) -> None:
    path = place.netns("web-1")
    interface = replace(wanted(place), netns=str(path))
    devices.ensure(interface)
    assert read(devices) == (interface,)


def test_the_host_itself_can_hold_the_inner_end(place: Place, devices: Devices) -> None:
    interface = replace(
        wanted(place), netns="", peer="rpweb1", routes=(Route("10.1.0.0/16", "10.1.0.1"),)
    )
    devices.ensure(interface)
    assert read(devices) == (interface,)
    assert set(found()) == {"lo", "rvweb1", "rpweb1"}


def test_a_missing_namespace_is_waited_for(place: Place, devices: Devices) -> None:
    interface = wanted(place)
    reason = f"network namespace {interface.netns}"
    assert devices.unready([interface], found()) == {"rvweb1": reason}
    with pytest.raises(NotReadyError, match=reason):
        devices.ensure(interface)
    assert read(devices) == ()
    place.netns("web-1")
    assert devices.unready([interface], found()) == {}
    devices.ensure(interface)
    assert read(devices) == (interface,)


def test_a_bare_file_is_no_namespace(place: Place, devices: Devices) -> None:
    path = NETNS / wanted(place).netns
    path.touch()
    try:
        assert devices.unready([wanted(place)], found())
    finally:
        path.unlink()


def test_a_name_that_is_taken_inside_is_waited_for(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    place.ip("web-1", "link", "add", "eth0", "type", "bridge")
    (reason,) = devices.unready([wanted(place)], found()).values()
    assert reason.startswith("the name eth0 in network namespace")
    with pytest.raises(NotReadyError, match="eth0"):
        devices.ensure(wanted(place))
    assert set(found()) == {"lo"}
    place.ip("web-1", "link", "del", "eth0")
    devices.ensure(wanted(place))
    assert read(devices) == (wanted(place),)


def test_namespaces_are_made_for_a_lab(place: Place) -> None:
    place.pins.prepare()
    devices = Devices(place.host, place.pins, NETNS, create_netns=True)
    assert devices.unready([wanted(place)], found()) == {}
    devices.ensure(wanted(place))
    assert read(devices) == (wanted(place),)
    assert f"alias reconciler:{place.host}:shop/web-1" in place.ip("web-1", "link", "show", "lo")


def test_a_stranger_of_the_same_name_is_not_touched(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    place.ip("host", "link", "add", "rvweb1", "type", "bridge")
    before = found()["rvweb1"]
    with pytest.raises(ForeignInterfaceError, match="rvweb1 exists and is not ours"):
        devices.ensure(wanted(place))
    devices.remove("rvweb1")
    assert found()["rvweb1"] == before
    assert read(devices) == ()


def test_only_ours_are_removed(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    place.ip("host", "link", "add", "rvx", "type", "veth", "peer", "name", "rvy")
    other = Devices(f"{place.host}-2", place.pins, NETNS, create_netns=False)
    devices.ensure(wanted(place))
    other.remove_all()  # the notes are in one folder here, but the alias names the host
    devices.remove_all()
    assert set(found()) == {"lo", "rvx", "rvy"}
    devices.remove("rvweb1")


def test_a_pair_that_was_cut_short_is_finished(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    devices._write_note(wanted(place))
    place.ip(*"host link add rvweb1 type veth peer name eth0 netns".split(), f"{place.tag}.web-1")
    assert [each.name for each in read(devices)] == ["rvweb1"]
    devices.ensure(wanted(place))
    assert read(devices) == (wanted(place),)


def test_a_note_alone_makes_no_stranger_ours(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    devices.ensure(wanted(place))
    place.ip("host", "link", "del", "rvweb1")
    devices.tidy(found())
    place.ip(*"host link add rvweb1 type veth peer name other".split())
    assert read(devices) == ()


def tap(name: str = "tap0") -> Interface:
    return Interface(name, "shop/vm-1", InterfaceKind.TAP, vni=7, network=99, mtu=1438)


@pytest.mark.usefixtures("place")
def test_a_tap_is_read_back_as_it_was_wanted(devices: Devices) -> None:
    devices.ensure(tap())
    assert read(devices) == (tap(),)
    before = found()["tap0"]
    devices.ensure(tap())
    assert found()["tap0"] == before
    devices.remove("tap0")
    assert "tap0" not in found()
    assert read(devices) == ()


def test_a_damaged_tap_is_told_and_repaired(place: Place, devices: Devices) -> None:
    devices.ensure(tap())
    place.ip("host", "link", "set", "tap0", "down", "mtu", "1400", "alias", "")
    assert read(devices) == (replace(tap(), mtu=1400, faults=("alias is not ours", "down")),)
    devices.ensure(tap())
    assert read(devices) == (tap(),)


def test_a_tap_of_somebody_else_is_left_alone(place: Place, devices: Devices) -> None:
    place.ip(*"host tuntap add dev tap0 mode tap".split())
    with pytest.raises(ForeignInterfaceError, match="tap0 exists and is not ours"):
        devices.ensure(tap())
    assert read(devices) == ()


def test_a_pair_becomes_a_tap_and_a_tap_a_pair(place: Place, devices: Devices) -> None:
    place.netns("web-1")
    pair = wanted(place)
    for each in (pair, replace(tap(pair.name), endpoint=pair.endpoint), pair):
        devices.ensure(each)
        assert read(devices) == (each,)


def test_an_existing_interface_is_only_read(place: Place, devices: Devices) -> None:
    interface = Interface("tap0", "shop/vm-1", InterfaceKind.EXISTING, 7, 99)
    with pytest.raises(NotReadyError, match="tap0 does not exist"):
        devices.ensure(interface)
    place.ip("host", "link", "add", "tap0", "type", "bridge")
    before = found()["tap0"]
    assert read(devices) == ()
    devices.ensure(interface)
    assert read(devices) == (interface,)
    devices.remove("tap0")
    assert read(devices) == ()
    assert found()["tap0"] == before
