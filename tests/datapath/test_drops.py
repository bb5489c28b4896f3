"""What the kernel drops after a verdict is counted by interface and reason, each provoked here."""

import platform
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from reconciler.abi.generated import MAPS, KernelDrop
from reconciler.compile.programs import DROPS
from reconciler.compile.state import Interface, Program
from reconciler.datapath import elements, libbpf, tables
from reconciler.datapath.drops import GONE, reason
from reconciler.datapath.kernel import KernelDatapath
from reconciler.datapath.pins import Pinned, Pins
from reconciler.datapath.protocol import Traffic
from reconciler.datapath.tracepoints import Tracepoints
from reconciler.model.mac import ROUTER_MAC
from reconciler.source.package import object_path
from tests.datapath.place import NETNS, Place, command, entered
from tests.datapath.worlds import KernelWorld

BURST = 200_000
PATIENCE = 30.0  # seconds; only a failure waits so long
TRACEPOINTS = ["xdp_bulk_tx", "xdp_devmap_xmit", "xdp_exception", "xdp_redirect_err"]


class Pair:
    """A host with two endpoints: frames from the first to the second, as XDP sends them."""

    def __init__(self, place: Place) -> None:
        self.world = KernelWorld(place)
        for name in ("web-11", "web-12"):
            self.world.add_netns(name)
        self.desired = self.world.wanted(["web-11", "web-12"])
        self.world.settle(self.desired)
        assert self.world.converged(self.desired)

    def interface(self, number: int) -> Interface:
        """The host's side of an endpoint."""
        return next(e for e in self.desired.interfaces if e.endpoint == f"shop/web-{number}")

    def index(self, name: str) -> int:
        """An interface's index in the host's namespace."""
        shown = self.world.place.ip("host", "-o", "link", "show", "dev", name)
        return int(shown.partition(":")[0])

    def frame(self) -> bytes:
        """From the first endpoint to the second."""
        head = Ether(src=self.interface(11).mac, dst=ROUTER_MAC.hex(":"))
        packet = IP(src="10.0.1.11", dst="10.0.1.12") / UDP(sport=1, dport=9) / bytes(64)
        return bytes(head / packet)

    def send(self, frames: int, program: libbpf.Fd | None = None) -> None:
        """Frames through the pinned program, or one before it, and on their way for real."""
        at = self.index(self.interface(11).name)
        with libbpf.get(self.world.place.pins.path(Pinned.PROGRAM, "access")) as access:
            libbpf.test_run(program or access, self.frame(), ifindex=at, repeat=frames, live=True)

    def traffic(self) -> Traffic:
        """What is counted, as a new process reads it."""
        return KernelDatapath(self.world.host, self.world.config).traffic()

    def lost(self) -> dict[tuple[str, str], int]:
        """Frames by interface and reason."""
        return {(each.interface, each.reason): each.frames for each in self.traffic().lost}


@pytest.fixture
def pair(place: Place) -> Pair:
    return Pair(place)


def test_nothing_is_counted_where_nothing_is_lost(pair: Pair) -> None:
    pair.send(10)
    assert pair.traffic().reasons["delivered"].packets >= 10
    assert (pair.lost(), pair.traffic().uncounted) == ({}, "")


def test_an_endpoint_whose_interface_is_down_loses_its_frames(pair: Pair) -> None:
    name = pair.interface(12).name
    pair.world.place.ip("host", "link", "set", name, "down")
    pair.send(3)
    assert pair.lost() == {(name, "redirect_enetdown"): 3}
    (lost,) = pair.traffic().lost
    assert lost.endpoint == "shop/web-12"


def test_an_endpoint_whose_end_does_not_poll_loses_its_frames(pair: Pair) -> None:
    netns = NETNS / pair.world.place.name("web-12")
    command("nsenter", f"--net={netns}", "ethtool", "-K", pair.interface(12).peer, "gro", "off")
    pair.send(3)
    # A kernel before 6.3 finds out only when it hands the frames over.
    assert pair.lost() in (
        {(pair.interface(12).name, "redirect_eopnotsupp"): 3},
        {(pair.interface(12).name, "queue_enxio"): 3},
    )


def test_a_row_that_leads_to_no_interface_loses_its_frames(pair: Pair) -> None:
    pair.world.place.ip("host", "link", "del", pair.interface(12).name)
    pair.send(2)
    assert pair.lost() == {(GONE, "redirect_einval"): 2}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled_verdicts(tmp_path_factory.mktemp("bpf"))


