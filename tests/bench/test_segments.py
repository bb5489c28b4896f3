"""TCP where segmentation offloads are on: what wire-sized XDP gives away, and what tc would keep.

A veth whose peer runs XDP natively is given no large segments. The tc programs are an experiment:
a fixed header on and off, as an upper bound of what programs over the same maps could reach.
"""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from tests.bench.figures import ROOT, Report
from tests.bench.live import SIDES, UPLINK, VXLAN_OVERHEAD, Bare, Ours, Pair, Vxlan, standing
from tests.bench.traffic import ROUNDS, best, throughput
from tests.datapath.place import command

SIZES = {"ours": "96M", "vxlan": "1G", "tc": "1G", "tc, then XDP": "96M"}  # a second of each, about
WAYS = (("ep0", "tc", UPLINK), (UPLINK, "tc/pop", "ep0"))  # interface, section, next interface


def attach_tc(pair: Pair, where: str, interface: str, section: str, target: int) -> None:
    """Put a program of bare_tc.bpf.c where frames of an interface come in."""
    built = ROOT / "build" / f"bare_tc.{pair.place.tag}.bpf.o"
    source = Path(__file__).with_name("bare_tc.bpf.c")
    flags = [f"-I/usr/include/{platform.machine()}-linux-gnu", f"-DTARGET={target}"]
    compiler = ["clang", "-O2", "-g", "-Wall", "-target", "bpf", "-mcpu=v3", *flags]
    subprocess.run([*compiler, "-c", source, "-o", built], check=True)
    namespace = pair.place.name(where)
    command("tc", "-n", namespace, "qdisc", "add", "dev", interface, "clsact")
    add = ("tc", "filter", "add", "dev", interface, "ingress", "bpf", "da")
    command("ip", "netns", "exec", namespace, *add, "obj", built, "sec", section)
    built.unlink()


class Tc(Pair):
    """Programs of bare_tc.bpf.c on both hosts."""

    name = "tc"

    def build(self) -> None:
        """Every frame of an endpoint goes to the other one, large segments whole."""
        self.cable()
        self.plug(1500 - VXLAN_OVERHEAD)
        for side in SIDES:
            mac, other = f"02:00:00:00:00:0{3 - side}", self.addresses[3 - side]
            self.place.ip(f"e{side}", "neigh", "replace", other, "lladdr", mac, "dev", "eth0")
            for interface, section, target in WAYS:
                attach_tc(self, f"h{side}", interface, section, self.index(f"h{side}", target))
        self.ping()


class TcThenXdp(Bare):
    """Such a program at the sender, XDP at the receiver.

    XDP loses what the kernel knows of checksums that are still to be written, so endpoints write
    them, and then they cannot send large segments.
    """

    name = "tc, then XDP"

    def build(self) -> None:
        """Every frame of an endpoint goes to the other one."""
        self.wire()
        for side in SIDES:
            attach_tc(self, f"h{side}", "ep0", "tc", self.index(f"h{side}", UPLINK))
            self.attach(f"h{side}", UPLINK, "pop", self.index(f"h{side}", "ep0"))
        self.ping()


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_segmentation_offloads(report: Report, bare: Path) -> None:
    pairs = [Ours(), Vxlan(offloaded=True), Tc(), TcThenXdp(bare)]
    with standing(*pairs):
        speeds = best(lambda pair: throughput(pair, SIZES[pair.name]), pairs, max)
    note = f"best of {ROUNDS} interleaved rounds; reference: vxlan, segmentation offloads on"
    for name, what in (
        ("ours", "TCP, XDP at both ends, wire-sized"),
        ("tc, then XDP", "TCP, bare tc at the sender, bare XDP at the receiver"),
        ("tc", "TCP, bare tc at both ends, large segments"),
    ):
        report.add(what, speeds[name], "Gbit/s", reference=speeds["vxlan"], note=note)
