"""An endpoint behind a foreign tunnel end, a userspace Open vSwitch, and endpoints of ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from reconciler.lab import netns
from reconciler.lab.transfer import transfer
from reconciler.model.topology import Address
from tests.netns.conftest import MODES, Cloud, endpoint, host, in_mode, temporary_lab, tenant
from tests.netns.ovs import Switch, endpoint_mtu

VNI, MAC = 1001, "02:00:00:00:0f:01"
ADDRESSES = ["10.0.1.50", "2001:db8:1::50"]
BEHIND = f"""
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {{name: appliance, namespace: red}}
spec: {{network: left, host: ovs, mac: "{MAC}", addresses: {ADDRESSES}}}
""".replace("'", '"')
OVS = """
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {name: ovs, labels: {zone: b}}
spec: {underlay: 192.168.2.9, managed: false}
"""
FILES = {
    "hosts.yaml": "---".join(
        [
            host("alpha", "192.168.1.1", "a", False),
            host("relay-a", "192.168.1.2", "a", True),
            host("relay-b", "192.168.2.2", "b", True),
            OVS,
        ]
    ),
    "red.yaml": "---".join(
        [
            tenant("red", VNI),
            endpoint("red", "l1", "left", 11, "alpha"),
            endpoint("red", "l2", "left", 12, "relay-a"),
            endpoint("red", "o1", "other", 11, "alpha"),
            BEHIND,
        ]
    ),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """The lab, and the namespace of the endpoint behind the switch."""

    cloud: Cloud
    inside: Path

    def pings(self, target: str, count: int = 3) -> int:
        """How many of its pings were answered."""
        inside = ("nsenter", f"--net={self.inside}", "--")
        done = self.cloud.run("ovs", *inside, "ping", f"-c{count}", "-i0.05", "-W2", target)
        return done.stdout.count("bytes from")

    @staticmethod
    def address(version: int) -> Address:
        return next(a for a in map(ip_address, ADDRESSES) if a.version == version)


@pytest.fixture(scope="module", params=MODES)
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peer]:
    """An Open vSwitch that sends everything to relay-b, a bouncer of the endpoint's network."""
    if shutil.which("ovs-vswitchd") is None:
        pytest.skip("needs Open vSwitch (packages/test.txt)")
    folder = tmp_path_factory.mktemp("ovs")
    with temporary_lab() as lab:
        cloud = Cloud.of(lab, tmp_path_factory.mktemp("cloud"), in_mode(FILES, request.param))
        here = cloud.member("ovs")
        inside = here.netns.with_name(f"{lab.places.router.name}.appliance")
        switch = Switch(here.netns, folder)
        try:
            with switch.running():
                underlay = here.address(4)
                assert isinstance(underlay, IPv4Address)
                switch.take_underlay("eth0", underlay)
                switch.make_tunnel()
                switch.plug(inside, MAC, [f"{ADDRESSES[0]}/24", f"{ADDRESSES[1]}/128"],
                            endpoint_mtu())  # fmt: skip
                switch.connect(VNI, MAC, ADDRESSES, IPv4Address("192.168.2.2"))
                made = Peer(cloud, inside)
                # The switch drops what it sends before it knows its gateway's MAC.
                assert any(made.pings("10.0.1.12", count=1) for _ in range(20))
                yield made
        finally:
            netns.remove(inside)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", ["red.l1", "red.l2", "red.o1"])
def test_ping_passes_both_ways(peer: Peer, name: str, version: int) -> None:
    member = peer.cloud.member(name)
    assert peer.pings(str(member.address(version))) == 3
    assert peer.cloud.ping(name, str(peer.address(version))) == 3


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_passes_both_ways(peer: Peer, version: int) -> None:
    member = peer.cloud.member("red.l1")
    there = transfer(member.netns, peer.inside, peer.address(version), 1 << 20)
    back = transfer(peer.inside, member.netns, member.address(version), 1 << 20)
    assert (there.error, back.error) == ("", "")


def test_full_sized_packets_pass_both_ways(peer: Peer) -> None:
    size = endpoint_mtu() - 28
    done = peer.cloud.ping("red.l1", ADDRESSES[0], "-Mdo", f"-s{size}")
    assert done == 3


def test_a_direct_path_leads_to_the_bouncer_that_stands_for_it(peer: Peer) -> None:
    assert peer.pings("10.0.2.11") == 3
    alpha, relay = peer.cloud.reasons("alpha"), peer.cloud.reasons("relay-b")
    assert peer.cloud.ping("red.o1", ADDRESSES[0], count=5) == 5
    after = peer.cloud.reasons("alpha"), peer.cloud.reasons("relay-b")
    assert after[0]["sent_direct"] - alpha["sent_direct"] >= 5
    assert after[1]["bounced"] - relay["bounced"] >= 5


def test_a_forged_sender_behind_the_switch_is_refused(peer: Peer) -> None:
    """The switch lets it through; the bouncer knows better."""
    before = peer.cloud.reasons("relay-b")["drop_spoofed_address"]
    inside = f"--net={peer.inside}"
    peer.cloud.run("ovs", "nsenter", inside, "ip", "addr", "add", "10.0.1.51/32", "dev", "eth0")
    try:
        done = peer.cloud.run(
            "ovs", "nsenter", inside, "ping", "-c2", "-i0.05", "-W1", "-I10.0.1.51", "10.0.1.11"
        )
    finally:
        peer.cloud.run("ovs", "nsenter", inside, "ip", "addr", "del", "10.0.1.51/32", "dev", "eth0")
    assert "bytes from" not in done.stdout
    assert peer.cloud.reasons("relay-b")["drop_spoofed_address"] - before >= 2
