"""Service: one running agent, put together: lock, sources of wakes, rounds, status, socket."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reconciler import __version__
from reconciler.agent.blobs import BlobCache
from reconciler.agent.clock import Clock
from reconciler.agent.config import Config
from reconciler.agent.fetch import Fetcher
from reconciler.agent.lock import HostLock
from reconciler.agent.loop import Agent, Pace
from reconciler.agent.outcome import describe
from reconciler.agent.probing import Probing, with_hosts
from reconciler.agent.report import Cause, Enforced, Newest, RoundReport, Verdict
from reconciler.agent.round import Rounds
from reconciler.agent.server import Answers, Server
from reconciler.agent.shared import SharedDatapath
from reconciler.agent.status import Status, stamp
from reconciler.agent.store import CACHE, STATUS, Store
from reconciler.agent.store import replace as replace_file
from reconciler.agent.wakes import Wake, WakeQueue
from reconciler.agent.wanted import RepositorySource
from reconciler.agent.watch import Folder, FolderWatch, any_name, repository_folders
from reconciler.compile.neighbours import neighbours
from reconciler.compile.state import HostState
from reconciler.datapath.errors import HostError, TransientError
from reconciler.datapath.events import watch_netlink
from reconciler.datapath.protocol import Datapath, Traffic
from reconciler.plan.lines import short

LOG = logging.getLogger("reconciler.agent")

PATIENCE = 590.0  # seconds that a request waits for its round


class Asked:
    """A request through the socket: the server's thread waits until the loop has answered."""

    def __init__(self, force: str) -> None:
        self.force = force
        self._answered = threading.Event()
        self._report: RoundReport | None = None

    def answer(self, report: RoundReport) -> None:
        """Called by the loop."""
        self._report = report
        self._answered.set()

    def wait(self) -> RoundReport | None:
        """The report, None if the loop did not get to it."""
        self._answered.wait(PATIENCE)
        return self._report


class Service:
    """Runs in the caller's thread until SIGTERM or SIGINT.

    `alive` is called after the start and then at least once a minute.
    """

    def __init__(
        self, config: Config, datapath: Datapath, clock: Clock, alive: Callable[[], None]
    ) -> None:
        self._config, self._clock, self._alive = config, clock, alive
        self._datapath = SharedDatapath(datapath)
        self._wakes = WakeQueue(clock)
        self._stopping = False
        self._source = RepositorySource(
            config.git_source, config.host, BlobCache(config.state_dir / CACHE)
        )
        self._status = Status(_identity(config, clock), _history(config.run_dir))
        # Made after each round and never changed: other threads read it.
        self._document = self._status.document()
        self._last: tuple[Newest, Enforced] | None = None
        self._probing = Probing(self._datapath.prober, clock)
        self._rounds: Rounds | None = None
        self._told: HostState | None = None  # whom the probing was told to follow

    def run(self) -> None:
        """AgentRunningError if there is one; HostError if the socket cannot be opened."""
        config, wakes = self._config, self._wakes
        with ExitStack() as stack:
            stack.enter_context(HostLock(config.run_dir, config.host))
            rounds = Rounds(
                self._source,
                self._datapath,
                Store(config.state_dir),
                config.limits,
                self._clock,
                lambda: self._stopping,
                config.grace,
            )
            self._rounds = rounds
            if trouble := rounds.load():
                LOG.warning("%s", trouble)
            answers = Answers(self._answer_status, self._metrics, self._apply)
            server = Server(config.run_dir, config.metrics, answers)
            stack.callback(server.stop)
            server.start()
            watch = FolderWatch(self._folders)
            stack.callback(watch.stop)
            watch.start()
            stack.enter_context(watch_netlink(wakes.putter(Wake.NETLINK)))
            stack.enter_context(_Signals(self._stop, wakes.putter(Wake.HANGUP)))
            self._probing.start()
            stack.callback(self._probing.stop)
            pace = Pace(config.drift, config.poll, config.debounce)
            fetcher = self._fetcher()
            Agent(
                rounds,
                wakes,
                self._clock,
                pace,
                self._after,
                fetcher,
                watch.refresh,
                self._alive,
            ).run()
        LOG.info("stopped; packets go on")

    def _fetcher(self) -> Fetcher | None:
        if not self._source.is_remote:
            return None
        done = self._wakes.putter(Wake.REF)
        return Fetcher(self._source.fetch, done, self._config.fetch_timeout, self._clock)

    def _folders(self) -> Iterable[Folder]:
        """A remote that is a folder of this machine is watched too; its news has to be fetched."""
        yield Folder(self._config.netns_dir, False, any_name, self._wakes.putter(Wake.NETNS))
        if path := self._source.watch_path():
            wake = Wake.POLL if self._source.is_remote else Wake.REF
            yield from repository_folders(path, self._wakes.putter(wake))

    def _stop(self) -> None:
        self._stopping = True
        self._wakes.put(Wake.STOP)

    def _after(self, report: RoundReport, retry_in: float | None) -> None:
        """Tell: the log what is new, the status everything, and who is to be probed."""
        bound = self._rounds.bound if self._rounds else None
        if bound is not None and bound is not self._told:
            self._probing.follow(neighbours(bound))
            self._told = bound
        self._status.add(report, retry_in)
        news = (report.newest, replace(report.enforced, cause=Cause.NONE, changed={}, rows={}))
        if news != self._last or report.enforced.changed:
            LOG.info("%s", _line(report, retry_in))
            self._last = news
        self._document = self._status.document()
        with suppress(OSError):  # the socket tells it too
            text = json.dumps(self._shown(), indent=1).encode()
            replace_file(self._config.run_dir / STATUS, text, durable=False)

    def _shown(self) -> dict[str, Any]:
        """The document, with what is known of other hosts by now."""
        return with_hosts(self._document, self._probing)

    def _answer_status(self) -> dict[str, Any]:
        traffic = self._traffic()
        return {**self._shown(), "traffic": None if traffic is None else asdict(traffic)}

    def _metrics(self) -> bytes:
        from reconciler.agent.metrics import exposition

        return exposition(self._shown(), self._traffic(), self._source.differences)

    def _traffic(self) -> Traffic | None:
        try:
            return self._datapath.traffic()
        except (HostError, TransientError) as error:
            LOG.warning("counters: %s", error)
            return None

    def _apply(self, force: str) -> dict[str, Any]:
        asked = Asked(force)
        self._wakes.put(Wake.REQUEST, asked)
        report = asked.wait()
        if report is None:
            return {"outcome": "failed", "messages": ["the agent is busy or stops; ask again"]}
        return describe(report)


