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
TC = "_tc"  # ends the names of the same programs, compiled for tc
DROPS = "drops"  # forwards nothing: it counts at tracepoints what the kernel drops after a verdict
PATH_SECONDS = 30  # as long as a neighbour entry is trusted without use (RFC 4861, 10)


def programs(host: Host) -> tuple[Program, ...]:
    """Both that forward, with the same constants, and the one at the kernel's tracepoints."""
    constants = zeros(CONSTANTS, 1)
    constants["self"] = int(host.underlay)
    constants["router_mac"] = np.frombuffer(ROUTER_MAC, np.uint8)
    constants["path_seconds"] = PATH_SECONDS
    access, transit, drops = _names(host)
    found = [Program(name, constants.tobytes()) for name in (access, transit)]
    return tuple(sorted([*found, Program(drops, b"")]))


def is_transit(program: str) -> bool:
    """Whether it is the one on the underlay interface."""
    return program.removesuffix(TC) == TRANSIT


def is_access(program: str) -> bool:
    """Whether it is the one on endpoints' interfaces."""
    return program.removesuffix(TC) == ACCESS


def is_drops(program: str) -> bool:
    """Whether it is the one at tracepoints."""
    return program.removesuffix(TC) == DROPS


def _names(host: Host) -> tuple[str, str, str]:
    """Access, transit, drops."""
    suffix = TC if host.attach_mode == AttachMode.TC else ""
    return ACCESS + suffix, TRANSIT + suffix, DROPS + suffix


def links(host: Host, interfaces: Iterable[Interface]) -> tuple[Link, ...]:
    """Transit on the underlay interface, access on the host's side of every endpoint.

    No card stands behind an endpoint's interface, so offload is for the underlay only.
    """
    mode = AttachMode(host.attach_mode)
    inner = AttachMode.NATIVE if mode is AttachMode.OFFLOAD else mode
    access, transit, _ = _names(host)
    found = [Link(each.name, access, inner) for each in interfaces]
    return tuple(sorted([Link(host.interface, transit, mode), *found]))
