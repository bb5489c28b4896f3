"""LastGood: the newest state that passed validation and guards here and converged."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.compile.linger import Kept
from reconciler.compile.state import HostState
from reconciler.plan.guards import Inventory


@dataclass(frozen=True, slots=True)
class LastGood:
    """`revision` is a commit id, or says which file the state was given in. `names` are those of
    all manifests by kind, for the guards. `applied` is the wall's seconds when it last converged
    first. `kept` is what else is enforced for a while, of earlier states, oldest first.
    """

    revision: str
    state: HostState
    names: Inventory | None
    applied: float
    kept: tuple[Kept, ...] = ()
