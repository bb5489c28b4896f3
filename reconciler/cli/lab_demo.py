"""`reconciler lab demo`: the steps of lab/demo.py in order, shown as tables; cleans up always."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.table import Table
from rich.text import Text

from reconciler.cli.common import emit
from reconciler.cli.lab_view import by_vpc, counting, mark, matrix, show, show_wrong, table
from reconciler.lab import reach, repository
from reconciler.lab.change import Change, choose_change
from reconciler.lab.damage import damage_and_heal
from reconciler.lab.demo import Changed, Workspace, push_change
from reconciler.lab.directory import Member
from reconciler.lab.lab import Lab, Up, Wanted
from reconciler.lab.layout import LabError
from reconciler.lab.places import Places
from reconciler.lab.record import locked
from reconciler.lab.transfer import transfer
from reconciler.plan.lines import short
from reconciler.review import render
from reconciler.review.review import review
from reconciler.source.package import PACKAGE

NAME = "demo"
TRANSFER = 16 << 20  # bytes


def run(repo: str) -> bool:
    """The whole demo; whether everything it claims was seen to be so."""
    manifests = Path(repo) if repo else PACKAGE.parent / "sample-repo"
    if not manifests.is_dir():
        raise LabError(f"there is no folder {manifests}; name one with --repo")
    began = time.monotonic()
    print(f"{manifests} on this machine: a namespace per host, real packets, about a minute.")
    with locked(Places("demo-run")), terminated_as_interrupted():
        lab = Lab(NAME)
        if lab.down():
            print("Removed what an earlier demo left behind.")
        demo = Demo(lab, manifests)
        try:
            demo.run()
        finally:
            lab.down()
    held, claims = sum(demo.claims), len(demo.claims)
    print(f"\nAll is removed. {held} of {claims} claims held, {time.monotonic() - began:.0f} s")
    return held == claims


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: after cleaning up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Demo:
    """One run; `claims` says of each claim whether it held."""

    def __init__(self, lab: Lab, manifests: Path) -> None:
        self.lab, self.manifests = lab, manifests
        self.claims: list[bool] = []
        self._steps = 0

    def run(self) -> None:
        """All steps."""
        workspace = self._push()
        came = self._converge(workspace)
        self._reach(came)
        self._transfer(came)
        change = self._change(workspace, came)
        self._heal(change)

    def _step(self, title: str) -> None:
        self._steps += 1
        show(Text(f"\n{self._steps}. {title}\n", "bold cyan"))

    def _claim(self, good: bool) -> Text:
        self.claims.append(good)
        return mark(good)

    def _push(self) -> Workspace:
        self._step(f"An operator pushes {self.manifests.name} to a bare repository")
        run = self.lab.places.run
        run.mkdir(parents=True)
        workspace = Workspace.make(self.manifests, run / "work.d", run / "pushed.git")
        pushed = workspace.push(f"Begin with {self.manifests.name}")
        shown = table("", "commit", "files", "repository")
        files = len(workspace.texts())
        shown.add_row(short(pushed.commit), str(files), str(workspace.bare))
        show(shown)
        return workspace

    def _converge(self, workspace: Workspace) -> Up:
        self._step("Hosts come up as namespaces, each with its own agent, and converge")
        began = time.monotonic()
        with counting() as progress:
            came = self.lab.up(Wanted(str(workspace.bare)), progress)
        spent = time.monotonic() - began
        shown = table(
            "", "host", "zone", "underlay", "endpoints", "map rows", "first round", "converged",
            right=["endpoints", "map rows", "first round"],
        )  # fmt: skip
        behind = {each.host: each.trouble() for each in came.behind}
        for each in self.lab.status():
            if not each.member.managed:
                continue
            history = each.agent.status.get("history", [{}])[0]
            shown.add_row(
                each.member.name,
                each.member.zone,
                str(each.member.address()),
                str(each.endpoints),
                str(sum(each.agent.status.get("rows", {}).values())),
                f"{history.get('milliseconds', math.nan):.0f} ms",
                self._claim(each.member.name not in behind),
            )
        show(shown)
        print(f"{spent:.1f} s from nothing to all hosts converged")
        if behind:
            trouble = "\n".join(f"host {name}: {why}" for name, why in behind.items())
            raise LabError(f"not every host converged\n{trouble}")
        return came

    def _reach(self, came: Up) -> None:
        self._step("Who reaches whom: everybody pings every address, and all listen meanwhile")
        members = reach.choose(came.directory.endpoints, 16)
        claims = reach.check(members)
        show(matrix(claims, members))
        print("# reaches it   . is another tenant's and hears nothing   ! not as it must be\n")
        show(by_vpc(claims))
        self.claims.append(bool(claims) and all(each.holds for each in claims))
        show_wrong(claims)

    def _transfer(self, came: Up) -> None:
        self._step("TCP between hosts, every byte compared")
        shown = table("", "from", "to", "address", "sent", "rate", "", right=["sent", "rate"])
        for source, target in _apart(came.directory.endpoints):
            for address in target.addresses:
                done = transfer(source.netns, target.netns, address, TRANSFER)
                shown.add_row(
                    source.name,
                    target.name,
                    str(address),
                    f"{done.size >> 20} MiB",
                    f"{done.size * 8 / done.seconds / 1e6:.0f} Mbit/s",
                    self._claim(not done.error),
                )
        show(shown)

    def _change(self, workspace: Workspace, came: Up) -> Change:
        head = repository.read(came.followed, "")
        change = choose_change(
            head.topology, head.commit.documents, came.directory, workspace.texts()
        )
        self._step(
            f"A commit adds {change.added.name} on {change.added.host} and moves "
            f"{change.moved.name} from {change.moved_from} to {change.moved.host}, under ping"
        )
        done = push_change(self.lab, workspace, change)
        after = repository.read(came.followed, "")
        emit(render.text(review(head.commit, after.commit)))
        print()
        show(self._times(done))
        print()
        show(self._pings(done))
        for each in done.behind:
            print(f"! host {each.host}: {each.trouble()}")
        return change

    def _times(self, done: Changed) -> Table:
        shown = table("", "from the beginning of the push", "", "", right=[""])
        for what, seconds in (
            ("git push returned", done.push),
            (f"{done.moved.target.name} is up on its new host", done.interface_up),
            (f"{done.added.target.name} answers its first ping", done.first_answer),
            ("every host has converged", done.converged if not done.behind else math.inf),
        ):
            shown.add_row(what, _milliseconds(seconds), self._claim(math.isfinite(seconds)))
        return shown

    def _pings(self, done: Changed) -> Table:
        shown = table(
            "", "ping every 10 ms", "sent", "lost", "counted", "before that, lost", "",
            right=["sent", "lost", "before that, lost"],
        )  # fmt: skip
        for heard, since, before in (
            (done.bystander, "all the time", False),
            (done.moved, "since its new interface is up", True),
            (done.added, "since its first answer", False),
        ):
            shown.add_row(
                f"{heard.source.name} to {heard.target.name}",
                str(heard.sent_since),
                str(heard.lost_since),
                since,
                str(heard.lost - heard.lost_since) if before else "",
                self._claim(heard.sent_since > 0 and heard.lost_since == 0),
            )
        return shown

    def _heal(self, change: Change) -> None:
        target = change.bystanders[1]
        self._step(f"Somebody overwrites a row of a live map on {target.host}")
        done = damage_and_heal(self.lab, change.asker, target)
        shown = table("", "row", "drift found", "healed after", "", right=["drift found"])
        good = done.found > 0 and math.isfinite(done.seconds)
        shown.add_row(done.row, str(done.found), _milliseconds(done.seconds), self._claim(good))
        show(shown)
        print(
            f"\nMeanwhile {change.asker.name} lost {done.ping.lost} of {done.ping.sent} pings to "
            f"{target.name}, and {done.ping.lost_since} since the row was healed."
        )
        self.claims.append(done.ping.lost_since == 0 and done.ping.sent_since > 0)


def _apart(endpoints: tuple[Member, ...]) -> Iterator[tuple[Member, Member]]:
    """For each VPC its first two endpoints on different hosts."""
    seen: set[int] = set()
    for source in endpoints:
        for target in endpoints:
            if source.vni == target.vni and source.host != target.host and source.vni not in seen:
                seen.add(source.vni)
                yield source, target


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if math.isfinite(seconds) else "never"
