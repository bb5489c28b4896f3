"""Random and mutated frames: no program aborts, and nothing crosses from one VPC to another."""

import os
import random
import struct
from collections.abc import Iterator

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import TCP, IPOption
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from reconciler.abi.generated import OptionFlag, Stage
from reconciler.datapath import libbpf
from tests.bpf.frames import (
    BLUE,
    DB,
    GATEWAY,
    GATEWAY6,
    ME,
    ME6,
    MY_MAC,
    OTHER,
    PEER,
    PEER6,
    RED,
    WEB,
    B,
    C,
    D,
    answer,
    datagram,
    ip,
    option,
    ping,
    probe,
    tunnel,
)
from tests.bpf.harness import INTERFACE, ROUTER, SELF, UPLINK, World, Xdp, address, mac

FRAMES = int(os.environ.get("FUZZ_FRAMES", "30_000"))
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 4, 6, 17, 44, 58, 60)
OF = {BLUE: "02:00:00:00:07", RED: "02:00:00:00:08"}  # the VPC's endpoints' MACs begin so

F, BEHIND = "172.16.0.21", "10.0.0.5"  # a foreign host, and an endpoint there
FOREIGN = bytes(map(int, F.split(".")))
HOSTS = {bytes(map(int, each.split("."))) for each in (B, C, D)}
OWN = {bytes(address(ME))[-4:], bytes(address(ME6))}


@pytest.fixture
def crowded(world: World) -> World:
    """Two VPCs with the same addresses, in every role; they differ in the endpoints' MACs."""
    world.uplink(0, ifindex=INTERFACE + 2).host(F, foreign=True)
    world.uplink(1, ifindex=INTERFACE + 3, mtu=300).host(D, uplink=1)
    for vni, prefix in OF.items():
        world.router(vni, WEB, GATEWAY, GATEWAY6)
        world.gateway(vni, GATEWAY).gateway(vni, GATEWAY6)
        for last, where in enumerate((PEER, PEER6), start=1):
            world.local(vni, where, f"{prefix}:{last:02x}", network=WEB, ifindex=INTERFACE + 1)
        world.foreign(vni, BEHIND, F, f"{prefix}:09", network=WEB)
        world.remote(vni, "10.0.0.3", B, WEB).remote(vni, "2001:db8::3", C, WEB)
        world.bouncers(vni, WEB, B, C).bouncers(vni, DB, C, D).dividers(vni, D, SELF)
        world.network(vni, "10.0.1.0/24", DB).network(vni, "2001:db8:1::/64", DB)
    world.interface(BLUE, WEB)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    world.local(BLUE, ME6, MY_MAC, network=WEB)
    return world


