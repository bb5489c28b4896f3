"""What an intruder, or a bug, would do: overwrite a row of a live map; how it is found and healed.

The only place in the lab that writes to a map, on purpose behind the agent's back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from reconciler.abi.generated import MAPS, Generation
from reconciler.compile.check import fill_check
from reconciler.datapath import elements, libbpf, tables
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
        while not row.healed(intact) and time.monotonic() < began + patience:
            time.sleep(0.005)
        healed = time.monotonic()
        good = row.healed(intact)
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
        self._map, self._generations = _map(pins, spec.name), _map(pins, "generations")
        self._dtype = spec.value.dtype
        self._key = np.zeros(1, spec.key.dtype)
        self._key["vni"] = member.vni
        self._key["address"] = np.frombuffer(packed(member.address(4)), np.uint8)
        self._misled: bytes | None = None

    def value(self) -> bytes | None:
        """As it is now."""
        return elements.lookup(self._map, self._key.tobytes(), self._dtype.itemsize)

    def mislead(self) -> None:
        """Send the endpoint's packets elsewhere, at once, in a row that the programs believe."""
        value = np.frombuffer(self.value() or bytes(self._dtype.itemsize), self._dtype).copy()
        value["ifindex"] = LOOPBACK
        elements.update(self._map, self._key.tobytes(), fill_check(self._key, value).tobytes())
        tables.tell_written(self._generations)
        self._misled = self._written()

    def healed(self, intact: bytes | None) -> bool:
        """Whether it is as before, and the programs look at it again."""
        return self._written() != self._misled and self.value() == intact

    def _written(self) -> bytes | None:
        return elements.lookup(self._generations, Generation.WRITTEN.to_bytes(4, "little"), 8)


def _map(pins: Pins, name: str) -> libbpf.Fd:
    found = pins.get(Pinned.MAP, name)
    if found is None:
        raise LabError(f"{pins.path(Pinned.MAP, name)}: there is no such map")
    return found
