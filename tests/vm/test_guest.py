"""A virtual machine on a tap talks to a container of another host, and is reached back."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    "no header": ("vnet_hdr=off", ""),
    "no transmit offloads": ("vnet_hdr=on", OFF),
    "all offloads": ("vnet_hdr=on", ""),
}
WAYS = (("native", "no header"), ("native", "no transmit offloads"), ("tc", "all offloads"))


@pytest.fixture
def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, list[Host]]]:
    """Two converged hosts on one cable, a tap on the left, a container on the right."""
    place, made = Place(), []
    try:
        left, right, _ = (place.netns(each) for each in (*HOSTS, "box"))
        with right.open("rb") as other, entered(left), IPRoute() as route:
            peer = {"ifname": "up0", "net_ns_fd": other.fileno()}
            route.link("add", ifname="up0", kind="veth", peer=peer)
        for number, netns in enumerate((left, right), 1):
            with entered(netns):
                plug(f"192.168.7.{number}")
        (tmp_path / "repository").mkdir()
        text = MANIFESTS.format(mac=MAC, box=place.name("box"), mode=request.param)
        states = commit(tmp_path / "repository", text)
        made = [Host(place, name, states[HostName(name)]) for name in HOSTS]
        for _ in range(100):
            if sum(host.round() for host in made) == 0 and not waiting(made):
                break
        yield place, made
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


def card(netdev: str, device: str) -> tuple[str, ...]:
    """qemu's arguments."""
    tap = f"tap,id=n0,ifname=tap-vm,script=no,downscript=no,{netdev}"
    virtio = f"virtio-net-pci,netdev=n0,mac={MAC},host_mtu={MTU}"
    return "-netdev", tap, "-device", ",".join(each for each in (virtio, device) if each)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("hosts", "way"), WAYS, indirect=["hosts"])
def test_a_guest_on_a_tap_and_a_container_reach_each_other(
    hosts: tuple[Place, list[Host]], tmp_path: Path, way: str
) -> None:
    lacking = missing_tools()
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    place, (left, _) = hosts
    _, live = left.states()
    tap = next(each for each in live.links if each.interface == "tap-vm")
    assert not tap.fallback, "runs as it was wanted"
    talker = f".venv/bin/python tests/vm/talker.py {VM}/24 10.1.0.1 {BOX} {PORT}"

    def start() -> Guest:
        scratch, netns = tmp_path / "initrd", NETNS / place.name("left")
        arguments = card(*CARDS[way])
        return boot(talker, scratch, seconds=400, memory=1024, card=arguments, netns=netns)

    box = NETNS / place.name("box")
    with inside(box, listen) as server, ThreadPoolExecutor() as pool:
        server_thread = threading.Thread(target=serve, args=(server,), daemon=True)
        server_thread.start()
        running = pool.submit(start)
        server_thread.join(350)  # the guest has sent all
        assert not server_thread.is_alive() or running.result().console
        answered = ping(place)
        inside(box, call)
        guest = running.result()
    assert guest.code == 0, guest.console[-4000:]
    assert answered == 3
    left_to_card = "on" if way == "all offloads" else "off"
    for line in (f"card mtu {MTU}", f"card tx-checksumming: {left_to_card}", "3 received"):
        assert line in guest.console