def compiled_verdicts(folder: Path) -> Path:
    """The compiled tests/datapath/verdicts.bpf.c."""
    target = folder / "verdicts.bpf.o"
    include = f"-I/usr/include/{platform.machine()}-linux-gnu"
    flags = ["-O2", "-g", "-target", "bpf", include, "-c"]
    source = Path(__file__).with_name("verdicts.bpf.c")
    subprocess.run(["clang", *flags, source, "-o", target], check=True)
    return target


def test_a_burst_that_overflows_an_endpoints_queue_is_counted(pair: Pair, verdicts: Path) -> None:
    """Two processors fill a queue of 256 frames, which one of them empties in between."""
    with libbpf.Object.open(verdicts) as opened:
        opened.set_initial_value(".rodata", pair.frame()[:12])
        opened.load()
        program, target = opened.program_fd("again"), opened.map_fd("target")
    with libbpf.get(pair.world.place.pins.path(Pinned.PROGRAM, "access")) as access:
        elements.update(target, bytes(4), access.fileno().to_bytes(4, "little"))
    before = pair.traffic().reasons["delivered"].packets
    limit = time.monotonic() + PATIENCE
    sent = 0
    while not pair.lost():  # it takes two processors that are both free
        assert time.monotonic() < limit
        senders = [threading.Thread(target=pair.send, args=(BURST, program)) for _ in range(2)]
        for each in senders:
            each.start()
        for each in senders:
            each.join()
        sent += 2 * BURST
    assert pair.traffic().reasons["delivered"].packets - before >= sent
    print(pair.lost())
    assert list(pair.lost()) == [(pair.interface(12).name, "queue_full")]
    assert 0 < pair.lost()[pair.interface(12).name, "queue_full"] < sent


def run_on(
    place: Place, verdicts: Path, name: str, interface: str, netns: str = "host"
) -> libbpf.Fd:
    """A program with a verdict of its own on an interface; it runs while the link is held."""
    with libbpf.Object.open(verdicts) as opened:
        opened.load()
        with opened.program_fd(name) as program:
            index = int(place.ip(netns, "-o", "link", "show", "dev", interface).partition(":")[0])
            return libbpf.create_xdp_link(program, index, 0)


def plain_pair(place: Place, netns: str = "host") -> None:
    """A cable that is nobody's."""
    place.ip(netns, *"link add bad0 type veth peer name bad1".split())
    for each in ("bad0", "bad1"):
        place.ip(netns, "link", "set", each, "addrgenmode", "none", "up")


