"""A virtual machine on a tap talks to a container of another host, and is reached back."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from reconciler.compile.state import HostName
from reconciler.datapath.netlink import inside
from tests.datapath.place import NETNS, Place, entered
from tests.netns.test_spine import Host, commit, plug, waiting
from tests.vm.debian import Guest, boot, missing_tools

MANIFESTS = """
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {{name: left}}
spec: {{underlay: 192.168.7.1, interface: up0, attachMode: {mode}}}
---
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {{name: right}}
spec: {{underlay: 192.168.7.2, interface: up0, attachMode: {mode}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
apiVersion: reconciler/v1alpha1
kind: VPC
metadata: {{name: shop, namespace: shop}}
spec: {{vni: 4097, cidrs: [10.1.0.0/16]}}
---
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {{name: web, namespace: shop}}
spec: {{vpc: shop, cidrs: [10.1.0.0/24]}}
---
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {{name: vm, namespace: shop}}
spec:
  network: web
  host: left
  addresses: [10.1.0.11]
  mac: "{mac}"
  attach: {{tap: {{name: tap-vm}}}}
---
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {{name: box, namespace: shop}}
spec: {{network: web, host: right, addresses: [10.1.0.12], attach: {{veth: {{netns: {box}}}}}}}
"""
HOSTS, MAC, PORT, MTU = ("left", "right"), "02:00:00:00:00:aa", 7000, 1438
VM, BOX = "10.1.0.11", "10.1.0.12"
SIZE = 1 << 19
OFF = "csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off"
# Two ways to have frames whole where XDP sees them: without virtio's header no offload of the
# guest's is negotiated; with it, what it sends and nothing that it receives is refused.
# Programs of tc have frames as qemu makes them.
CARDS = {
    "no header": (False, ""),
    "no transmit offloads": (True, OFF),
    "all offloads": (True, ""),
}
WAYS = (("native", "no header"), ("native", "no transmit offloads"), ("tc", "all offloads"))
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, TUNSETIFF = 2, 0x1000, 0x4000, 0x400454CA
TALKER = f"tests/vm/talker.py eth$n {VM}/24 10.1.0.1 {BOX} {PORT}"
TALKERS = f"""
for n in $(seq 0 $(({{count}} - 1))); do
    ip netns add w$n && ip link set eth$n netns w$n &&
    (ip netns exec w$n .venv/bin/python {TALKER}; echo "exit code $?") >/run/w$n 2>&1 &
done
wait
for n in $(seq 0 $(({{count}} - 1))); do printf "\\n%s\\n" "way $n"; cat /run/w$n; done
"""


@contextmanager
def two_hosts(folder: Path, mode: str) -> Iterator[tuple[Place, Host]]:
    """Two converged hosts on one cable, a tap on the left, a container on the right; the left."""
    place, made = Place(), []
    try:
        left, right, _ = (place.netns(each) for each in (*HOSTS, "box"))
        with right.open("rb") as other, entered(left), IPRoute() as route:
            peer = {"ifname": "up0", "net_ns_fd": other.fileno()}
            route.link("add", ifname="up0", kind="veth", peer=peer)
        for number, netns in enumerate((left, right), 1):
            with entered(netns):
                plug(f"192.168.7.{number}")
        text = MANIFESTS.format(mac=MAC, box=place.name("box"), mode=mode)
        states = commit(folder, text)
        made = [Host(place, name, states[HostName(name)]) for name in HOSTS]
        for _ in range(100):
            if sum(host.round() for host in made) == 0 and not waiting(made):
                break
        yield place, made[0]
    finally:
        for host in made:
            host.remove()
        place.clear()


def serve(server: socket.socket) -> None:
    """Answer one connection with the digest of what it sends."""
    connection, _ = server.accept()
    digest = hashlib.sha256()
    with connection:
        while data := connection.recv(1 << 16):
            digest.update(data)
        connection.sendall(digest.digest())


def listen() -> socket.socket:
    server = socket.create_server((BOX, PORT))
    server.settimeout(400)
    return server


def call() -> None:
    """Send the guest something, once it listens; it must say the right digest."""
    data = os.urandom(SIZE)
    limit = time.monotonic() + 300
    while True:
        try:
            connection = socket.create_connection((VM, PORT), 5)
            break
        except OSError:
            assert time.monotonic() < limit, "the guest does not listen"
            time.sleep(1)
    with connection:
        connection.settimeout(120)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(32) == hashlib.sha256(data).digest()


def ping(place: Place) -> int:
    inside_box = ("nsenter", f"--net={NETNS / place.name('box')}", "--")
    done = subprocess.run(
        [*inside_box, "ping", "-c3", "-W5", VM], capture_output=True, text=True, check=False
    )
    return done.stdout.count("bytes from")


@contextmanager
def opened_tap(netns: Path, header: bool) -> Iterator[int]:
    """The tap as qemu itself opens one, which is in no other namespace than qemu."""
    flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if header else 0)
    tap = inside(netns, lambda: os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
    try:
        request = struct.pack("16sH22x", b"tap-vm", flags)
        inside(netns, lambda: fcntl.ioctl(tap, TUNSETIFF, request))
        yield tap
    finally:
        os.close(tap)


def card(number: int, tap: int, offloads: str) -> tuple[str, ...]:
    """qemu's arguments."""
    virtio = f"virtio-net-pci,netdev=n{number},mac={MAC},host_mtu={MTU}"
    device = ",".join(each for each in (virtio, offloads) if each)
    return "-netdev", f"tap,id=n{number},fd={tap}", "-device", device


@dataclass(frozen=True, slots=True)
class Talk:
    """What became of one way: whether XDP ran as wanted, pings of the guest, and its own words."""

    fallback: bool
    answered: int
    said: str


def converse(place: Place, console: Future[Guest]) -> int:
    """What the container does while the guest talks; how many of its pings were answered."""
    box = NETNS / place.name("box")
    with inside(box, listen) as server:
        heard = threading.Thread(target=serve, args=(server,), daemon=True)
        heard.start()
        heard.join(350)  # the guest has sent all
        assert not heard.is_alive(), console.result().console[-4000:]
        answered = ping(place)
        inside(box, call)
    return answered


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Talk]:
    """One guest with a card for each way, in a namespace of its own there, as here; by way."""
    lacking = missing_tools()
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("guest")
    with ExitStack() as stack, ThreadPoolExecutor(len(WAYS) + 1) as pool:
        places, fallbacks, cards, taps = [], [], [], []
        for number, (mode, way) in enumerate(WAYS):
            (folder / str(number)).mkdir()
            place, left = stack.enter_context(two_hosts(folder / str(number), mode))
            _, live = left.states()
            link = next(each for each in live.links if each.interface == "tap-vm")
            header, offloads = CARDS[way]
            tap = stack.enter_context(opened_tap(left.netns, header))
            places.append(place)
            fallbacks.append(bool(link.fallback))
            cards += card(number, tap, offloads)
            taps.append(tap)
        scratch, command = folder / "initrd", TALKERS.format(count=len(WAYS))
        running = pool.submit(boot, command, scratch, 400, 1024, cards, taps)
        conversing = [pool.submit(converse, place, running) for place in places]
        answered = [each.result() for each in conversing]
        guest = running.result()
    _, *said = re.split(r"^way \d+\r?$", guest.console, flags=re.MULTILINE)
    assert len(said) == len(WAYS), guest.console[-4000:]
    talked = map(Talk, fallbacks, answered, said)
    return {way: talk for (_, way), talk in zip(WAYS, talked, strict=True)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", CARDS)
def test_a_guest_on_a_tap_and_a_container_reach_each_other(
    talks: dict[str, Talk], way: str
) -> None:
    talk = talks[way]
    assert not talk.fallback, "runs as it was wanted"
    assert "exit code 0" in talk.said, talk.said
    assert talk.answered == 3
    left_to_card = "on" if way == "all offloads" else "off"
    for line in (f"card mtu {MTU}", f"card tx-checksumming: {left_to_card}", "3 received"):
        assert line in talk.said
