"""The order of writes, as two small tables: make before break.

A plan stopped after any write leaves no entry that refers to a missing one: what is referred to is
created before what refers to it, and deletions come last, what refers before what is referred to.
Across hosts there is no order.
"""

from __future__ import annotations

INTERFACES, MAPS, PROGRAMS, LINKS = "interfaces (devices)", "maps", "programs", "links"

# An interface comes before everything, because its index is a fact in the rows; a link comes last,
# because from then on packets read the rows. So do maps that are made anew and programs on them:
# they are switched to once their rows are there.
WRITES = (
    INTERFACES,
    "uplinks",
    "uplink_macs",
    "next_hops",
    "hosts",
    "dividers",
    "bouncers",
    "networks",
    "routers",
    "interfaces",
    "endpoints",
    MAPS,
    PROGRAMS,
    LINKS,
)

# The opposite, but for one pair: an interface goes right after its link, not at the very end.
# Between the two, the frames of the endpoint reach the host's own stack unchecked.
DELETIONS = (
    "endpoints",
    LINKS,
    INTERFACES,
    "interfaces",
    "routers",
    "networks",
    "bouncers",
    "dividers",
    "hosts",
    "next_hops",
    "uplink_macs",
    "uplinks",
    PROGRAMS,
    MAPS,
)
