"""Who reaches whom: what the manifests promise, and what real packets say.

Pings everybody's addresses from everybody, and listens everywhere meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.datapath.netlink import netns_exists
from reconciler.lab.directory import Member
from reconciler.lab.echo import Reached, ask_everywhere
from reconciler.lab.layout import LabError
from reconciler.model.topology import Address

MANY = 100  # endpoints; of more, so many are chosen


@dataclass(frozen=True, slots=True)
class Claim:
    """`expected`: target hears source's echo request to `address`, and answers."""

    source: Member
    target: Member
    address: Address
    expected: bool
    heard: bool
    answered: bool

    @property
    def holds(self) -> bool:
        """An answer to an address that another tenant uses too is nobody's fault; hearing it is."""
        return self.heard == self.expected and (self.answered or not self.expected)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "source": self.source.name,
            "target": self.target.name,
            "address": str(self.address),
            "expected": self.expected,
            "heard": self.heard,
            "answered": self.answered,
            "holds": self.holds,
        }


def expected(source: Member, target: Member) -> bool:
    """Endpoints of one VPC reach one another; those of two never do."""
    return source.vni == target.vni


def choose(endpoints: Sequence[Member], limit: int) -> list[Member]:
    """At most `limit` of them, evenly spread over the sorted names."""
    if len(endpoints) <= limit:
        return list(endpoints)
    return [endpoints[number * len(endpoints) // limit] for number in range(limit)]


def check(endpoints: Sequence[Member]) -> list[Claim]:
    """A claim for every ordered pair and each address of the target that the source could ask."""
    if missing := [each.name for each in endpoints if not netns_exists(each.netns)]:
        raise LabError(f"not there yet: {', '.join(missing)}; `lab status` says why")
    namespaces = sorted({each.netns for each in endpoints})
    position = {name: number for number, name in enumerate(namespaces)}
    pairs = [
        (source, target, address)
        for source in endpoints
        for target in endpoints
        if source is not target
        for address in target.addresses
        if address not in source.addresses
        and any(own.version == address.version for own in source.addresses)
    ]
    asked = sorted({(source.netns, address) for source, _, address in pairs}, key=str)
    questions = [(position[netns], address) for netns, address in asked]
    outcome = dict(zip(asked, ask_everywhere(namespaces, questions), strict=True))
    return [
        _claim(source, target, address, outcome[source.netns, address], position[target.netns])
        for source, target, address in pairs
    ]


def _claim(
    source: Member, target: Member, address: Address, outcome: Reached, position: int
) -> Claim:
    return Claim(
        source,
        target,
        address,
        expected(source, target),
        position in outcome.heard,
        outcome.answered,
    )
