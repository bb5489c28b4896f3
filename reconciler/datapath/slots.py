"""Slots that are in use, read from live tables, and the slots of who is wanted. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from ipaddress import IPv4Address
from typing import TypeVar

import numpy as np

from reconciler.abi.generated import EndpointFlag
from reconciler.abi.table import Table
from reconciler.compile.slots import assign_slots
from reconciler.compile.state import HostState

Owner = TypeVar("Owner", bound=Hashable)


def host_slots(desired: HostState, live: Table, limit: int) -> dict[IPv4Address, int]:
    """A slot for every wanted host; `live` is the table of hosts."""
    wanted = [IPv4Address(each) for each in desired.tables["hosts"].keys["address"].tolist()]
    taken = zip(live.keys["address"].tolist(), live.values["slot"].tolist(), strict=True)
    return _assign(wanted, {IPv4Address(address): slot for address, slot in taken}, limit)


def counter_slots(
    desired: HostState, live: Table, owners: Mapping[int, str], limit: int
) -> dict[str, int]:
    """A slot for every wanted endpoint; `live` is the table of endpoints.

    `owners` are the endpoints of live interfaces, "namespace/name" by interface index.
    """
    taken = counters_in_use(live, owners)
    wanted = sorted(each.endpoint for each in desired.interfaces)
    return _assign(wanted, taken, limit)


def kept_hosts(
    desired: HostState, before: Mapping[IPv4Address, int], limit: int
) -> dict[IPv4Address, int]:
    """The same where `before` are the slots of a moment ago."""
    wanted = [IPv4Address(each) for each in desired.tables["hosts"].keys["address"].tolist()]
    return _assign(wanted, before, limit)


def kept_counters(desired: HostState, before: Mapping[str, int], limit: int) -> Mapping[str, int]:
    """The same where `before` are the slots of a moment ago."""
    wanted = sorted(each.endpoint for each in desired.interfaces)
    if before.keys() == set(wanted):
        return before
    return _assign(wanted, before, limit)


def counters_in_use(live: Table, owners: Mapping[int, str]) -> dict[str, int]:
    """The counter slot of each endpoint that has one."""
    local = live.values[(live.values["flags"] & EndpointFlag.LOCAL) != 0]
    taken: dict[str, int] = {}
    for ifindex, slot in zip(local["ifindex"].tolist(), local["counter"].tolist(), strict=True):
        if ifindex in owners:
            taken.setdefault(owners[ifindex], slot)
    return taken


def fresh_counters(created: Table, live: Table) -> list[int]:
    """Counter slots that no live row uses and that rows of `created` are about to use."""
    used, new = (
        np.unique(each.values["counter"][(each.values["flags"] & EndpointFlag.LOCAL) != 0])
        for each in (live, created)
    )
    return [int(each) for each in np.setdiff1d(new, used)]


def _assign(wanted: list[Owner], taken: Mapping[Owner, int], limit: int) -> dict[Owner, int]:
    """As assign_slots; of those that share a slot, which only damage brings about, one keeps it."""
    ordered = [*(each for each in wanted if each in taken), *taken]
    owners: dict[int, Owner] = {}
    for owner in ordered:
        owners.setdefault(taken[owner], owner)
    return assign_slots(wanted, {owner: slot for slot, owner in owners.items()}, limit)
