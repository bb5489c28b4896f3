"""Rows that are replaced while a program reads them are told by their check column."""

from typing import Any

import numpy as np
import pytest
from scapy.packet import Packet

from reconciler.abi.generated import MAPS, Reason, Stage
from tests.bpf.frames import (
    BLUE,
    DB,
    ME,
    MY_MAC,
    OTHER,
    PEER,
    PEER_MAC,
    RED,
    WEB,
    B,
    C,
    ping,
    tunnel,
)
from tests.bpf.harness import INTERFACE, SELF, Outcome, World, address

TORN = {"check": 1}


@pytest.fixture
def sender(world: World) -> World:
    world.interface(BLUE, WEB)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    return world


def out(world: World, frame: Packet) -> Outcome:
    return world.bench.run("access", bytes(frame))


def arrive(world: World, frame: Packet) -> Outcome:
    return world.bench.run("transit", bytes(frame))


def test_a_torn_source_row_drops(sender: World) -> None:
    sender.local(BLUE, ME, MY_MAC, network=WEB, **TORN)
    assert out(sender, ping(ME, PEER)).reason == Reason.DROP_TORN


def test_a_torn_destination_row_drops(sender: World) -> None:
    sender.local(BLUE, PEER, PEER_MAC, **TORN)
    assert out(sender, ping(ME, PEER)).reason == Reason.DROP_TORN
    assert arrive(sender, tunnel(ping(OTHER, PEER))).reason == Reason.DROP_TORN


def test_a_torn_set_of_bouncers_drops(sender: World) -> None:
    sender.bouncers(BLUE, WEB, B, **TORN)
    assert out(sender, ping(ME, PEER)).reason == Reason.DROP_TORN


def test_a_torn_set_of_the_destinations_bouncers_drops(sender: World) -> None:
    sender.network(BLUE, "10.0.1.0/24", DB).bouncers(BLUE, DB, C, **TORN)
    frame = tunnel(ping(ME, OTHER), Stage.DIVIDER, sender=B)
    assert out(sender, ping(ME, OTHER)).reason == Reason.DROP_TORN
    assert arrive(sender, frame).reason == Reason.DROP_TORN


def test_a_torn_set_of_dividers_drops(sender: World) -> None:
    sender.bouncers(BLUE, WEB, SELF).dividers(BLUE, B, **TORN)
    frame = tunnel(ping(ME, OTHER), Stage.BOUNCER, sender=B)
    assert out(sender, ping(ME, OTHER)).reason == Reason.DROP_TORN
    assert arrive(sender, frame).reason == Reason.DROP_TORN


def test_a_row_of_another_key_is_not_believed(world: World) -> None:
    theirs = {"vni": RED, "address": address(ME)}
    local = {"flags": 1, "ifindex": INTERFACE, "mac": np.frombuffer(b"\2\0\0\0\0\1", np.uint8)}
    _, values = world.row("endpoints", theirs, local)
    cells = {name: values[name][0] for name in values.dtype.names}
    world.write("endpoints", {"vni": BLUE, "address": address(ME)}, cells)
    assert arrive(world, tunnel(ping(PEER, ME))).reason == Reason.DROP_TORN


@pytest.mark.parametrize("octet", range(MAPS["endpoints"].value.dtype.itemsize))
def test_any_changed_octet_of_an_endpoint_is_noticed(world: World, octet: int) -> None:
    key = {"vni": BLUE, "address": address(ME)}
    cells = {"flags": 1, "ifindex": 7, "identity": 9, "network": 3, "counter": 5}
    write_damaged(world, "endpoints", key, cells, octet)
    assert arrive(world, tunnel(ping(PEER, ME))).reason == Reason.DROP_TORN


@pytest.mark.parametrize("octet", range(MAPS["dividers"].value.dtype.itemsize))
def test_any_changed_octet_of_a_set_is_noticed(world: World, octet: int) -> None:
    cells = {"count": 2, "host": [7, 8, 0, 0, 0, 0, 0, 0], "host_slot": [1, 2, 0, 0, 0, 0, 0, 0]}
    frame = tunnel(ping(ME, OTHER), Stage.BOUNCER, sender=B)
    write_damaged(world, "dividers", {"vni": BLUE}, cells, octet)
    assert arrive(world, frame).reason == Reason.DROP_TORN


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_any_content_are_read_as_they_were_written(world: World, seed: int) -> None:
    random = np.random.default_rng(seed)
    vni = int(random.integers(1 << 24))
    hosts = [int(each) for each in random.integers(1 << 32, size=8)]
    slots = [int(each) for each in random.integers(1000, 9000, size=8)]
    world.write("dividers", {"vni": vni}, {"count": 8, "host": hosts, "host_slot": slots})
    frame = tunnel(ping(ME, OTHER), Stage.BOUNCER, sender=B, vni=vni)
    assert arrive(world, frame).reason == Reason.DROP_NO_NEXT_HOP, "chosen, though nowhere"
    mac = bytes(random.integers(256, size=6, dtype=np.uint8))
    cells = {
        "host": hosts[0],
        "mac": np.frombuffer(mac, np.uint8),
        "host_slot": slots[0],
        "ifindex": int(random.integers(1, 1 << 31)),
        "identity": hosts[1],
        "network": hosts[2],
        "counter": slots[1],
        "flags": 1,
    }
    world.write("endpoints", {"vni": vni, "address": address(ME)}, cells)
    got = arrive(world, tunnel(ping(PEER, ME), vni=vni))
    assert (got.reason, got.frame[:6]) == (Reason.DELIVERED, mac)


def write_damaged(
    world: World, name: str, key: dict[str, Any], cells: dict[str, Any], octet: int
) -> None:
    """Write a row with one octet changed after its check was computed."""
    _, values = world.row(name, key, cells)
    raw = values.view(np.uint8)
    raw[octet] ^= 0x40
    world.write(name, key, {column: values[column][0] for column in values.dtype.names})
