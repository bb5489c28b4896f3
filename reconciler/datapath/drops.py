"""Rows of the map `drops` -> what the kernel dropped after our verdict, by interface and reason."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from reconciler.abi.generated import KernelDrop
from reconciler.abi.table import Rows
from reconciler.datapath.protocol import Lost

GONE = "gone"  # all interfaces that are no more, together
FREED = "SKB_DROP_REASON_"  # begins the names of enum skb_drop_reason
_ERRORS = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP"}  # Python's name is another
_ACTIONS = ("aborted", "drop", "pass", "tx", "redirect")  # enum xdp_action of linux/bpf.h


def lost(
    keys: Rows,
    values: Rows,
    names: Mapping[int, str],
    owners: Mapping[int, str],
    freed: Callable[[], Mapping[int, str]],
) -> tuple[Lost, ...]:
    """Sorted sums. `names` are interfaces by index, `owners` the endpoints whose they are, and
    `freed` gives the kernel's enum skb_drop_reason; it is called only if there is a use for it.
    """
    known = freed() if (keys["event"] == KernelDrop.FREED).any() else {}
    sums: Counter[tuple[str, str, str]] = Counter()
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        (ifindex, event, error), (frames,) = key, value
        where = names.get(ifindex, GONE), owners.get(ifindex, "")
        sums[*where, reason(event, error, known)] += frames
    return tuple(Lost(*each, frames) for each, frames in sorted(sums.items()))


def reason(event: int, error: int, freed: Mapping[int, str] = MappingProxyType({})) -> str:
    """A name for metrics and people, such as "redirect_enetdown" or "queue_full"."""
    try:
        kind = KernelDrop(event)
    except ValueError:  # of another release
        return f"event_{event}_{error}"
    if kind is KernelDrop.FREED:
        what = freed.get(error, f"reason_{error}").removeprefix(FREED).lower()
    elif kind is KernelDrop.EXCEPTION:
        what = _ACTIONS[error] if error < len(_ACTIONS) else "unknown"
    elif not error:
        what = "full"
    else:
        what = _ERRORS.get(error, f"error_{error}").lower()
    return f"{kind.name.lower()}_{what}"