def from_endpoint() -> list[bytes]:
    """Frames that access understands."""
    ether = Ether(src=MY_MAC, dst=ROUTER)
    solicit = ICMPv6ND_NS(tgt=GATEWAY6) / ICMPv6NDOptSrcLLAddr(lladdr=MY_MAC)
    frames: list[Packet] = [
        *(ping(ME, each) for each in (PEER, GATEWAY, OTHER, "10.0.0.3", "192.0.2.1")),
        *(ping(ME6, each) for each in (PEER6, GATEWAY6, "2001:db8:1::9", "2001:db8::3")),
        datagram(ME, PEER),
        datagram(ME, BEHIND),
        *(
            datagram(each, to) / bytes(300)
            for each, to in ((ME, "10.0.9.9"), (ME6, "2001:db8:9::9"))
        ),
        ether / ip(ME, PEER, options=[IPOption(b"\x94\x04\x00\x00")]) / TCP(),
        ether / ARP(op=1, hwsrc=MY_MAC, psrc=ME, pdst=GATEWAY),
        Ether(src=MY_MAC, dst="33:33:ff:00:00:fe") / IPv6(src=ME6, dst="ff02::1:ff00:fe") / solicit,
        ether / IPv6(src=ME6, dst=PEER6) / ICMPv6ND_NA(tgt=ME6),
        ether / ip(ME6, PEER6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(),
        ether / ip(ME6, PEER6) / IPv6ExtHdrFragment(m=1) / TCP(),
    ]
    return [bytes(each) for each in frames]


def from_underlay() -> list[bytes]:
    """Frames that transit understands."""
    frames = []
    for inner in (
        ping("10.0.9.9", PEER),
        ping("2001:db8:9::9", PEER6),
        ping(PEER, "10.0.0.3"),
        ping(PEER, OTHER),
        ping(ME, "192.0.2.1"),
        datagram(ME6, "2001:db8:1::9"),
    ):
        for vni in (BLUE, RED, 9):
            frames.append(tunnel(inner, vni=vni))
            frames.append(tunnel(inner, vni=vni, flags=OptionFlag.RETURNED))
            frames.append(tunnel(inner / bytes(1400), vni=vni, flags=OptionFlag.TOO_BIG))
            frames.append(tunnel(inner / bytes(300), Stage.BOUNCER, vni=vni, sender=C))
            for stage in (Stage.BOUNCER, Stage.DIVIDER, Stage.NETWORK):
                frames.append(tunnel(inner, stage, vni=vni, sender=D))
        frames.append(tunnel(inner, options=[option(Stage.HOST), option(Stage.HOST)]))
    for vni in (BLUE, RED, 9):
        frames.append(tunnel(ping("10.0.9.9", BEHIND), vni=vni))
        frames.append(tunnel(ping("10.0.9.9", BEHIND), Stage.NETWORK, vni=vni, sender=D))
        for where in (PEER, "10.0.0.3", OTHER, "192.0.2.1", BEHIND):
            plain = tunnel(ping(BEHIND, where), vni=vni, source=F, options=[])
            plain[GENEVE].critical = 0
            frames.append(plain)
    frames += [probe(B), probe(D), answer(C)]
    return [bytes(each) for each in frames]


def mutated(corpus: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """FRAMES frames: mostly a known one with a few octets changed, cut, stretched or spliced."""
    for _ in range(FRAMES):
        frame = bytearray(chance.choice(corpus))
        for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
            at = chance.randrange(len(frame))
            frame[at] = chance.choice(
                (
                    chance.choice(INTERESTING),
                    chance.randrange(256),
                    frame[at] ^ 1 << chance.randrange(8),
                )
            )
        match chance.randrange(16):
            case 0:
                del frame[max(14, chance.randrange(len(frame))) :]
            case 1:
                frame += chance.randbytes(chance.randrange(1, 64))
            case 2:
                other = chance.choice(corpus)
                at = chance.randrange(14, len(frame))
                frame[at:] = other[min(at, len(other) - 1) :]
            case 3:
                frame[14:] = chance.randbytes(chance.randrange(1, 200))
        yield bytes(frame)


def delivered_to(frame: bytes) -> int | None:
    """The VPC of the endpoint that a frame is addressed to."""
    if frame[:6] == mac(MY_MAC):
        return BLUE
    for vni, prefix in OF.items():
        if frame[:5] == mac(prefix):
            return vni
    return None


def check_outer(before: int, frame: bytes) -> bytes:
    """A frame that leaves on the underlay: to a known host, in the VPC it was in; the inner one."""
    assert frame[6:12] == mac(UPLINK)
    assert frame[26:30] == bytes(map(int, SELF.split(".")))
    start = 14 + (frame[14] & 15) * 4 + 8
    assert int.from_bytes(frame[start + 4 : start + 7], "big") == before
    inner = frame[start + 8 + (frame[start] & 0x3F) * 4 :]
    if frame[30:34] == FOREIGN:  # in plain Geneve, to an endpoint there and nobody else
        assert (frame[start], frame[start + 1]) == (0, 0)
        assert delivered_to(inner) == before
        return inner
    assert frame[30:34] in HOSTS
    return inner


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_an_endpoint_can_send_leaves_its_vpc(crowded: World, seed: int) -> None:
    bench = crowded.bench
    before, kinds = bench.reasons(), set()
    for frame in mutated(from_endpoint(), random.Random(seed)):
        action, out, _ = libbpf.test_run(bench.programs["access"], frame)
        answered = out[:6] in (frame[6:12], mac("33:33:00:00:00:01")) and out[6:12] == mac(ROUTER)
        kinds.add((action, answered))
        if action == Xdp.REDIRECT and answered:
            assert out != frame, frame.hex()
        elif action == Xdp.REDIRECT and out[6:12] == mac(ROUTER):
            assert delivered_to(out) == BLUE, frame.hex()
            assert source_of(out) in OWN, frame.hex()
        elif action == Xdp.REDIRECT:
            inner = check_outer(BLUE, out)
            assert inner[12:] == frame[12:], frame.hex()
            assert source_of(inner) in OWN, frame.hex()
            if out[30:34] != FOREIGN:  # where it goes as if delivered
                assert inner[:12] == frame[:12], frame.hex()
                assert inner[6:12] == mac(MY_MAC), frame.hex()
        else:
            assert action == Xdp.DROP, frame.hex()
    ways = {(Xdp.DROP, False), (Xdp.REDIRECT, True), (Xdp.REDIRECT, False)}
    assert kinds >= ways, "the corpus reaches every way out"
    assert (bench.reasons() - before).sum() == FRAMES, "every frame is counted once"


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_on_the_underlay_changes_vpc(crowded: World, seed: int) -> None:
    bench = crowded.bench
    before, kinds = bench.reasons(), set()
    for frame in mutated(from_underlay(), random.Random(seed)):
        action, out, _ = libbpf.test_run(bench.programs["transit"], frame)
        kinds.add(action)
        if action == Xdp.PASS:
            assert out == frame, frame.hex()
        elif action == Xdp.REDIRECT:
            start = 14 + (frame[14] & 15) * 4 + 8
            vni = int.from_bytes(frame[start + 4 : start + 7], "big")
            if out[6:12] == mac(ROUTER):
                assert delivered_to(out) == vni, frame.hex()
            else:
                check_outer(vni, out)
                assert checksum_is_right(out) or not checksum_is_right(frame), frame.hex()
        else:
            assert action == Xdp.DROP, frame.hex()
    assert kinds >= {Xdp.DROP, Xdp.PASS, Xdp.REDIRECT}, "the corpus reaches every way out"
    assert (bench.reasons() - before).sum() == FRAMES, "every frame is counted once"


def checksum_is_right(frame: bytes) -> bool:
    """Whether the outer IPv4 header's checksum is right (RFC 1071)."""
    size = (frame[14] & 15) * 4
    words = struct.unpack_from(f">{size // 2}H", frame, 14)
    return (sum(words) - 1) % 0xFFFF == 0xFFFE


def source_of(frame: bytes) -> bytes:
    """The source address of an IP packet in Ethernet."""
    return frame[26:30] if frame[12:14] == b"\x08\x00" else frame[22:38]
