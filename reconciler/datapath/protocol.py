"""Datapath: what the loop asks of a host, whether it is the kernel or the fake beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.table import Rows
from reconciler.compile.facts import Facts, Seen
from reconciler.compile.state import HostState, Link
from reconciler.plan.diff import Counts
from reconciler.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that was not, or not wholly, carried out. `again`: the next round may succeed."""

    step: str  # "table hosts", "interface rv0123456789a", "link eth0", "program access"
    reason: str
    again: bool

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.step}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """What one apply did. `written` counts rows and items, named as in Diff.counts_by_kind.

    Everything written was read back, and is a failure if it was not found so. `skipped` counts the
    writes that were not tried, because what they refer to could not be written.
    """

    written: Mapping[str, Counts] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    skipped: int = 0
    notes: tuple[str, ...] = ()  # what an operator should hear: an attachment that fell back

    @property
    def counts(self) -> Counts:
        """All writes."""
        return sum(self.written.values(), Counts())

    @property
    def done(self) -> bool:
        """Every step was carried out."""
        return not self.failures

    @property
    def partly(self) -> bool:
        """Something was written, and something was not."""
        return bool(self.failures) and self.counts.total > 0

    @property
    def hopeless(self) -> bool:
        """Trying again does not help: some failure needs an operator."""
        return any(not each.again for each in self.failures)


@dataclass(frozen=True, slots=True)
class Count:
    """Packets and bytes since the maps were made."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class EndpointTraffic:
    """What an endpoint sent (rx) and received (tx), as its host sees it."""

    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int


@dataclass(frozen=True, slots=True, order=True)
class Lost:
    """Frames that the kernel dropped after our verdict, at the interface that they should have left
    by, or came in on ("gone": one that is no more). `endpoint` is whose it is, or ''.
    """

    interface: str
    endpoint: str
    reason: str  # "redirect_enetdown", "queue_full", ...: bpf/README.md has them
    frames: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """The data plane's counters: by the lower-case name of a reason, by "namespace/name".

    `uncounted` says why not all that the kernel drops is in `lost`; '' if it is. `fallbacks` are
    the interfaces whose program runs in another mode than wanted: which, and why.
    """

    reasons: Mapping[str, Count]
    endpoints: Mapping[str, EndpointTraffic]
    lost: tuple[Lost, ...] = ()
    uncounted: str = ""
    fallbacks: tuple[str, ...] = ()


class Prober(Protocol):
    """Asks other hosts whether their data planes are alive. Used by one thread, not the loop's."""

    health: Rows
    """The live rows of the map `health`, by host slot; writing them writes the map."""

    def now(self) -> int:
        """The clock of `health`, never 0 (enum liveness of bpf/abi.h)."""
        ...

    def aim(self, addresses: NDArray[np.uint32]) -> None:
        """Underlay addresses of those whom send() is about, by row."""
        ...

    def send(self, rows: NDArray[np.intp]) -> None:
        """A probe to each of them; answers show in `health`."""
        ...

    def doubt(self, rows: NDArray[np.intp]) -> None:
        """They died: have the MACs of their next hops looked up anew, as routers are replaced."""
        ...

    def tell(self) -> None:
        """Verdicts changed: what the data plane decided about flows is stale."""
        ...

    def replaced(self) -> bool:
        """Whether the data plane uses another map by now: close, and open again."""
        ...

    def close(self) -> None:
        """Let go of map and sockets; what stands in `health` stays."""
        ...


Stopping = Callable[[], bool]


def never() -> bool:
    """Nobody asks to stop."""
    return False


class Datapath(Protocol):
    """One host. Every method may raise HostError (an operator is needed) or TransientError."""

    def facts(self, desired: HostState, seen: Seen | None = None) -> Facts:
        """What only this host knows, as far as `desired` asks for it. Changes nothing of ours.

        With `seen` only what that lacks is read, at the cost of what is new in `desired`.
        """
        ...

    def read(self) -> HostState:
        """What the host holds. Changes nothing."""
        ...

    def fingerprint(self) -> bytes:
        """Of all rows in owned maps, at a fraction of what read() costs. Changes nothing.

        Another one says that somebody wrote, the same that nobody did; it means nothing else.
        """
        ...

    def glance(self, known: HostState, interfaces: Set[str]) -> HostState:
        """`known`, but these interfaces and their links as they are now. Changes nothing."""
        ...

    def apply(self, plan: Plan, stopping: Stopping = never) -> Report:
        """Carry out the steps in order. Nothing is written if a map is too small for them.

        `stopping` is asked before each step; what is left then may be tried again.
        """
        ...

    def traffic(self) -> Traffic:
        """The data plane's counters."""
        ...

    def prober(self, own: IPv4Address) -> Prober:
        """Open what probing other hosts from `own`, the underlay address of this one, needs."""
        ...

    def remove(self) -> None:
        """Take links, programs, maps and our interfaces off this host. Twice is once."""
        ...


def fallbacks(live: Iterable[Link]) -> tuple[str, ...]:
    """The links that run in another mode than wanted, and why."""
    return tuple(f"{each.interface} {each.fallback}" for each in live if each.fallback)
