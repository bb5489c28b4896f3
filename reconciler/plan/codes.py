"""GUARDS: every code a refused plan can have, with what `reconciler explain` says about it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reconciler.manifest.codes import Code

_FORCE = (
    "Look at the plan. If it is meant, name its digest: `reconciler apply --force DIGEST`; that "
    "allows this plan and no other. If it is not, correct the repository"
)

EMPTY_SOURCE = "GRD1001"
HOST_MISSING = "GRD1002"
KIND_SHARE = "GRD1003"
ROW_SHARE = "GRD1004"
INTERFACE_SHARE = "GRD1005"
CAPACITY = "GRD1006"
UPGRADE = "GRD1007"

GUARDS: Mapping[str, Code] = MappingProxyType(
    {
        EMPTY_SOURCE: Code(
            "Empty source",
            "The commit has no manifests at all, so everything would be deleted. More often than "
            "not the folder or the branch is another than the one that was meant.",
            f"{_FORCE}, or the agent's branch and folder.",
        ),
        HOST_MISSING: Code(
            "Host missing",
            "The commit has no Host of this host's name, so everything here would be deleted.",
            f"{_FORCE}, or the host's name in the agent's configuration. To take a host out of "
            "service, see `reconciler host remove`.",
        ),
        KIND_SHARE: Code(
            "Too many manifests deleted",
            "More than 30 % of the manifests of one kind, from ten up, are gone since the last "
            "commit that was applied here. Manifests are counted by kind, namespace and name: to "
            "move them to other files deletes nothing, to rename them does.",
            f"{_FORCE}, or delete in several commits.",
        ),
        ROW_SHARE: Code(
            "Too many rows deleted",
            "More than 30 % of this host's rows, from ten up, would be deleted. Not counted are "
            "rows that no commit ever wanted, and those of a manifest that the commit still has "
            "but that this host has nothing to do with any more: its role is another's now. Rows "
            "that are kept for other hosts count when the commit comes, not when they end.",
            f"{_FORCE}, or delete in several commits.",
        ),
        INTERFACE_SHARE: Code(
            "Too many interfaces taken away",
            "More than 30 % of the endpoints' interfaces of this host, from ten up, would be "
            "removed or released.",
            f"{_FORCE}, or move them in several commits.",
        ),
        CAPACITY: Code(
            "Map too small",
            "A map has not room enough for what is live and what is new together; new rows are "
            "written before old ones are deleted, so that no packet is lost between.",
            "Delete first, in a commit of its own, or place endpoints and networks on more hosts. "
            "It cannot be forced: the kernel would refuse the write half-way.",
        ),
        UPGRADE: Code(
            "Datapath upgrade",
            "Maps in the kernel are laid out or sized otherwise than this release and "
            "configuration want them. New maps are filled and switched to while packets go on. "
            "Either something that the data plane learned or counted would be lost on the way, as "
            "when a newer release made the maps, or the configuration says `upgrade: asked`. Until "
            "it is done, packets go on, and nothing is written.",
            "Read what would be lost. If that is meant: `reconciler apply --upgrade`. If not, "
            "start the release that made the maps, or give them their capacity back.",
        ),
    }
)
