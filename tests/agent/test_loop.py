"""The loop on a clock that only the test turns: when it runs a round, and when it does not."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from reconciler.agent.backoff import Backoff
from reconciler.agent.fetch import Fetcher
from reconciler.agent.loop import Agent, Pace
from reconciler.agent.report import Cause, Result, RoundReport, Verdict
from reconciler.agent.round import Ask
from reconciler.agent.wakes import Event, Request, Wake
from reconciler.compile.facts import Device
from reconciler.datapath.errors import HostError, TransientError
from reconciler.source.errors import SourceError
from tests.agent.fake import FakeClock, Machine, damage, raising


@dataclass
class At:
    """Something that happens after so many seconds."""

    seconds: float
    wake: Wake
    first: Callable[[], object] = lambda: None
    request: Request | None = None


@dataclass
class Script:
    """Wakes at given times; after the last one, and `more` seconds, the loop is stopped."""

    clock: FakeClock
    events: Sequence[At]
    more: float = 0.0
    remote: "Remote | None" = None
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.clock.now
        last = max((each.seconds for each in self.events), default=0.0)
        self.events = [*self.events, At(last + self.more, Wake.STOP)]

    def wait(self, seconds: float) -> tuple[Event, ...]:
        """Turns the clock to what comes first: the end of the wait, or the next event."""
        if self.remote and self.remote.news():
            return (Event(Wake.REF, self.clock.now),)
        due = self.start + self.events[0].seconds
        if due > self.clock.now + seconds:
            self.clock.now += max(seconds, 0)
            return ()
        self.clock.now = max(self.clock.now, due)
        each, *self.events = self.events
        each.first()
        return (Event(each.wake, self.clock.now, each.request),)


@dataclass
class Ran:
    """What the loop reported: (seconds since the start, wakes) of each round."""

    rounds: list[tuple[float, tuple[str, ...]]]
    reports: list[RoundReport]
    retries: list[float | None]


PACE = Pace(drift=10, poll=0, debounce=0.1, backoff=Backoff(first=1, limit=8))


def run(
    machine: Machine,
    *events: At,
    more: float = 0.0,
    pace: Pace = PACE,
    remote: "Remote | None" = None,
) -> Ran:
    """The loop from its start until a STOP after the last event."""
    clock = machine.clock
    script = Script(clock, events, more, remote)
    ran = Ran([], [], [])

    def after(report: RoundReport, retry_in: float | None) -> None:
        ran.rounds.append((round(clock.now - script.start, 3), report.wakes))
        ran.reports.append(report)
        ran.retries.append(retry_in)

    fetcher = remote.fetcher if remote else None
    Agent(machine.rounds, script, clock, pace, after, fetcher, random=lambda: 1.0).run()
    return ran


def test_a_round_runs_at_the_start(machine: Machine) -> None:
    assert run(machine).rounds == [(0, ("start",))]


def test_a_push_is_acted_on_at_once(machine: Machine) -> None:
    ran = run(machine, At(5, Wake.REF, machine.network.push))
    assert ran.rounds[1:] == [(5, ("ref",))]


def test_a_ref_event_without_another_commit_runs_no_round(machine: Machine) -> None:
    assert len(run(machine, At(5, Wake.REF)).rounds) == 1


def test_a_burst_of_pushes_gives_one_round_at_once_and_one_when_it_settles(
    machine: Machine,
) -> None:
    pushes = [At(5 + n / 100, Wake.REF, machine.network.push) for n in range(5)]
    ran = run(machine, *pushes, more=1)
    assert ran.rounds[1:] == [(5, ("ref",)), (5.1, ("ref",))]
    assert not machine.rounds.moved()


def test_drift_is_looked_for_in_an_interval(machine: Machine) -> None:
    assert [at for at, _ in run(machine, more=35).rounds] == [0, 10, 20, 30]


def test_looking_for_drift_takes_a_hundredth_of_a_core_at_most(machine: Machine) -> None:
    once = machine.rounds.run

    def costly(wakes: tuple[str, ...], ask: Ask, since: float | None) -> RoundReport:
        machine.clock.spent += 0.2
        return once(wakes, ask, since)

    machine.rounds.run = costly  # type: ignore[method-assign, assignment]
    assert [at for at, _ in run(machine, more=51).rounds] == [0, 10, 30, 50]


def test_what_somebody_writes_into_a_map_is_found_before_the_next_look_at_everything(
    machine: Machine,
) -> None:
    """Once one has found all as it should be."""
    ran = run(machine, At(12.5, Wake.NETLINK, lambda: damage(machine)), more=5)
    assert ran.rounds[1:] == [(10, ("drift",)), (14, ("tables",))]
    assert ran.reports[2].enforced.cause is Cause.DRIFT
    assert ran.reports[2].enforced.counts.total > 0


def test_looking_at_the_maps_alone_takes_a_hundredth_of_a_core_at_most(machine: Machine) -> None:
    looks = []
    once = machine.rounds.tables_moved

    def costly() -> bool:
        machine.clock.spent += 0.03
        looks.append(machine.clock.now)
        return once()

    machine.rounds.tables_moved = costly  # type: ignore[method-assign]
    run(machine, more=99)
    gaps = [later - at for at, later in pairwise(looks)]
    assert len(gaps) > 25
    assert min(gaps[6:]) > 2.9


def test_a_host_that_cannot_be_written_has_no_more_rounds_for_what_its_maps_hold(
    machine: Machine,
) -> None:
    machine.datapath.apply = raising(HostError("not ever"))  # type: ignore[method-assign]
    ran = run(machine, At(3, Wake.NETLINK, lambda: damage(machine)), more=6)
    assert len(ran.rounds) == 1


def test_what_reading_a_commit_takes_is_no_cost_of_looking_for_drift(machine: Machine) -> None:
    once = machine.rounds.run

    def costly(wakes: tuple[str, ...], ask: Ask, since: float | None) -> RoundReport:
        report = once(wakes, ask, since)
        machine.clock.spent += 5 if "snapshot" in report.phases else 0
        return report

    machine.rounds.run = costly  # type: ignore[method-assign, assignment]
    unnoticed = At(5, Wake.NETNS, machine.network.push)
    assert [at for at, _ in run(machine, unnoticed, more=25.5).rounds] == [0, 10, 20, 30]


def test_a_push_does_not_wait_after_a_look_for_drift(machine: Machine) -> None:
    ran = run(machine, At(10.01, Wake.REF, machine.network.push))
    assert ran.rounds[1:] == [(10, ("drift",)), (10.01, ("ref",))]


def test_a_host_that_cannot_be_written_is_left_to_the_retries(machine: Machine) -> None:
    machine.datapath.read = raising(TransientError("not now"))  # type: ignore[method-assign]
    often = Pace(drift=0.25, debounce=0.1, backoff=Backoff(first=1, limit=8))
    assert [at for at, _ in run(machine, more=14, pace=often).rounds] == [0, 1, 3, 7]


def test_the_interval_of_drift_starts_anew_with_every_round(machine: Machine) -> None:
    ran = run(machine, At(7, Wake.HANGUP), more=11)
    assert ran.rounds[1:] == [(7, ("hangup",)), (17, ("drift",))]


def test_netlink_news_that_changes_no_fact_runs_no_round(machine: Machine) -> None:
    assert len(run(machine, At(1, Wake.NETLINK), At(2, Wake.NETNS)).rounds) == 1


def test_a_changed_fact_is_followed_at_once(machine: Machine) -> None:
    def renumber() -> None:
        machine.datapath.around.devices["eth0"] = Device(7, b"\2\0\0\0\0\2", 1500, True)

    ran = run(machine, At(5, Wake.NETLINK, renumber))
    assert ran.rounds[1:] == [(5, ("netlink",))]
    assert ran.reports[-1].enforced.cause == "facts"


def test_netlink_news_on_a_host_that_fails_waits_for_the_next_try(machine: Machine) -> None:
    machine.datapath.read = raising(TransientError("not now"))  # type: ignore[method-assign]
    ran = run(machine, *(At(0.5 + n / 50, Wake.NETLINK) for n in range(20)))
    assert [at for at, _ in ran.rounds] == [0]


def test_a_storm_of_netlink_news_looks_once_in_a_while_and_misses_nothing(
    machine: Machine,
) -> None:
    looks = []
    facts = machine.datapath.facts

    def counted(*arguments: object) -> object:
        looks.append(machine.clock.now)
        return facts(*arguments)  # type: ignore[arg-type]

    def last() -> None:
        machine.datapath.around.devices["eth0"] = Device(7, b"\2\0\0\0\0\2", 1500, True)

    storm = [At(5 + n / 1000, Wake.NETLINK) for n in range(300)]
    machine.round()
    machine.datapath.facts = counted  # type: ignore[method-assign, assignment]
    ran = run(machine, *storm, At(5.3, Wake.NETLINK, last), more=0.2)
    assert len([at for at in looks if at > machine.clock.now - 1]) <= 8
    assert ran.reports[-1].enforced.cause == "facts"


def test_what_is_waited_for_is_looked_for_twice_a_second(machine: Machine) -> None:
    device = machine.datapath.around.devices.pop("eth0")

    def appear() -> None:
        machine.datapath.around.devices["eth0"] = device

    # An event of a kind that is none: nothing tells the agent that the interface is there.
    ran = run(machine, At(3.2, Wake.REF, appear), more=1)
    assert ran.rounds[1:] == [(3.5, ("waiting",))]
    assert not ran.reports[-1].enforced.waiting


def test_a_failed_round_is_tried_again_ever_more_slowly(machine: Machine) -> None:
    machine.datapath.read = raising(TransientError("not now"))  # type: ignore[method-assign]
    ran = run(machine, more=20)
    assert [at for at, _ in ran.rounds] == [0, 1, 3, 7, 15]
    assert ran.retries == [1, 2, 4, 8, 8]
    assert {report.enforced.result for report in ran.reports} == {Result.FAILED}


def test_a_retry_takes_the_newest_commit(machine: Machine) -> None:
    read = machine.datapath.read
    machine.datapath.read = raising(TransientError("not now"))  # type: ignore[method-assign]

    def mend() -> None:
        machine.datapath.read = read  # type: ignore[method-assign]
        machine.network.push()

    ran = run(machine, At(0.9, Wake.NETNS, mend), more=1)
    assert ran.reports[-1].enforced.result is Result.CONVERGED
    assert ran.reports[-1].newest.revision != machine.network.first


def test_an_error_that_nobody_foresaw_ends_the_round_and_not_the_agent(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    read = machine.datapath.read
    machine.datapath.read = raising(ZeroDivisionError("oops"))  # type: ignore[method-assign]

    def mend() -> None:
        machine.datapath.read = read  # type: ignore[method-assign]

    ran = run(machine, At(0.5, Wake.NETNS, mend), more=1)
    assert "oops" in ran.reports[0].enforced.error
    assert "ZeroDivisionError" in caplog.text
    assert ran.reports[-1].enforced.result is Result.CONVERGED


def test_a_held_commit_is_not_retried(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)

    def shrink() -> None:
        machine.network.endpoints(4)
        machine.network.push()

    ran = run(machine, At(1, Wake.REF, shrink), more=9)
    assert ran.reports[-1].newest.verdict is Verdict.HELD
    assert ran.rounds[1:] == [(1, ("ref",))]
    assert ran.retries[-1] is None


class Asker:
    """A request, and the report that answers it."""

    def __init__(self, force: str = "") -> None:
        self.force = force
        self.heard: RoundReport | None = None

    def answer(self, report: RoundReport) -> None:
        self.heard = report


def test_a_request_is_answered_with_a_round_of_its_own(machine: Machine) -> None:
    asker = Asker()
    ran = run(machine, At(3, Wake.REQUEST, request=asker))
    assert ran.rounds[1:] == [(3, ("request",))]
    assert asker.heard is ran.reports[-1]


def test_a_request_forces_the_plan_whose_digest_it_names(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)
    asker = Asker()

    def shrink() -> None:
        machine.network.endpoints(4)
        machine.network.push()
        asker.force = machine.round().newest.digest

    run(machine, At(1, Wake.REQUEST, shrink, asker))
    assert asker.heard
    assert asker.heard.newest.verdict is Verdict.ACCEPTED
    assert len(machine.endpoints) == 4


def test_a_stale_force_is_answered_and_then_the_commit_is_judged_without_it(
    machine: Machine,
) -> None:
    asker = Asker("0123456789abcdef")

    def grow() -> None:
        machine.network.endpoints(3)
        machine.network.push()

    ran = run(machine, At(1, Wake.REQUEST, grow, asker), more=1)
    assert asker.heard
    assert asker.heard.newest.stale
    assert ran.rounds[2:] == [(1.1, ("retry",))]
    assert "shop/web-3" in machine.endpoints


def test_a_stop_during_the_pause_starts_no_round(machine: Machine) -> None:
    ran = run(machine, At(0.01, Wake.HANGUP), At(0.02, Wake.STOP))
    assert len(ran.rounds) == 1


class Remote:
    """A remote that answers at once, in the fetcher's own thread, unless it is told to hang."""

    def __init__(self, clock: FakeClock) -> None:
        self.asked: list[float] = []
        self.error: SourceError | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.told = False
        self._clock, self._start = clock, clock.now
        self.fetcher = Fetcher(self._fetch, self._done, 20, clock)

    def _fetch(self) -> None:
        self.asked.append(round(self._clock.now - self._start, 3))
        self.answers.wait()
        if self.error:
            raise self.error

    def _done(self) -> None:
        self.told = True

    def news(self) -> bool:
        """Whether a fetch has ended since the last call; one that does not hang is waited for."""
        while self.answers.is_set() and "fetch" in {each.name for each in threading.enumerate()}:
            time.sleep(0.001)
        told, self.told = self.told, False
        return told