def say_something(interface: str, frames: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        for _ in range(frames):
            wire.send(bytes(Ether(src="02:00:00:00:00:09", dst="ff:ff:ff:ff:ff:ff")) + bytes(46))


def test_a_verdict_that_is_none_is_an_exception(pair: Pair, verdicts: Path) -> None:
    plain_pair(pair.world.place)
    with run_on(pair.world.place, verdicts, "none", "bad1"):
        say_something("bad0", 3)
        wait_until(lambda: pair.lost() == {("bad1", "exception_unknown"): 3})


def test_frames_sent_back_to_who_does_not_poll_are_counted(pair: Pair, verdicts: Path) -> None:
    plain_pair(pair.world.place)
    with run_on(pair.world.place, verdicts, "reflect", "bad1"):
        say_something("bad0", 3)
        wait_until(lambda: sum(pair.lost().values()) == 3)
    assert {where for where, _ in pair.lost()} == {"bad1"}
    print(pair.lost())


def test_of_two_hosts_of_one_kernel_each_counts_its_own(pair: Pair, verdicts: Path) -> None:
    """Interfaces of both may have the same numbers."""
    place, spec = pair.world.place, MAPS["drops"]
    pins = Pins(place.bpffs, f"{place.tag}-other")
    other = Tracepoints(pins)
    elf, theirs = object_path(DROPS).read_bytes(), libbpf.create_map(spec)
    with entered(place.netns("other")):
        pins.prepare()
        assert not other.put(Program(DROPS, b"", "1"), elf, {"drops": theirs})
        plain_pair(place, "other")
        with run_on(place, verdicts, "none", "bad1", "other"):
            say_something("bad0", 3)
            wait_until(lambda: tables.scan(theirs, spec, spec.capacity)[1].tolist() == [(3,)])
    pins.remove_all()
    assert pair.lost() == {}


def test_counting_goes_on_without_an_agent_and_across_upgrades(pair: Pair, tmp_path: Path) -> None:
    name = pair.interface(12).name
    lose(pair)
    before = links(pair)
    upgrade(pair, tmp_path, object_path(DROPS).read_bytes() + b"\0")
    lose(pair)
    assert pair.lost() == {(name, "redirect_enetdown"): 2}
    assert before.keys() == links(pair).keys()
    assert not set(before.values()) & set(links(pair).values())


def lose(pair: Pair) -> None:
    """One frame, at an interface that is down for a moment."""
    pair.world.place.ip("host", "link", "set", pair.interface(12).name, "down")
    pair.send(1)
    pair.world.settle(pair.desired)


def upgrade(pair: Pair, folder: Path, elf: bytes) -> list[str]:
    """Another release's `drops`; what an operator hears."""
    for name in ("access", "transit"):
        (folder / name).write_bytes(object_path(name).read_bytes())
    (folder / DROPS).write_bytes(elf)
    world = pair.world
    world.config = replace(world.config, object_path=lambda name: folder / name)
    world.restart()
    (report,) = world.settle(pair.desired)
    assert {name: each.total for name, each in report.written.items()} == {"programs": 1}
    assert report.done
    assert world.converged(pair.desired)
    return list(report.notes)


def links(pair: Pair) -> dict[str, int]:
    """Pinned links by tracepoint."""
    pins, found = pair.world.place.pins, {}
    for name in pins.names(Pinned.TRACEPOINT):
        with libbpf.get(pins.path(Pinned.TRACEPOINT, name)) as link:
            found[name] = libbpf.link_info(link).id
    return found


def test_a_kernel_without_one_tracepoint_goes_on_without_and_says_so(
    pair: Pair, tmp_path: Path
) -> None:
    assert list(links(pair)) == TRACEPOINTS
    elf = object_path(DROPS).read_bytes().replace(b"tp_btf/xdp_bulk_tx", b"tp_btf/xdp_bulk_no")
    (note,) = upgrade(pair, tmp_path, elf)
    assert note.startswith("program drops is not attached to all tracepoints: xdp_bulk_no: ")
    assert list(links(pair)) == TRACEPOINTS[1:]
    assert "xdp_bulk_no" in pair.traffic().uncounted
    lose(pair)
    assert pair.lost() == {(pair.interface(12).name, "redirect_enetdown"): 1}


def test_a_kernel_without_any_forwards_all_the_same(pair: Pair, tmp_path: Path) -> None:
    upgrade(pair, tmp_path, object_path(DROPS).read_bytes().replace(b"btf/xdp_", b"btf/odd_"))
    assert links(pair) == {}
    assert pair.traffic().uncounted.count("odd_") == len(TRACEPOINTS)
    pair.send(5)
    assert pair.traffic().reasons["delivered"].packets >= 5


def test_a_tracepoint_that_somebody_detached_is_drift(pair: Pair) -> None:
    pair.world.place.pins.remove(Pinned.TRACEPOINT, "xdp_exception")
    plan = pair.world.plan(pair.desired)
    assert {name: each.total for name, each in plan.diff.counts_by_kind.items()} == {"programs": 1}
    pair.world.settle(pair.desired)
    assert list(links(pair)) == TRACEPOINTS


def test_in_another_namespace_it_is_attached_anew(pair: Pair) -> None:
    """As after somebody made the host's namespace again and kept the pins."""
    before = links(pair)
    with entered(pair.world.place.netns("again")):
        live = pair.world.datapath.read().programs
    assert {each.name: bool(each.digest) for each in live}[DROPS] is False
    assert links(pair) == before


def test_removing_the_host_detaches_everything(pair: Pair) -> None:
    pair.world.datapath.remove()
    assert links(pair) == {}
    assert list(pair.world.place.bpffs.iterdir()) == []


@pytest.mark.parametrize(
    ("event", "error", "name"),
    [
        (KernelDrop.REDIRECT, 100, "redirect_enetdown"),
        (KernelDrop.REDIRECT, 95, "redirect_eopnotsupp"),
        (KernelDrop.QUEUE, 0, "queue_full"),
        (KernelDrop.QUEUE, 6, "queue_enxio"),
        (KernelDrop.TRANSMIT, 9999, "transmit_error_9999"),
        (KernelDrop.EXCEPTION, 0, "exception_aborted"),
        (KernelDrop.EXCEPTION, 99, "exception_unknown"),
        (99, 1, "event_99_1"),
    ],
)
def test_reasons_have_names(event: int, error: int, name: str) -> None:
    assert reason(event, error) == name


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)
