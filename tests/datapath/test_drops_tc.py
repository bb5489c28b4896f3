"""What the kernel drops after a verdict of tc is counted as XDP's is, each loss provoked here."""

import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from reconciler.abi.generated import KernelDrop
from reconciler.compile.state import HostState, Interface
from reconciler.datapath import elements, libbpf
from reconciler.datapath.drops import GONE, reason
from reconciler.datapath.enums import kernel_enum
from reconciler.datapath.kernel import KernelDatapath
from reconciler.datapath.pins import Pinned
from reconciler.datapath.protocol import Lost, Traffic
from reconciler.model.mac import ROUTER_MAC
from reconciler.source.package import object_path
from tests.datapath.place import NETNS, Place, command, entered
from tests.datapath.test_drops import TRACEPOINTS, compiled_verdicts, wait_until
from tests.datapath.worlds import KernelWorld

QUEUE = 256  # VETH_RING_SIZE of drivers/net/veth.c
BACKLOG = 1000  # net.core.netdev_max_backlog, if nobody changed it
SO_SNDBUFFORCE = 32  # linux/socket.h
DRIVER = 4  # XDP_FLAGS_DRV_MODE


class Pair:
    """A host of tc with two endpoints; the first one sends to the second."""

    def __init__(self, place: Place, attach: dict[str, dict[str, Any]] | None = None) -> None:
        self.attach = attach
        self.world = KernelWorld(place)
        for name in ("web-11", "web-12"):
            self.world.add_netns(name)
        self.desired = self.wanted("tc")
        self.world.settle(self.desired)
        assert self.world.converged(self.desired)
        self.name, self.peer = self.interface(12).name, self.interface(12).peer

    def wanted(self, mode: str) -> HostState:
        """The same with programs of a mode."""
        return self.world.wanted(["web-11", "web-12"], attach=self.attach, attachMode=mode)

    def interface(self, number: int) -> Interface:
        """The host's side of an endpoint."""
        return next(e for e in self.desired.interfaces if e.endpoint == f"shop/web-{number}")

    def netns(self, number: int) -> Path:
        return NETNS / self.world.place.name(f"web-{number}")

    def ip(self, *words: str) -> None:
        """The host's ip."""
        self.world.place.ip("host", *words)

    def inside(self, *words: str) -> None:
        """A command in the second endpoint's namespace."""
        command("nsenter", f"--net={self.netns(12)}", "--", *words)

    def in_sysfs(self, line: str) -> None:
        """The same, of a shell, with its own sysfs: one shows the namespace of who mounted it."""
        self.inside("unshare", "--mount", "sh", "-ec", f"mount -t sysfs none /sys; {line}")

    def send(
        self, frames: int, size: int = 64, source: str = "10.0.1.11", target: str = "10.0.1.12"
    ) -> None:
        head = Ether(src=self.interface(11).mac, dst=ROUTER_MAC.hex(":"))
        frame = bytes(head / IP(src=source, dst=target) / UDP(sport=1, dport=9) / bytes(size))
        with entered(self.netns(11)), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind((self.interface(11).peer, 0))
            wire.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 24)  # or it waits for queues
            for _ in range(frames):
                wire.send(frame)

    def traffic(self) -> Traffic:
        """What is counted, as a new process reads it."""
        return KernelDatapath(self.world.host, self.world.config).traffic()

    def lost(self) -> dict[tuple[str, str], int]:
        """Frames by interface and reason."""
        return {(each.interface, each.reason): each.frames for each in self.traffic().lost}


@pytest.fixture
def pair(place: Place) -> Pair:
    return Pair(place)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled_verdicts(tmp_path_factory.mktemp("bpf"))


def test_nothing_is_counted_where_nothing_is_lost(pair: Pair) -> None:
    """Nor what the endpoint's own kernel drops: nobody listens there."""
    pair.send(10)
    assert pair.traffic().reasons["delivered"].packets >= 10
    assert (pair.lost(), pair.traffic().uncounted) == ({}, "")


def test_what_the_program_itself_drops_is_not_counted_twice(pair: Pair) -> None:
    pair.send(10, source="10.0.1.99")
    assert pair.traffic().reasons["drop_spoofed_address"].packets == 10
    assert pair.lost() == {}


