"""Work: what has been done so far in enforcing one revision; it survives the error that ends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.agent.report import Cause, Enforced, Result, Stay, Waits
from reconciler.compile.state import HostState
from reconciler.datapath.protocol import Report
from reconciler.plan.diff import Counts
from reconciler.plan.plan import Plan


@dataclass(slots=True)
class Work:
    """Filled while plans are carried out; `ended` makes it final."""

    revision: str
    cause: Cause = Cause.NONE
    drift: int = 0
    changed: dict[str, Counts] = field(default_factory=dict)
    waiting: tuple[Waits, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    text: str = ""
    stay: Stay | None = None

    def saw(self, plan: Plan, live: HostState) -> None:
        """What waits, and what is live by now."""
        self.waiting = tuple(Waits(each.origin, each.fact) for each in plan.waiting)
        self.rows = {name: len(each) for name, each in live.tables.items()}

    def wrote(self, report: Report) -> None:
        """Add what was written."""
        self.notes += tuple(each for each in report.notes if each not in self.notes)
        for name, each in report.written.items():
            self.changed[name] = self.changed.get(name, Counts()) + each

    def ended(self, result: Result, error: str = "", *, hopeless: bool = False) -> Enforced:
        """The end of it."""
        if result is Result.FAILED and self.changed:
            result = Result.PARTLY
        return Enforced(
            self.revision,
            result,
            self.cause,
            self.drift,
            self.changed,
            self.waiting,
            self.rows,
            error,
            hopeless,
            self.notes,
            self.text,
            self.stay,
        )
