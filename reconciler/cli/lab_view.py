"""What `reconciler lab` prints: tables on standard output, progress on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reconciler.cli.common import PATIENCE, note
from reconciler.lab.directory import Member
from reconciler.lab.lab import HostStatus, Progress, Up
from reconciler.lab.reach import Claim

WIDE = 1000  # where no terminal says how wide it is, nothing is wrapped
LISTED = 20  # unexpected claims
MATRIX = 24  # endpoints; above, only what is unexpected is shown


def show(*parts: Table | Text) -> None:
    """Print on standard output: in colour on a terminal, plain and unwrapped elsewhere."""
    out = Console(highlight=False)
    if out.is_terminal:
        out.print(*parts)
        return
    plain = Console(highlight=False, width=WIDE)
    with plain.capture() as captured:
        plain.print(*parts)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


def table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; `right` names the columns of numbers."""
    made = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )
    for each in columns:
        made.add_column(each, justify="right" if each in right else "left", overflow="ellipsis")
    return made


def mark(good: bool) -> Text:
    """Read at a glance, also without colour."""
    return Text("ok", "green") if good else Text("FAILED", "bold red")


@contextmanager
def counting() -> Iterator[Progress]:
    """Shows counts on standard error: in place on a terminal, once a step elsewhere."""
    out = Console(stderr=True, highlight=False)
    if not out.is_terminal:
        yield _steps()
        return
    with out.status("") as shown:
        yield lambda what, done, total: shown.update(f"{what} {done}/{total}")


def _steps() -> Callable[[str, int, int], None]:
    began: dict[str, float] = {}

    def count(what: str, done: int, total: int) -> None:
        started = began.setdefault(what, time.monotonic())
        if done == total and time.monotonic() - started > PATIENCE:
            note(f"{what} {done}/{total}")

    return count


def show_up(name: str, came: Up) -> None:
    """What is up now, and what can be done with it."""
    behind = {each.host for each in came.behind}
    shown = table("", "host", "zone", "underlay", "endpoints", "", right=["endpoints"])
    for each in came.directory.hosts:
        count = sum(point.host == each.name for point in came.directory.endpoints)
        good = Text("foreign") if not each.managed else mark(each.name not in behind)
        shown.add_row(each.name, each.zone, str(each.address()), str(count), good)
    show(shown)
    for zones in came.shared:
        note(f"zones {', '.join(zones)} share one subnet: their underlay addresses are mixed")
    if came.followed.note:
        note(came.followed.note)
    if came.followed.imported:
        print(f"push to {came.followed.path}, branch {came.followed.branch}")
    points = came.directory.endpoints
    if len(points) > 1:
        option = "" if name == "lab" else f" --name {name}"
        first, second = (each.name.replace("/", ".") for each in _neighbours(points))
        print(f"try     reconciler lab exec{option} {first} -- ping -c 3 {second}")


def _neighbours(points: Sequence[Member]) -> tuple[Member, Member]:
    """Two that reach each other, on different hosts if there are any."""
    pairs = [(a, b) for a in points for b in points if a.name < b.name and a.vni == b.vni]
    apart = [(a, b) for a, b in pairs if a.host != b.host]
    return (apart or pairs or [(points[0], points[1])])[0]


def show_status(found: Sequence[HostStatus]) -> None:
    """One row a host."""
    shown = table(
        "", "host", "zone", "underlay", "agent", "commit", "endpoints", "state", right=["endpoints"]
    )
    for each in found:
        shown.add_row(
            each.member.name,
            each.member.zone,
            str(each.member.address()),
            str(each.agent.pid or "-"),
            str(each.agent.status.get("enforced", ""))[:12] or "-",
            f"{each.namespaces}/{each.endpoints}",
            Text(each.summary, "green" if each.converged else "bold red"),
        )
    show(shown)


def show_reach(claims: Sequence[Claim], endpoints: Sequence[Member]) -> None:
    """A matrix of a small lab, counts by VPCs, and every claim that does not hold."""
    if len(endpoints) <= MATRIX:
        show(matrix(claims, endpoints))
        print("# reaches it, . must not and does not, ! is not as it must be; columns as rows\n")
    show(by_vpc(claims))
    show_wrong(claims)


def show_wrong(claims: Sequence[Claim]) -> None:
    """The claims that do not hold, the first of them."""
    broken = [each for each in claims if not each.holds]
    for each in broken[:LISTED]:
        print(f"! {wrong(each)}")
    if len(broken) > LISTED:
        print(f"! and {len(broken) - LISTED} more; -o json has all")


def wrong(claim: Claim) -> str:
    """What is unexpected of a claim."""
    pair = f"{claim.source.name} -> {claim.target.name} ({claim.address})"
    if not claim.expected:
        return f"{pair}: reached, though they are of different VPCs"
    return f"{pair}: {'heard, but no answer came back' if claim.heard else 'not reached'}"


def matrix(claims: Sequence[Claim], endpoints: Sequence[Member]) -> Table:
    """Rows ask, columns are asked."""
    shown = table("", "", "from", *(str(n) for n in range(1, len(endpoints) + 1)), right=[""])
    signs: dict[tuple[str, str], str] = {}
    for each in claims:
        pair = each.source.name, each.target.name
        sign = "!" if not each.holds else "#" if each.expected else "."
        signs[pair] = min(sign, signs.get(pair, sign))  # "!" sorts before "#" and "."
    for number, source in enumerate(endpoints, 1):
        cells = [signs.get((source.name, target.name), " ") for target in endpoints]
        shown.add_row(str(number), source.name, *cells)
    return shown


def by_vpc(claims: Sequence[Claim]) -> Table:
    """How many pairs of each two VPCs were asked and reached."""
    counts: dict[tuple[str, str], list[int]] = {}
    for each in claims:
        asked = counts.setdefault((each.source.vpc, each.target.vpc), [0, 0, 0])
        asked[0] += 1
        asked[1] += each.heard
        asked[2] += not each.holds
    shown = table("", "from VPC", "to VPC", "asked", "reached", "", right=["asked", "reached"])
    for (source, target), (asked_, reached, bad) in sorted(counts.items()):
        shown.add_row(source, target, str(asked_), str(reached), mark(not bad))
    return shown