class _Signals:
    """While inside: SIGTERM and SIGINT stop, SIGHUP looks anew. Main thread only."""

    def __init__(self, stop: Callable[[], None], hangup: Callable[[], None]) -> None:
        self._calls = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: hangup}
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number, call in self._calls.items():
            self._before[number] = signal.signal(number, lambda *_, call=call: call())

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)


def _identity(config: Config, clock: Clock) -> dict[str, Any]:
    return {
        "host": config.host,
        "release": __version__,
        "pid": os.getpid(),
        "startedAt": stamp(clock.wall()),
        "repository": {
            "url": config.repository,
            "branch": config.branch,
            "folder": config.folder,
        },
    }


def _history(run_dir: Path) -> list[dict[str, Any]]:
    """What the last agent knew of commits; [] where it left nothing, or nothing readable."""
    try:
        found = json.loads((run_dir / STATUS).read_bytes())["history"]
        return [dict(each) for each in found]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _line(report: RoundReport, retry_in: float | None) -> str:
    """A round in a line of the log."""
    newest, enforced = report.newest, report.enforced
    parts = [f"commit {short(newest.revision) or 'unknown'} {newest.verdict}"]
    if newest.error:
        parts.append(newest.error)
    parts += newest.problems[:3]
    if newest.verdict is Verdict.HELD:
        parts += [*newest.refusals, newest.remedy]
    what = f"{short(enforced.revision)} {enforced.result}" if enforced.revision else "no good state"
    if enforced.changed:
        counts = enforced.counts
        what += f", {counts.add} added, {counts.change} changed, {counts.delete} deleted"
        what += f" ({enforced.cause})"
    if enforced.stay:
        what += f", {enforced.stay.rows} kept until {stamp(enforced.stay.until)}"
    if enforced.waiting:
        what += f", {len(enforced.waiting)} waiting"
    parts += [what, *(each for each in (enforced.error, report.unsaved) if each), *enforced.notes]
    if retry_in is not None:
        parts.append(f"next try in {retry_in:.1f} s")
    return "; ".join(parts)
