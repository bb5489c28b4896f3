"""Random and mutated frames: no program aborts, and nothing crosses from one VPC to another."""

import os
import random
import struct
from collections.abc import Iterator

import pytest

from tests.bpf.corpus import FOREIGN, HOSTS, OF, OWN, crowd, from_endpoint, from_underlay
from tests.bpf.frames import BLUE, MY_MAC
from tests.bpf.harness import ROUTER, SELF, UPLINK, Bench, World, Xdp, mac

FRAMES = int(os.environ.get("FUZZ_FRAMES", "30_000"))
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 4, 6, 17, 44, 58, 60)


def runnable(bench: Bench, frames: Iterator[bytes]) -> list[bytes]:
    """Those that the kernel can run a program on: it takes an sk_buff's IP header for granted."""
    least = 14 if bench.hook == "xdp" else 54
    return [frame for frame in frames if len(frame) >= least]


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


@pytest.fixture
def crowded(world: World) -> World:
    return crowd(world)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_an_endpoint_can_send_leaves_its_vpc(crowded: World, seed: int) -> None:
    bench = crowded.bench
    before, kinds = bench.reasons(), set()
    frames = runnable(bench, mutated(from_endpoint(), random.Random(seed)))
    for frame in frames:
        action, out = bench.verdict("access", frame)
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
    assert (bench.reasons() - before).sum() == len(frames), "every frame is counted once"


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_on_the_underlay_changes_vpc(crowded: World, seed: int) -> None:
    bench = crowded.bench
    before, kinds = bench.reasons(), set()
    frames = runnable(bench, mutated(from_underlay(), random.Random(seed)))
    for frame in frames:
        action, out = bench.verdict("transit", frame)
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
    assert (bench.reasons() - before).sum() == len(frames), "every frame is counted once"


def checksum_is_right(frame: bytes) -> bool:
    """Whether the outer IPv4 header's checksum is right (RFC 1071)."""
    size = (frame[14] & 15) * 4
    words = struct.unpack_from(f">{size // 2}H", frame, 14)
    return (sum(words) - 1) % 0xFFFF == 0xFFFE


def source_of(frame: bytes) -> bytes:
    """The source address of an IP packet in Ethernet."""
    return frame[26:30] if frame[12:14] == b"\x08\x00" else frame[22:38]
