"""SharedDatapath: one datapath for the loop and for whoever asks for counters, a call at a time."""

from __future__ import annotations

import threading
from collections.abc import Set
from ipaddress import IPv4Address

from reconciler.compile.facts import Facts, Seen
from reconciler.compile.state import HostState
from reconciler.datapath.protocol import Datapath, Prober, Report, Stopping, Traffic, never
from reconciler.plan.plan import Plan


class SharedDatapath:
    """A Datapath that threads may share: each call has it to itself."""

    def __init__(self, datapath: Datapath) -> None:
        self._datapath = datapath
        self._lock = threading.Lock()

    def facts(self, desired: HostState, seen: Seen | None = None) -> Facts:
        """See Datapath."""
        with self._lock:
            return self._datapath.facts(desired, seen)

    def read(self) -> HostState:
        """See Datapath."""
        with self._lock:
            return self._datapath.read()

    def fingerprint(self) -> bytes:
        """See Datapath."""
        with self._lock:
            return self._datapath.fingerprint()

    def glance(self, known: HostState, interfaces: Set[str]) -> HostState:
        """See Datapath."""
        with self._lock:
            return self._datapath.glance(known, interfaces)

    def apply(self, plan: Plan, stopping: Stopping = never) -> Report:
        """See Datapath."""
        with self._lock:
            return self._datapath.apply(plan, stopping)

    def traffic(self) -> Traffic:
        """See Datapath."""
        with self._lock:
            return self._datapath.traffic()

    def prober(self, own: IPv4Address) -> Prober:
        """See Datapath; it waits for nobody."""
        return self._datapath.prober(own)

    def remove(self) -> None:
        """See Datapath."""
        with self._lock:
            self._datapath.remove()
