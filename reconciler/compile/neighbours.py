"""Neighbours: the other hosts that a host may send packets to, from its bound state. Pure.

The agent probes those that tables name (bouncers, dividers, hosts of endpoints), and of the others
those from which a direct path was learned lately.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import EndpointFlag, HostFlag
from reconciler.compile.state import HostState

HOST = "Host "  # begins the origins of hosts


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """One row for each other host that runs the programs, by slot, ascending.

    `named`: tables of this host name it. `own` is this host's underlay address.
    """

    own: IPv4Address
    slots: NDArray[np.uint16]
    addresses: NDArray[np.uint32]
    names: tuple[str, ...]
    named: NDArray[np.bool_]

    def same(self, other: Neighbours | None) -> bool:
        """Whether there is nothing new in `other`."""
        return (
            other is not None
            and self.own == other.own
            and self.names == other.names
            and bool(np.array_equal(self.slots, other.slots))
            and bool(np.array_equal(self.addresses, other.addresses))
            and bool(np.array_equal(self.named, other.named))
        )


def neighbours(state: HostState) -> Neighbours | None:
    """Those of a bound state; None while it does not know its own address."""
    hosts = state.tables["hosts"]
    flags = hosts.values["flags"]
    mine = hosts.keys["address"][flags & HostFlag.SELF != 0]
    if not len(mine):
        return None
    others = np.flatnonzero(flags & (HostFlag.SELF | HostFlag.FOREIGN) == 0)
    others = others[np.argsort(hosts.values["slot"][others])]
    slots = hosts.values["slot"][others].astype(np.uint16)
    addresses = hosts.keys["address"][others].astype(np.uint32)
    named = np.zeros(1 << 16, np.bool_)
    for each in _slots(state):
        named[each] = True
    texts = [state.origins[each] if each >= 0 else "" for each in hosts.origins[others].tolist()]
    names = tuple(
        text.removeprefix(HOST) or str(IPv4Address(address))
        for text, address in zip(texts, addresses.tolist(), strict=True)
    )
    return Neighbours(IPv4Address(int(mine[0])), slots, addresses, names, named[slots])


def _slots(state: HostState) -> Iterator[NDArray[np.uint16]]:
    """Every host slot that a packet may be sent to because a table says so."""
    rows = state.tables["endpoints"].values
    remote = rows["flags"] & (EndpointFlag.LOCAL | EndpointFlag.GATEWAY) == 0
    yield rows["host_slot"][remote]
    for name in ("bouncers", "dividers"):
        rows = state.tables[name].values
        used = np.arange(rows["host"].shape[1]) < rows["count"][:, np.newaxis]
        yield rows["host_slot"][used]