@pytest.fixture
def remote(machine: Machine) -> Iterator[Remote]:
    made = Remote(machine.clock)
    yield made
    made.answers.set()


def test_a_remote_that_fails_is_reported_and_asked_again(machine: Machine, remote: Remote) -> None:
    remote.error = SourceError("no route to it", again=True)
    ran = run(machine, more=3.5, remote=remote)
    assert remote.asked == [0, 1, 3]
    assert {report.newest.error for report in ran.reports} == {"no route to it"}
    assert {report.enforced.result for report in ran.reports} == {Result.CONVERGED}


def test_a_remote_is_polled_with_jitter(machine: Machine, remote: Remote) -> None:
    run(machine, more=30, pace=Pace(drift=100, poll=10, debounce=0.1), remote=remote)
    assert remote.asked == [0, 12, 24]


def test_a_poll_without_another_commit_runs_no_round(machine: Machine, remote: Remote) -> None:
    ran = run(machine, more=30, pace=Pace(drift=100, poll=10, debounce=0.1), remote=remote)
    assert [at for at, _ in ran.rounds] == [0]


def test_a_remote_that_hangs_holds_up_no_healing(machine: Machine, remote: Remote) -> None:
    remote.answers.clear()
    ran = run(machine, more=26, remote=remote)
    assert ran.rounds[:2] == [(5, ("overdue", "start")), (15, ("drift",))]
    assert ran.reports[0].newest.error == ""
    assert "has not answered for 25 s" in ran.reports[-1].newest.error


def test_a_request_waits_for_the_remote_but_not_for_ever(machine: Machine, remote: Remote) -> None:
    asker = Asker()
    hang = At(1, Wake.REQUEST, remote.answers.clear, asker)
    ran = run(machine, hang, more=21, pace=Pace(drift=100), remote=remote)
    assert ran.rounds[1] == (21, ("overdue", "request"))
    assert asker.heard
    assert "has not answered" in asker.heard.newest.error


def test_a_request_gets_what_was_pushed_before_it(machine: Machine, remote: Remote) -> None:
    asker = Asker()
    run(machine, At(1, Wake.REQUEST, request=asker), more=1, remote=remote)
    assert remote.asked == [0, 1]
    assert asker.heard
