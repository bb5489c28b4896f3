"""The programs of a host and where they are attached."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from reconciler.abi.generated import CONSTANTS
from reconciler.abi.table import zeros
from reconciler.compile.state import AttachMode, Interface, Link, Program
from reconciler.model.mac import ROUTER_MAC
from reconciler.model.topology import Host

TRANSIT, ACCESS = "transit", "access"
DROPS = "drops"  # not of XDP: it counts at tracepoints what the kernel drops after a verdict
PATH_SECONDS = 30  # as long as a neighbour entry is trusted without use (RFC 4861, 10)


def programs(host: Host) -> tuple[Program, ...]:
    """Both XDP programs, with the same constants, and the one at the kernel's tracepoints."""
    constants = zeros(CONSTANTS, 1)
    constants["self"] = int(host.underlay)
    constants["router_mac"] = np.frombuffer(ROUTER_MAC, np.uint8)
    constants["path_seconds"] = PATH_SECONDS
    found = [Program(name, constants.tobytes()) for name in (ACCESS, TRANSIT)]
    return tuple(sorted([*found, Program(DROPS, b"")]))


def links(host: Host, interfaces: Iterable[Interface]) -> tuple[Link, ...]:
    """Transit on the underlay interface, access on the host's side of every endpoint.

    No card stands behind an endpoint's interface, so offload is for the underlay only.
    """
    mode = AttachMode(host.attach_mode)
    access = AttachMode.NATIVE if mode is AttachMode.OFFLOAD else mode
    found = [Link(each.name, ACCESS, access) for each in interfaces]
    return tuple(sorted([Link(host.interface, TRANSIT, mode), *found]))
