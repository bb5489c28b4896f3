"""What an intruder, or a bug, would do: overwrite a row of a live map; how it is found and healed.

The only place in the lab that writes to a map, on purpose behind the agent's back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from reconciler.abi.generated import MAPS
from reconciler.compile.check import fill_check
from reconciler.datapath import libbpf
from reconciler.datapath.pins import Pinned, Pins
from reconciler.lab.demo import Heard
from reconciler.lab.directory import Member
from reconciler.lab.echo import Stream
from reconciler.lab.lab import Lab
from reconciler.lab.layout import LabError
from reconciler.model.topology import packed

LOOPBACK = 1


@dataclass(frozen=True, slots=True)
class Healed:
    """A row that was overwritten; seconds until it was as before, infinity for never.

    `found` is what the agent counted as drift, `ping` counts from the healing on.
    """

    host: str
    row: str
    seconds: float
    found: int
    ping: Heard


def damage_and_heal(lab: Lab, source: Member, target: Member, patience: float = 30.0) -> Healed:
    """Overwrite the target's row on its host, under a running ping, and wait for the agent."""
    before = _drift(lab, target.host)
    row = _Row(Pins(lab.places.bpffs, target.host), target)
    intact = row.value()
    with Stream(source.netns, target.address(4)) as ping:
        time.sleep(0.5)
        row.mislead()
        began = time.monotonic()
        while row.value() != intact and time.monotonic() < began + patience:
            time.sleep(0.005)
        healed = time.monotonic()
        good = row.value() == intact
        time.sleep(0.5)
        ping.stop()
    limit = time.monotonic() + 5.0
    while _drift(lab, target.host) == before and time.monotonic() < limit:
        time.sleep(0.05)
    return Healed(
        target.host,
        f"endpoints[{target.vni}, {target.address(4)}]",
        healed - began if good else float("inf"),
        _drift(lab, target.host) - before,
        Heard.of(source, target, ping.samples, healed),
    )


def _drift(lab: Lab, host: str) -> int:
    """How many differing rows the host's agent has found so far."""
    return int(lab.agents.view(host).status.get("drift", {}).get("found", 0))


class _Row:
    """A live row of `endpoints`, by hand."""

    def __init__(self, pins: Pins, member: Member) -> None:
        spec = MAPS["endpoints"]
        found = pins.get(Pinned.MAP, spec.name)
        if found is None:
            raise LabError(f"{pins.path(Pinned.MAP, spec.name)}: there is no such map")
        self._map, self._dtype = found, spec.value.dtype
        self._key = np.zeros(1, spec.key.dtype)
        self._key["vni"] = member.vni
        self._key["address"] = np.frombuffer(packed(member.address(4)), np.uint8)

    def value(self) -> bytes | None:
        """As it is now."""
        return libbpf.lookup(self._map, self._key.tobytes(), self._dtype.itemsize)

    def mislead(self) -> None:
        """Send the endpoint's packets elsewhere, in a row that the programs believe."""
        value = np.frombuffer(self.value() or bytes(self._dtype.itemsize), self._dtype).copy()
        value["ifindex"] = LOOPBACK
        libbpf.update(self._map, self._key.tobytes(), fill_check(self._key, value).tobytes())
