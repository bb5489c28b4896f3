"""What a program decided about a flow is remembered while it holds, and by nobody else's packets.

A row that is written without a word about it shows whether a decision is a remembered one.
"""

import os
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv6Address

import numpy as np
import pytest
from numpy.typing import NDArray
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Reason, Stage
from reconciler.compile.check import multipliers
from reconciler.datapath import elements
from reconciler.datapath.objects import flow_bits
from tests.bpf.frames import BLUE, DB, ME, ME6, MY_MAC, PEER, PEER_MAC, WEB, B, C, D, tunnel
from tests.bpf.harness import INTERFACE, ROUTER, Bench, Outcome, World, address, mac

FLOW_BITS, FLOW_REACH = 14, 8  # of a CPU among few; bpf/flow.h
SILENCE = 10  # seconds; with any HZ a decision ends within three


@pytest.fixture(autouse=True)
def one_processor() -> Iterator[None]:
    """Decisions are remembered by each processor for itself."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def sender(world: World) -> World:
    world.interface(BLUE, WEB)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    return world.bouncers(BLUE, WEB, B)


def packet(destination: str = PEER, **header: object) -> Packet:
    head = Ether(src=MY_MAC, dst=ROUTER) / IP(src=ME, dst=destination, **header)
    return head / UDP(sport=1024, dport=53) / Raw(b"question")


def send(world: World, frame: Packet) -> Outcome:
    return world.bench.run("access", bytes(frame))


def receive(world: World, frame: Packet) -> Outcome:
    return world.bench.run("transit", bytes(frame))


def in_silence(world: World, name: str, key: dict[str, object]) -> None:
    """Delete a row without saying so."""
    keys, _ = world.row(name, key, {})
    elements.delete(world.bench.maps[name], keys.tobytes())


def forget_endpoint(world: World, where: str) -> None:
    in_silence(world, "endpoints", {"vni": BLUE, "address": address(where)})


@pytest.mark.parametrize("processor", sorted(os.sched_getaffinity(0)))
def test_a_flow_is_decided_about_once(sender: World, processor: int) -> None:
    os.sched_setaffinity(0, {processor})
    sender.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    assert send(sender, packet()).reason == Reason.DELIVERED
    forget_endpoint(sender, PEER)
    assert send(sender, packet()).reason == Reason.DELIVERED


def packet6(destination: str) -> Packet:
    head = Ether(src=MY_MAC, dst=ROUTER) / IPv6(src=ME6, dst=destination)
    return head / UDP(sport=1024, dport=53) / Raw(b"question")


def places(frames: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """flow_place() of bpf/flow.h, of the seven words of each key."""
    factors = multipliers(8)
    total = (frames * factors[:7]).sum(axis=1, dtype=np.uint64)
    return ((total ^ total >> np.uint64(32)) * factors[7]) >> np.uint64(64 - FLOW_BITS)


def namesakes(count: int) -> list[str]:
    """IPv6 addresses of which flows from here take the same line, and differ in the next alone."""
    prefixes = np.arange(1 << 20, dtype=np.uint64)
    words = np.zeros((len(prefixes), 7), np.uint64)
    source, target = (
        np.frombuffer(IPv6Address(each).packed, "<u4") for each in (ME6, "2001:db8::9")
    )
    words[:, 0] = int(source[3]) | int(target[3]) << 32
    words[:, 1] = int.from_bytes(struct.pack(">HH", 1024, 53), "little") | INTERFACE << 32
    words[:, 2] = int.from_bytes(mac(MY_MAC), "little")
    words[:, 3] = 17 << 16 | 1 << 24
    words[:, 4] = int(source[0]) | int(source[1]) << 32
    words[:, 5] = int(source[2]) | prefixes.astype(">u4").view("<u4").astype(
        np.uint64
    ) << np.uint64(32)
    words[:, 6] = int(target[0]) | int(target[1]) << 32
    found = places(words)
    same = prefixes[found >> np.uint64(1) == found[0] >> np.uint64(1)]
    return [str(IPv6Address((0x20010DB8 << 96) + (int(each) << 32) + 9)) for each in same[:count]]


def test_a_flow_of_ipv6_is_decided_about_once(sender: World) -> None:
    peer = "2001:db8::9"
    sender.local(BLUE, ME6, MY_MAC, network=WEB)
    sender.local(BLUE, peer, PEER_MAC, ifindex=INTERFACE + 1)
    assert send(sender, packet6(peer)).reason == Reason.DELIVERED
    forget_endpoint(sender, peer)
    assert send(sender, packet6(peer)).reason == Reason.DELIVERED


def test_flows_of_one_line_are_told_apart_by_the_whole_of_their_addresses(sender: World) -> None:
    sender.local(BLUE, ME6, MY_MAC, network=WEB)
    peers = namesakes(12)
    assert len(peers) == 12, "more than there are places for"
    macs = {peer: f"02:00:00:00:01:{i:02x}" for i, peer in enumerate(peers)}
    kept: set[int] = set()
    for _ in range(20):  # all of them are decided about anew every now and then, perhaps just now
        for peer, hardware in macs.items():
            sender.local(BLUE, peer, hardware, ifindex=INTERFACE + 1)
        for peer in 2 * peers:
            assert Ether(send(sender, packet6(peer)).frame).dst == macs[peer]
        for peer in peers:
            forget_endpoint(sender, peer)
        kept.add([send(sender, packet6(peer)).reason for peer in peers].count(Reason.DELIVERED))
    assert max(kept) == FLOW_REACH, "flow_place() has changed, or taken lines are not passed by"


def test_flows_that_fill_the_memory_do_not_take_one_anothers_place(sender: World) -> None:
    macs = [f"02:00:00:00:01:{i:02x}" for i in range(64)]
    for i, hardware in enumerate(macs):
        sender.local(BLUE, f"10.0.7.{i}", hardware, ifindex=INTERFACE + 1)
    for port in range(64):
        for i, hardware in enumerate(macs):
            frame = bytearray(bytes(packet(f"10.0.7.{i}")))
            frame[34:36] = port.to_bytes(2, "big")
            _, out = sender.bench.verdict("access", bytes(frame))
            assert out[:6] == mac(hardware)


def test_many_processors_share_what_few_have_of_memory() -> None:
    of_one = [1 << flow_bits(cpus) for cpus in range(1, 129)]
    assert of_one[:8] == [1 << FLOW_BITS] * 8
    assert max(cpus * lines for cpus, lines in enumerate(of_one, 1)) == 8 << FLOW_BITS
    assert flow_bits(512) == flow_bits(128) == 10


@pytest.fixture
def one_of_many(request: pytest.FixtureRequest) -> Iterator[World]:
    """On a machine that seems to have 128 processors."""
    bench = Bench(hook=request.param, processors=128)
    yield World(bench)
    bench.close()


@pytest.mark.parametrize("one_of_many", ["xdp", "tc"], indirect=True)
def test_a_processor_among_many_remembers_as_many_flows_as_it_has_lines(one_of_many: World) -> None:
    world = one_of_many.interface(BLUE, WEB).bouncers(BLUE, WEB, B).uplink().host(B)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    ports = [port.to_bytes(2, "big") for port in range(2 << flow_bits(128))]
    frame = bytearray(bytes(packet()))

    def delivered() -> int:
        before = world.bench.reasons()[Reason.DELIVERED]
        for port in ports:
            frame[34:36] = port
            world.bench.verdict("access", bytes(frame))
        return int(world.bench.reasons()[Reason.DELIVERED] - before)

    kept = set()
    for _ in range(5):  # all of them are decided about anew every now and then, perhaps just now
        world.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
        assert delivered() == len(ports)
        forget_endpoint(world, PEER)
        kept.add(delivered())
    assert len(ports) // 4 < max(kept) <= len(ports) // 2


def test_what_is_written_counts_at_once(sender: World) -> None:
    sender.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    send(sender, packet())
    forget_endpoint(sender, PEER)
    sender.bench.written()
    assert send(sender, packet()).reason == Reason.SENT_BOUNCER


def test_what_was_written_in_silence_counts_soon(sender: World) -> None:
    sender.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    send(sender, packet())
    forget_endpoint(sender, PEER)
    end = time.monotonic() + SILENCE
    while send(sender, packet()).reason == Reason.DELIVERED:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("change", ["address", "MAC", "interface"])
def test_a_remembered_flow_lets_no_other_sender_in(sender: World, change: str) -> None:
    sender.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    assert send(sender, packet()).reason == Reason.DELIVERED
    other = packet()
    if change == "address":
        other[IP].src = "10.0.0.77"
        assert send(sender, other).reason == Reason.DROP_SPOOFED_ADDRESS
    elif change == "MAC":
        other.src = "02:00:00:00:00:77"
        assert send(sender, other).reason == Reason.DROP_SPOOFED_MAC
    else:
        in_silence(sender, "interfaces", {"ifindex": INTERFACE})
        sender.interface(BLUE + 1, WEB)
        assert send(sender, other).reason == Reason.DROP_SPOOFED_ADDRESS


def test_a_way_through_a_bouncer_ends_with_the_first_answer(sender: World) -> None:
    assert send(sender, packet()).reason == Reason.SENT_BOUNCER
    answer = Ether() / IP(src=PEER, dst=ME) / UDP(sport=53, dport=1024) / Raw(b"answer")
    assert receive(sender, tunnel(answer, source=C)).reason == Reason.DELIVERED
    assert send(sender, packet()).reason == Reason.SENT_DIRECT


def test_a_path_that_leads_elsewhere_now_counts_at_once(sender: World) -> None:
    sender.learn(BLUE, PEER, C)
    assert IP(send(sender, packet()).frame[14:]).dst == C
    answer = Ether() / IP(src=PEER, dst=ME) / UDP(sport=53, dport=1024) / Raw(b"answer")
    receive(sender, tunnel(answer, source=D))
    assert IP(send(sender, packet()).frame[14:]).dst == D


def test_a_path_that_was_refused_is_gone_at_once(sender: World) -> None:
    sender.learn(BLUE, PEER, C)
    assert send(sender, packet()).reason == Reason.SENT_DIRECT
    back = tunnel(packet(), Stage.HOST, source=C, flags=OptionFlag.RETURNED)
    assert receive(sender, back).reason == Reason.SENT_BOUNCER
    assert send(sender, packet()).reason == Reason.SENT_BOUNCER


def test_a_fragment_is_decided_about_each_time(sender: World) -> None:
    sender.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    send(sender, packet(flags="MF"))
    forget_endpoint(sender, PEER)
    assert send(sender, packet(flags="MF")).reason == Reason.SENT_BOUNCER


def test_every_packet_of_a_flow_has_its_own_traffic_class(sender: World) -> None:
    sender.learn(BLUE, PEER, C)
    for traffic_class in (0, 0x28, 0x03):
        got = send(sender, packet(tos=traffic_class))
        assert IP(got.frame[14:]).tos == traffic_class


def test_every_packet_of_a_flow_is_counted(sender: World) -> None:
    mine = sender.local(BLUE, ME, MY_MAC, network=WEB)
    theirs = sender.local(BLUE, PEER, PEER_MAC, ifindex=INTERFACE + 1)
    for _ in range(3):
        send(sender, packet())
    assert sender.traffic(mine)["rx_packets"] == 3
    assert sender.traffic(theirs)["tx_packets"] == 3


def arriving(source: str = C, vni: int = BLUE) -> Packet:
    inner = Ether() / IP(src=PEER, dst=ME) / UDP(sport=53, dport=1024) / Raw(b"answer")
    return tunnel(inner, source=source, vni=vni)


def test_a_remembered_flow_is_not_believed_from_another_host_or_in_another_vpc(
    sender: World,
) -> None:
    assert receive(sender, arriving()).reason == Reason.DELIVERED
    assert receive(sender, arriving(source="192.0.2.9")).reason == Reason.DROP_UNKNOWN_HOST
    assert receive(sender, arriving(vni=BLUE + 1)).reason == Reason.RETURNED


def test_congestion_is_marked_on_every_packet_of_a_flow(sender: World) -> None:
    frame = arriving()
    frame[IP:2].tos = 2
    marked = frame.copy()
    marked[IP].tos = 3
    assert IP(receive(sender, frame).frame[14:]).tos == 2
    assert IP(receive(sender, marked).frame[14:]).tos == 3


def test_a_bouncer_and_a_divider_decide_about_a_flow_once(sender: World) -> None:
    elsewhere = "10.0.1.9"
    sender.remote(BLUE, elsewhere, D, DB)
    frame = tunnel(packet(elsewhere), Stage.BOUNCER, source=B, sender=B)
    assert receive(sender, frame).reason == Reason.BOUNCED
    forget_endpoint(sender, elsewhere)
    assert receive(sender, frame).reason == Reason.BOUNCED
    sender.bouncers(BLUE, DB, C).network(BLUE, "10.0.1.0/24", DB)
    assert receive(sender, frame).reason == Reason.DIVIDED


def test_what_is_sent_back_is_tried_again_each_time(sender: World) -> None:
    other = "10.0.0.99"
    assert receive(sender, tunnel(packet(other), source=B)).reason == Reason.RETURNED
    keys, values = sender.row(
        "endpoints", {"vni": BLUE, "address": address(other)}, {"flags": 1, "ifindex": INTERFACE}
    )
    elements.update(sender.bench.maps["endpoints"], keys.tobytes(), values.tobytes())
    try:
        assert receive(sender, tunnel(packet(other), source=B)).reason == Reason.DELIVERED
    finally:
        forget_endpoint(sender, other)
