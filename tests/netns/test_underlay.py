"""What is on the wire between hosts, as tcpdump sees it and tshark decodes it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.abi.generated import Stage, Wire
from reconciler.lab.transfer import transfer
from tests.netns.conftest import Cloud

LAYERS = ("ip", "udp", "tcp")  # of ICMP tshark always verifies checksums
FIELDS = (
    *(
        "ip.src",
        "ip.dst",
        "ip.ttl",
        "ip.dsfield",
        "ip.flags.df",
        "udp.srcport",
        "udp.dstport",
        "udp.checksum",
        "geneve.vni",
    ),
    *("geneve.option.class", "geneve.option.type", "frame.protocols", "_ws.malformed"),
    *("_ws.expert.severity", "ip.checksum.status", "tcp.checksum.status", "icmp.checksum.status"),
    *("udp.checksum.status", "icmpv6.checksum.status", "ipv6.dst", "tcp.len"),
)
GOOD, ABSENT = "1", "3"  # of a checksum's status; absent is the zero of the outer UDP
WARNING = 0x600000  # severity of an expert message; below are notes, such as of a new connection
Packet = dict[str, list[str]]  # a field's values, from the outermost layer to the innermost


class Capture:
    """What passes a switch's port of a host: XDP sends past the host's own packet sockets."""

    def __init__(self, cloud: Cloud, file: Path) -> None:
        self.cloud, self.file = cloud, file

    @contextmanager
    def of(self, host: str) -> Iterator[None]:
        """Runs while the block does."""
        device = ["-i", f"h.{host}", "-B", "16384"]
        command = ["tcpdump", "-U", "--immediate-mode", *device, "-w", str(self.file)]
        inside = ["nsenter", f"--net={self.cloud.lab.places.router}", "--", *command]
        with subprocess.Popen(inside, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr
                while "listening on" not in (line := process.stderr.readline()):
                    assert line, "tcpdump ended"
                yield
                time.sleep(0.3)
            finally:
                process.terminate()
                _, said = process.communicate()
            assert "0 packets dropped by kernel" in said

    def packets(self, wanted: str) -> list[Packet]:
        """What tshark makes of the frames that its display filter `wanted` lets through."""
        checks = [word for each in LAYERS for word in ("-o", f"{each}.check_checksum:TRUE")]
        # A full window is the ends' affair, and no fault of the tunnel.
        checks += ["-o", "tcp.analyze_sequence_numbers:FALSE"]
        fields = [word for each in FIELDS for word in ("-e", each)]
        command = ["tshark", "-n", "-r", str(self.file), "-Y", wanted, *checks, "-T", "fields"]
        done = subprocess.run(
            [*command, "-E", "separator=|", "-E", "aggregator=;", *fields],
            capture_output=True,
            text=True,
            check=True,
        )
        rows = (line.split("|") for line in done.stdout.splitlines())
        return [
            {name: value.split(";") for name, value in zip(FIELDS, row, strict=True) if value}
            for row in rows
        ]

    def path(self, wanted: str) -> list[tuple[str, str]]:
        """(outer source, outer destination) as names of hosts, in order."""
        names = {str(each.address()): each.name for each in self.cloud.came.directory.hosts}
        return [(names[p["ip.src"][0]], names[p["ip.dst"][0]]) for p in self.packets(wanted)]


@pytest.fixture
def capture(cloud: Cloud, tmp_path: Path) -> Capture:
    return Capture(cloud, tmp_path / "capture.pcap")


def assert_well_formed(packets: list[Packet], vni: int) -> None:
    assert packets
    for each in packets:
        assert "_ws.malformed" not in each, each
        assert all(int(s) < WARNING for s in each.get("_ws.expert.severity", [])), each
        assert each["frame.protocols"][0].startswith("eth:ethertype:ip:udp:geneve:eth:"), each
        assert each["udp.dstport"][0] == str(int(Wire.PORT))
        assert each["geneve.vni"] == [f"0x{vni:06x}"]
        assert each["geneve.option.class"] == [f"0x{Wire.OPTION_CLASS:04x}"]
        assert (each["udp.checksum"][0], each["ip.flags.df"][0]) == ("0x0000", "1")
        assert each["udp.checksum.status"] == [ABSENT]
        for layer in ("ip", "tcp", "icmp", "icmpv6"):
            assert set(each.get(f"{layer}.checksum.status", [GOOD])) == {GOOD}, each


@pytest.mark.parametrize("version", [4, 6])
def test_tunnelled_tcp_is_well_formed_geneve_with_right_checksums(
    cloud: Cloud, capture: Capture, version: int
) -> None:
    ends = cloud.member("red.l1"), cloud.member("red.l2")
    with capture.of("alpha"):
        done = transfer(ends[0].netns, ends[1].netns, ends[1].address(version), 1 << 17)
    assert not done.error
    packets = capture.packets("geneve && tcp")
    assert_well_formed(packets, 1001)
    assert sum(int(each["tcp.len"][-1]) for each in packets) >= 1 << 17


@pytest.mark.parametrize("version", [4, 6])
def test_relayed_packets_are_well_formed_geneve(
    cloud: Cloud, capture: Capture, version: int
) -> None:
    """Nobody has the address, so nothing is learned and every packet goes by the relays."""
    target = {4: "10.0.2.99", 6: "2001:db8:2::99"}[version]
    with capture.of("alpha"):
        cloud.ping("red.l1", target, count=3)
    packets = [
        p for p in capture.packets("geneve") if target in (*p["ip.dst"], *p.get("ipv6.dst", ()))
    ]
    assert_well_formed(packets, 1001)
    stages = {int(each["geneve.option.type"][0], 0) & 7 for each in packets}
    assert Stage.BOUNCER in stages


@pytest.mark.parametrize("traffic_class", [0xB8, 0x2A, 0x03])
def test_the_class_of_a_packet_is_seen_on_the_underlay(
    cloud: Cloud, capture: Capture, traffic_class: int
) -> None:
    with capture.of("alpha"):
        assert cloud.ping("red.l1", "red.l2", "-Q", str(traffic_class)) == 3
    packets = capture.packets(f"geneve && icmp && ip.dsfield == {traffic_class}")
    assert len(packets) >= 3
    for each in packets:
        assert {int(text, 0) for text in each["ip.dsfield"]} == {traffic_class}
        assert int(each["ip.ttl"][0]) in range(60, 65)


def test_the_second_packet_goes_straight_to_the_host(cloud: Cloud, capture: Capture) -> None:
    with capture.of("alpha"):
        assert cloud.ping("quiet.l1", "quiet.l2", "-i0.3", count=2) == 2
    request, _, second, answer = capture.path("geneve && icmp")
    assert request[0] == "alpha"
    assert request[1] in ("relay-a", "relay-b")
    assert (second, answer) == (("alpha", "bravo"), ("bravo", "alpha"))


def test_between_networks_only_the_first_packet_passes_a_divider(
    cloud: Cloud, capture: Capture
) -> None:
    relays = ("relay-a", "relay-b")
    before = sum(cloud.reasons(each)["divided"] for each in relays)
    with capture.of("alpha"):
        assert cloud.ping("quiet.l1", "quiet.o1", "-i0.3", count=3) == 3
    assert sum(cloud.reasons(each)["divided"] for each in relays) > before
    path = capture.path("geneve && icmp")
    assert path[-2:] == [("alpha", "bravo"), ("bravo", "alpha")]


def test_the_underlays_own_traffic_is_untouched(cloud: Cloud, capture: Capture) -> None:
    alpha, bravo = cloud.member("alpha"), cloud.member("bravo")
    with capture.of("alpha"):
        assert cloud.ping("alpha", "bravo", count=3) == 3
        assert not transfer(alpha.netns, bravo.netns, bravo.address(), 1 << 16).error
    assert len(capture.packets("icmp && !geneve")) == 6
    assert sum(int(each["tcp.len"][0]) for each in capture.packets("tcp && !geneve")) >= 1 << 16


def test_arp_of_endpoints_never_reaches_the_wire(cloud: Cloud, capture: Capture) -> None:
    with capture.of("alpha"):
        cloud.run("red.l1", "ip", "neigh", "flush", "dev", "eth0")
        assert cloud.ping("red.l1", "red.l2", count=2) == 2
    assert not capture.packets("geneve && arp")
    assert not capture.packets("arp.src.proto_ipv4 == 10.0.0.0/16")
