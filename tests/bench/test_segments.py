"""TCP where segmentation offloads are on: what wire-sized XDP gives away, and attach mode tc keeps.

A veth whose peer runs XDP natively is given no large segments.
"""

from __future__ import annotations

import pytest

from tests.bench.figures import Report
from tests.bench.live import UPLINK, Ours, Vxlan, standing
from tests.bench.traffic import ROUNDS, best, throughput

SIZES = {"ours": "96M", "vxlan": "1G", "tc": "1G", "tc, then XDP": "96M"}  # a second of each, about


class TcThenXdp(Ours):
    """Programs of tc at the sender's host, of XDP at the receiver's.

    XDP loses what the kernel knows of checksums that are still to be written, so the cable has
    them written, and then segments are cut there as well: a card would do both.
    """

    name = "tc, then XDP"

    def cable(self) -> None:
        super().cable()
        self.offloads("h1", UPLINK, rx="on", sg="on", gso="on", gro="on")


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_segmentation_offloads(report: Report) -> None:
    tc, mixed = Ours({1: "tc", 2: "tc"}), TcThenXdp({1: "tc"})
    tc.name = "tc"
    pairs = [Ours(), Vxlan(offloaded=True), tc, mixed]
    with standing(*pairs):
        speeds = best(lambda pair: throughput(pair, SIZES[pair.name]), pairs, max)
    note = f"best of {ROUNDS} interleaved rounds; reference: vxlan, segmentation offloads on"
    for name, what, goal in (
        ("ours", "TCP, XDP at both ends, wire-sized", {}),
        ("tc, then XDP", "TCP, tc at the sender, XDP at the receiver", {}),
        ("tc", "TCP, tc at both ends, large segments", {"at_least": 0.8}),
    ):
        report.add(what, speeds[name], "Gbit/s", reference=speeds["vxlan"], note=note, **goal)