def test_an_endpoint_whose_interface_is_down_loses_its_frames(pair: Pair) -> None:
    pair.ip("link", "set", pair.name, "down")
    pair.send(3)
    assert pair.traffic().lost == (Lost(pair.name, "shop/web-12", "redirect_enetdown", 3),)


def test_an_endpoint_whose_own_end_is_down_loses_its_frames(pair: Pair) -> None:
    pair.inside("ip", "link", "set", pair.peer, "down")
    pair.send(3)
    assert pair.lost() == {(pair.name, "redirect_enolink"): 3}


def test_an_endpoint_that_takes_smaller_frames_only_loses_the_others(pair: Pair) -> None:
    pair.inside("ip", "link", "set", pair.peer, "mtu", "1000")
    pair.send(5, size=900)
    pair.send(3, size=1100)
    assert pair.lost() == {(pair.name, "redirect_emsgsize"): 3}


def test_a_row_that_leads_to_no_interface_is_counted_where_its_frames_came_in(pair: Pair) -> None:
    pair.ip("link", "del", pair.name)
    pair.send(2)
    assert pair.lost() == {(pair.interface(11).name, "redirect_einval"): 2}


def test_other_losses_have_the_kernels_own_names(pair: Pair) -> None:
    """A queueing discipline that drops all; and then the interface is gone."""
    netns = pair.world.place.name("host")
    command("tc", "-n", netns, "qdisc", "add", "dev", pair.name, "root", "blackhole")
    pair.send(4)
    assert pair.lost() == {(pair.name, "freed_qdisc_drop"): 4}
    pair.ip("link", "del", pair.name)
    assert pair.lost() == {(GONE, "freed_qdisc_drop"): 4}


