"""Slots: small numbers that a host gives out, for counters and next hops. They are facts."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Owner = TypeVar("Owner", bound=Hashable)


def assign_slots(
    wanted: Iterable[Owner], taken: Mapping[Owner, int], limit: int
) -> dict[Owner, int]:
    """Who has a slot below `limit` keeps it; the others get the lowest free, in the given order.

    A slot given up just now goes to a new owner only when no other is left, so that what the data
    plane still remembers under it is not taken for the new owner's. Owners beyond the limit get
    none.
    """
    owners = list(dict.fromkeys(wanted))
    kept = {owner: taken[owner] for owner in owners if taken.get(owner, limit) < limit}
    free = _free(kept.values(), set(taken.values()), limit)
    return {
        owner: slot
        for owner in owners
        if (slot := kept[owner] if owner in kept else next(free, limit)) < limit
    }


def _free(kept: Iterable[int], remembered: set[int], limit: int) -> Iterator[int]:
    """Slots nobody has, those nobody had either first."""
    held = set(kept)
    yield from (slot for slot in range(limit) if slot not in remembered)
    yield from sorted(slot for slot in remembered - held if 0 <= slot < limit)
