"""The prober on real sockets and a real map: what leaves, what is shared, what is survived."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address

import numpy as np
import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from reconciler.abi.generated import MAPS, Wire
from reconciler.datapath import elements, libbpf
from reconciler.datapath.errors import TransientError
from reconciler.datapath.pins import Pinned
from reconciler.datapath.prober import CLASS, KernelProber, payload
from tests.datapath.place import Place, command, entered

OWN = IPv4Address("192.0.2.1")
SPEC = MAPS["health"]


@pytest.fixture
def place() -> Iterator[Place]:
    """A host in a namespace of its own, with a cable whose other end is near0."""
    made = Place()
    try:
        with entered(made.netns("host")):
            command("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "near0")
            for each in ("eth0", "near0"):
                command("ip", "link", "set", each, "up")
            made.pins.prepare()
            with libbpf.create_map(SPEC) as fd:
                made.pins.put(Pinned.MAP, "health", fd)
            yield made
    finally:
        made.clear()


def addressed() -> None:
    """The host's address, and neighbours that need not be asked for."""
    command("ip", "addr", "add", f"{OWN}/24", "dev", "eth0")
    for last in range(2, 200):
        neighbour = ("192.0.2." + str(last), "lladdr", f"02:00:00:00:00:{last:02x}")
        command("ip", "neigh", "replace", *neighbour, "dev", "eth0")


def hosts(*last: int) -> np.ndarray:
    return np.array([int(IPv4Address(f"192.0.2.{each}")) for each in last], np.uint32)


def heard(listening: socket.socket) -> list[Ether]:
    """The probes that left."""
    found = []
    listening.settimeout(0.3)
    while True:
        try:
            frame = Ether(listening.recv(2048))
        except TimeoutError:
            return found
        if UDP in frame and frame[UDP].dport == Wire.PORT:
            found.append(frame)


def listener() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    made.bind(("near0", 0))
    return made


def test_a_probe_leaves_for_each_of_the_chosen(place: Place) -> None:
    addressed()
    prober = KernelProber(place.pins, OWN)
    prober.aim(hosts(5, 6, 7, 8))
    with listener() as listening:
        prober.send(np.array([0, 2, 3]))
        frames = heard(listening)
    prober.close()
    assert [each[IP].dst for each in frames] == ["192.0.2.5", "192.0.2.7", "192.0.2.8"]
    for each in frames:
        assert (each[IP].src, each[IP].tos) == (str(OWN), CLASS)
        assert bytes(each[GENEVE]) == payload()


def test_hundreds_leave_at_once_and_ports_take_turns(place: Place) -> None:
    addressed()
    prober = KernelProber(place.pins, OWN)
    prober.aim(hosts(*range(2, 200)))
    ports = set()
    for _ in range(4):
        with listener() as listening:
            prober.send(np.arange(198))
            frames = heard(listening)
        assert len(frames) == 198
        ports |= {each[UDP].sport for each in frames}
    prober.close()
    assert len(ports) == 4


def test_one_that_the_stack_refuses_does_not_keep_back_the_others(place: Place) -> None:
    addressed()
    prober = KernelProber(place.pins, OWN)
    no_route = np.array([int(IPv4Address("203.0.113.1"))], np.uint32)
    prober.aim(np.concatenate([no_route, hosts(5), no_route, hosts(6), no_route]))
    with listener() as listening:
        prober.send(np.arange(5))
        frames = heard(listening)
    prober.close()
    assert [each[IP].dst for each in frames] == ["192.0.2.5", "192.0.2.6"]


def test_an_address_that_comes_later_is_used_then(place: Place) -> None:
    prober = KernelProber(place.pins, OWN)
    prober.aim(hosts(5))
    prober.send(np.arange(1))
    addressed()
    with listener() as listening:
        prober.send(np.arange(1))
        frames = heard(listening)
    prober.close()
    assert len(frames) == 1


def test_what_it_writes_stands_in_the_map_and_the_other_way_round(place: Place) -> None:
    prober = KernelProber(place.pins, OWN)
    fd = place.pins.get(Pinned.MAP, "health")
    assert fd is not None
    prober.health["dead"][77] = 5
    raw = elements.lookup(fd, (77).to_bytes(4, "little"), 16)
    assert raw is not None
    assert np.frombuffer(raw, SPEC.value.dtype)["dead"] == 5
    row = np.zeros(1, SPEC.value.dtype)
    row["heard"] = 9
    elements.update(fd, (SPEC.capacity - 1).to_bytes(4, "little"), row.tobytes())
    assert prober.health["heard"][SPEC.capacity - 1] == 9
    prober.close()
    fd.close()


def test_a_map_that_is_not_there_yet_is_waited_for(place: Place) -> None:
    place.pins.remove(Pinned.MAP, "health")
    with pytest.raises(TransientError, match="health"):
        KernelProber(place.pins, OWN)


def test_it_notices_that_its_map_was_replaced_or_removed(place: Place) -> None:
    prober = KernelProber(place.pins, OWN)
    assert not prober.replaced()
    with libbpf.create_map(SPEC) as fd:
        place.pins.put(Pinned.MAP, "health", fd)
    assert prober.replaced()
    place.pins.remove(Pinned.MAP, "health")
    assert prober.replaced()
    prober.close()


def test_a_verdict_makes_remembered_decisions_stale(place: Place) -> None:
    prober = KernelProber(place.pins, OWN)
    prober.tell()  # nothing is remembered yet
    with libbpf.create_map(MAPS["generations"]) as fd:
        place.pins.put(Pinned.MAP, "generations", fd)
        before = elements.lookup(fd, bytes(4), 8)
        prober.tell()
        assert elements.lookup(fd, bytes(4), 8) != before
    prober.close()


def test_the_next_hop_of_the_doubted_is_asked_for_and_nobody_elses(place: Place) -> None:
    """Of what an operator says there is no doubt."""
    addressed()
    for last, state in ((5, "reachable"), (6, "stale"), (7, "permanent"), (8, "reachable")):
        neighbour = f"192.0.2.{last} lladdr 02:00:00:00:00:{last:02x} dev eth0 nud {state}"
        command("ip", "neigh", "replace", *neighbour.split())
    command("ip", "route", "add", "198.51.100.1", "via", "192.0.2.6")
    far = int(IPv4Address("198.51.100.1"))
    prober = KernelProber(place.pins, OWN)
    prober.aim(np.append(hosts(5, 7, 8), np.uint32(far)))
    with listener() as listening:
        prober.doubt(np.array([0, 1, 3]))
        listening.settimeout(0.3)
        asked = set()
        with suppress(TimeoutError):
            while True:
                frame = Ether(listening.recv(2048))
                if ARP in frame:
                    assert frame.dst == "ff:ff:ff:ff:ff:ff"
                    asked.add(frame[ARP].pdst)
    prober.close()
    assert asked == {"192.0.2.5", "192.0.2.6"}
    kept = command("ip", "neigh", "show", "192.0.2.7") + command("ip", "neigh", "show", "192.0.2.8")
    assert "PERMANENT" in kept
    assert "REACHABLE" in kept