@contextmanager
def idle_poller(pair: Pair) -> Iterator[None]:
    """The second endpoint's end is polled by a thread that has its turn after everybody's."""
    pair.in_sysfs(f"echo 1 > /sys/class/net/{pair.peer}/threaded")
    allowed = os.sched_getaffinity(0)
    one = {min(allowed)}
    (poller,) = poll_threads(pair.peer)
    os.sched_setaffinity(poller, one)
    os.sched_setscheduler(poller, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(0, one)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def poll_threads(interface: str) -> list[int]:
    """Kernel threads that poll interfaces of that name, newest namespace only."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            if comm.read_text().startswith(f"napi/{interface}-"):
                found.append(int(comm.parent.name))
    return found


def test_frames_for_which_a_processors_backlog_has_no_room_are_counted(
    pair: Pair, verdicts: Path
) -> None:
    """As it is without more: what an endpoint is given is queued by processor. Here by another
    one, which takes its time.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        pytest.skip("needs two processors")
    with libbpf.Object.open(verdicts) as opened:
        opened.load()
        program = opened.program_fd("dawdle")
    with entered(pair.netns(12)):
        link = libbpf.create_tc_link(program, socket.if_nametoindex(pair.peer))
    pair.in_sysfs(f"echo {1 << allowed[1]:x} > /sys/class/net/{pair.peer}/queues/rx-0/rps_cpus")
    os.sched_setaffinity(0, allowed[:1])
    try:
        with program, link:
            pair.send(4 * BACKLOG)
    finally:
        os.sched_setaffinity(0, allowed)
    lost = pair.lost()
    print(lost)
    assert list(lost) == [(pair.name, "queue_full")]
    assert 0 < lost[pair.name, "queue_full"] < 4 * BACKLOG


def test_frames_for_which_an_endpoints_queue_has_no_room_are_counted(pair: Pair) -> None:
    """Without segmentation offloads of the host's side the other end is polled, and has a queue."""
    netns = NETNS / pair.world.place.name("host")
    command("nsenter", f"--net={netns}", "--", "ethtool", "-K", pair.name, "tso", "off")
    sent = 4 * QUEUE
    with idle_poller(pair):
        pair.send(sent)
    lost = pair.lost()
    print(lost)
    assert list(lost) == [(pair.name, "queue_full")]
    assert 0 < lost[pair.name, "queue_full"] < sent


def test_a_guest_that_is_not_there_or_does_not_listen_loses_its_frames(place: Place) -> None:
    pair = Pair(place, {"web-12": {"tap": {"name": "tap-12"}}})
    pair.send(3)
    assert pair.lost() == {("tap-12", "redirect_enolink"): 3}
    tap = os.open("/dev/net/tun", os.O_RDWR)
    try:
        request = struct.pack("16sH22x", b"tap-12", 0x1002)  # IFF_TAP, IFF_NO_PI
        fcntl.ioctl(tap, 0x400454CA, request)  # TUNSETIFF
        pair.ip("link", "set", "tap-12", "up")
        wait_until(lambda: "LOWER_UP" in place.ip("host", "link", "show", "tap-12"))
        sent = 4 * int(re.search(r"qlen (\d+)", place.ip("host", "link", "show", "tap-12"))[1])
        pair.send(sent)
        lost = pair.lost()
    finally:
        os.close(tap)
    print(lost)
    assert lost.keys() == {("tap-12", "redirect_enolink"), ("tap-12", "queue_full")}


@pytest.mark.parametrize("where", ["endpoint", "uplink"])
@pytest.mark.parametrize("what", ["XDP", "tc"])
def test_what_a_program_at_the_other_end_drops_is_not_counted(
    pair: Pair, verdicts: Path, where: str, what: str
) -> None:
    """In another namespace, and in this one: the underlay's other end is here. (The kernel runs no
    generic XDP on what was redirected.)
    """
    with libbpf.Object.open(verdicts) as opened:
        opened.load()
        program = opened.program_fd("shoot" if what == "tc" else "drop")
        dropped = opened.map_fd(".bss")
    netns = pair.netns(12) if where == "endpoint" else NETNS / pair.world.place.name("host")
    with entered(netns):
        index = socket.if_nametoindex(pair.peer if where == "endpoint" else "far0")
        if what == "tc":
            link = libbpf.create_tc_link(program, index)
        else:
            link = libbpf.create_xdp_link(program, index, DRIVER)
    with program, link:
        pair.send(10, target="10.0.1.12" if where == "endpoint" else "10.0.1.50")
        count = elements.lookup(dropped, bytes(4), 8)
    assert count is not None
    assert int.from_bytes(count, "little") >= 10
    assert pair.lost() == {}


def test_each_mode_hears_its_own_tracepoints(pair: Pair) -> None:
    """kfree_skb only where tc redirects: it sees whatever this kernel drops."""
    pins, notes = pair.world.place.pins, []
    for mode, expected in (("native", TRACEPOINTS), ("tc", ["kfree_skb"])):
        desired = pair.wanted(mode)
        for report in pair.world.settle(desired):
            assert report.done, report.failures
            notes += report.notes
        assert pair.world.converged(desired)
        assert list(pins.names(Pinned.TRACEPOINT)) == expected
    assert notes == []
    pair.ip("link", "set", pair.name, "down")
    pair.send(1)
    assert pair.lost() == {(pair.name, "redirect_enetdown"): 1}


def test_a_kernel_without_the_tracepoint_forwards_all_the_same_and_says_so_once(
    pair: Pair, tmp_path: Path
) -> None:
    elf, other, world = object_path("drops_tc").read_bytes(), tmp_path / "drops_tc", pair.world
    other.write_bytes(elf.replace(b"tp_btf/kfree_skb", b"tp_btf/kfree_odd"))
    paths = {"drops_tc": other}
    world.config = replace(
        world.config, object_path=lambda name: paths.get(name, object_path(name))
    )
    world.restart()
    (report,) = world.settle(pair.desired)
    (note,) = report.notes
    assert note.startswith("program drops_tc is not attached to all tracepoints: kfree_odd: ")
    assert world.converged(pair.desired)
    pair.send(5)
    assert pair.traffic().reasons["delivered"].packets >= 5
    assert "kfree_odd" in pair.traffic().uncounted


def test_removing_the_host_detaches_everything(pair: Pair) -> None:
    pair.world.datapath.remove()
    assert list(pair.world.place.bpffs.iterdir()) == []


def test_the_kernel_names_its_reasons_itself() -> None:
    known = kernel_enum("skb_drop_reason")
    (number,) = (each for each, name in known.items() if name == "SKB_DROP_REASON_QDISC_DROP")
    assert reason(KernelDrop.FREED, number, known) == "freed_qdisc_drop"
    assert reason(KernelDrop.FREED, 1 << 16, known) == "freed_reason_65536"
    assert kernel_enum("no_enum_has_this_name") == {}
