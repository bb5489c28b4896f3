"""Millions of mutated frames, made, given to the programs and judged in the kernel (fuzz.bpf.c).

A million for each program by default, ten by `pytest -m slow`; FUZZ_SEED chooses others.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reconciler.abi.generated import Reason
from reconciler.datapath import elements, libbpf
from tests.bpf.built import altered, built
from tests.bpf.corpus import (
    BEHIND,
    FOREIGN,
    HOSTS,
    NOBODY,
    OF,
    F,
    crowd,
    from_endpoint,
    from_underlay,
)
from tests.bpf.frames import BLUE, GATEWAY, ME, ME6, MY_MAC, OTHER, PEER, RED, B
from tests.bpf.harness import (
    INTERFACE,
    ROUTER,
    SELF,
    UPLINK,
    Bench,
    World,
    Xdp,
    address,
    mac,
    on_processor,
)

pytestmark = pytest.mark.xdp("fuzz.bpf.c calls them; test_fuzz.py gives frames to those of tc")
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CHUNK = 250_000  # frames a system call
STATE = struct.Struct("<4Q2I64Q")
FINDING = np.dtype(
    [
        *((name, "<u4") for name in ("rule", "reason", "before_length", "after_length")),
        ("before", "u1", 512),
        ("after", "u1", 512),
    ]
)
RULES = (
    "none, counted once, reason, outer header, VNI, host, foreign host, receiver, source, payload, "
    "answer, untouched, believed, checksum, harness"
).split(", ")
FROM_ENDPOINT = {
    Reason.DELIVERED, Reason.SENT_DIRECT, Reason.SENT_BOUNCER, Reason.ANSWERED, Reason.UNANSWERED,
    Reason.ANSWERED_TOO_BIG, Reason.DROP_MALFORMED, Reason.DROP_SPOOFED_MAC,
    Reason.DROP_SPOOFED_ADDRESS, Reason.DROP_NOT_IP, Reason.DROP_MULTICAST, Reason.DROP_NO_ENDPOINT,
}  # fmt: skip
FROM_UNDERLAY = {
    Reason.PASSED, Reason.DELIVERED, Reason.BOUNCED, Reason.DIVIDED, Reason.RELAYED_DIVIDER,
    Reason.RETURNED, Reason.PROBE_ANSWERED, Reason.PROBE_HEARD, Reason.DROP_MALFORMED,
    Reason.DROP_SPOOFED_ADDRESS, Reason.DROP_NOT_IP, Reason.DROP_MULTICAST,
    Reason.DROP_UNKNOWN_HOST, Reason.DROP_NO_ENDPOINT, Reason.DROP_TTL, Reason.DROP_ECN,
    Reason.DROP_RETURNED_TWICE, Reason.SENT_BOUNCER,
}  # fmt: skip


def four(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def description(samples: int, underlay: bool) -> bytes:
    """`struct world` of fuzz.bpf.c."""
    pool = [four(each) for each in (ME, PEER, OTHER, BEHIND, GATEWAY, B, F, SELF, NOBODY)]
    pool += [struct.pack(">I", vni << 8) for vni in (BLUE, RED, 9)]
    pool += [bytes.fromhex(each) for each in ("ff528101", "ff528401", "ff528c01", "ff52a102")]
    pool += [bytes.fromhex(each) for each in ("0800", "86dd", "0806", "6558", "17c1", "8100")]
    hosts = sorted(HOSTS)
    own = four(ME) + address(ME6).tobytes()
    macs = [mac(each) for each in (*OF.values(), MY_MAC, ROUTER, UPLINK)]
    assert list(OF) == [BLUE, RED]
    return b"".join(
        [
            struct.pack("<3I", samples, underlay, len(pool)),
            b"".join(each.ljust(4, b"\0") for each in pool).ljust(128, b"\0"),
            b"".join([*hosts, hosts[0]]),
            FOREIGN,
            four(SELF),
            own,
            struct.pack("<2I", BLUE, RED),
            b"".join(each.ljust(8, b"\0") for each in macs),
        ]
    )


class Fuzzer:
    """The corpus, and the program that mutates and judges, for programs of one world."""

    def __init__(self, world: World, folder: Path) -> None:
        self.bench = crowd(world).bench
        world.uplink(0, ifindex=INTERFACE + 2, mtu=300)
        self.object = built("fuzz", folder)

    def run(self, program: str, frames: int, seed: int = SEED) -> tuple[list[str], set[Reason]]:
        """What is wrong, the first of it with its frames; and the reasons that were reached."""
        corpus = from_endpoint() if program == "access" else from_underlay()
        corpus = [each for each in corpus if len(each) <= 512]
        before = self.bench.reasons()
        with libbpf.Object.open(self.object) as opened:
            opened.set_initial_value(
                ".rodata.world", description(len(corpus), program == "transit")
            )
            opened.reuse_map("reasons", self.bench.maps["reasons"])
            opened.load()
            fuzz, samples = opened.program_fd("fuzz"), opened.map_fd("samples")
            states, findings = opened.map_fd("states"), opened.map_fd("findings")
            target = opened.map_fd("target")
        for number, frame in enumerate(corpus):
            value = len(frame).to_bytes(8, "little") + frame.ljust(512, b"\0")
            elements.update(samples, number.to_bytes(4, "little"), value)
        state = (seed * 0x9E3779B97F4A7C15 % 2**64, *[0] * 69)
        number = self.bench.programs[program].fileno()
        elements.update(target, bytes(4), number.to_bytes(4, "little"))
        with on_processor(min(os.sched_getaffinity(0))):  # whose counters are looked at
            for done in range(0, frames, CHUNK):
                count = min(CHUNK, frames - done)
                # The last frame of a call is judged by nobody: the next begins with one of its own.
                elements.update(states, bytes(4), STATE.pack(*state[:4], 0, *state[5:]))
                verdict, _, _ = libbpf.test_run(fuzz, bytes(64), repeat=count + 1)
                assert verdict != Xdp.ABORTED
                raw = elements.lookup(states, bytes(4), STATE.size)
                assert raw is not None
                state = STATE.unpack(raw)
        _, _, judged, violations, *_ = state
        print(f"\n{program}: {judged:,} frames, {violations} violations")
        assert judged == frames
        reached = self.bench.reasons() - before
        return (
            [said(findings, each) for each in range(min(violations, 8))],
            {Reason(each) for each in np.flatnonzero(reached)},
        )


def said(findings: libbpf.Fd, number: int) -> str:
    """A violation as people read it."""
    raw = elements.lookup(findings, number.to_bytes(4, "little"), FINDING.itemsize)
    assert raw is not None
    row = np.frombuffer(raw, FINDING)[0]
    frames = [row[each].tobytes()[: int(row[f"{each}_length"])] for each in ("before", "after")]
    reason = "?" if row["reason"] >= Reason.COUNT else Reason(int(row["reason"])).name
    return f"{RULES[row['rule']]}, {reason}: {frames[0].hex()} became {frames[1].hex()}"


@pytest.fixture
def fuzzer(world: World, tmp_path: Path) -> Fuzzer:
    return Fuzzer(world, tmp_path)


def test_a_million_frames_of_an_endpoint_leak_nothing(fuzzer: Fuzzer) -> None:
    wrong, reached = fuzzer.run("access", 1_000_000)
    assert wrong == []
    assert reached >= FROM_ENDPOINT


def test_a_million_frames_of_the_underlay_leak_nothing(fuzzer: Fuzzer) -> None:
    wrong, reached = fuzzer.run("transit", 1_000_000)
    assert wrong == []
    assert reached >= FROM_UNDERLAY


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("program", ["access", "transit"])
def test_ten_million_leak_nothing(fuzzer: Fuzzer, program: str) -> None:
    for seed in range(SEED + 1, SEED + 11):
        wrong, _ = fuzzer.run(program, 1_000_000, seed)
        assert wrong == []


@pytest.fixture(scope="module")
def gullible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The same programs, which believe an endpoint whatever address it sends from."""
    folder = tmp_path_factory.mktemp("gullible")
    checks = ("if (!mac_equal(&origin->mac, &row->mac))", "if (0)")
    loaded = Bench(objects=altered(folder, "answer.h", checks))
    yield loaded
    loaded.close()


def test_a_missing_check_is_found(gullible: Bench, tmp_path: Path) -> None:
    """So the tests above can fail."""
    world = World(gullible)
    world.uplink().host(SELF)
    for other in (2, 3, 4):
        world.host(f"172.16.0.{other}")
    wrong, _ = Fuzzer(world, tmp_path).run("access", CHUNK)
    world.clear()
    assert [each for each in wrong if each.startswith("source, SENT_")]
