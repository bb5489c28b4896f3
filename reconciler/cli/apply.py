"""`reconciler apply`: write what differs on this host, now, once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.common import emit, emit_json, note, output_option, progress
from reconciler.cli.exits import Exit, Failure
from reconciler.cli.here import PLACES, REPOSITORY, Here, here_options, need_root, open_datapath

if TYPE_CHECKING:
    from reconciler.agent.config import Config
    from reconciler.agent.wanted import FileSource, Source

EXITS = {
    "converged": Exit.OK,
    "held": Exit.REFUSED,
    "stale": Exit.STALE,
    "partly": Exit.PARTLY,
    "failed": Exit.ERROR,
    "invalid": Exit.ERROR,
    "unreadable": Exit.ERROR,
}


@click.command(name="apply")
@here_options(REPOSITORY, PLACES)
@click.option(
    "--from",
    "origin",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Apply this host state, from `compile` or `show`, instead of a commit.",
)
@click.option(
    "--force", default="", metavar="DIGEST", help="Apply the refused plan of this digest."
)
@click.option(
    "--upgrade",
    is_flag=True,
    help="Make maps anew that another release or other capacities left, whatever is lost.",
)
@click.option(
    "--grace-period",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long what other hosts may still use outlives this; 0: not at all. "
    "[default: the configuration's]",
)
@output_option("text", "json")
def command(
    here: Here,
    origin: Path | None,
    force: str,
    upgrade: bool,
    grace_period: float | None,
    output: str,
) -> Exit:
    """Write what differs on this host.

    Applies the newest commit, through the host's agent if one runs. A plan that a guard refuses is
    applied only if --force names its digest, and the plan is still that one. An upgrade of the
    datapath that has to be asked for (GRD1007) is asked for by --upgrade. Rows that other hosts may
    still use stay for the grace period: the agent deletes them then, or the next apply.

    \b
    Example:
      reconciler apply --config /etc/reconciler/edge-1.yaml
      reconciler apply --host edge-1 --from edge-1.json
      reconciler apply --host edge-1 --force 0123456789abcdef
      reconciler apply --upgrade
    """
    from reconciler.plan.guards import ANY_UPGRADE

    if force and upgrade:
        raise click.UsageError("--force names one plan, --upgrade allows any upgrade; say one")
    state = _read_state(origin) if origin else None
    grace = {} if grace_period is None else {"gracePeriod": grace_period}
    config = here.configuration(repository=False, host=state.host if state else "", **grace)
    if state and state.host != config.host:
        raise Failure(f"{origin}: is the state of host {state.host}, this is host {config.host}")
    done = _apply(config, state, ANY_UPGRADE if upgrade else force, alone=bool(grace))
    if output == "json":
        emit_json(done)
    else:
        _show(done)
    return EXITS[done["outcome"]]


def _apply(config: Config, state: FileSource | None, force: str, *, alone: bool) -> dict[str, Any]:
    """By this process if it gets the lock, else by the agent that holds it."""
    from reconciler.agent import client
    from reconciler.agent.lock import AgentRunningError, HostLock
    from reconciler.datapath.errors import HostError

    need_root()
    lock = HostLock(config.run_dir, config.host)
    try:
        lock.take()
    except AgentRunningError as error:
        if state is not None:
            raise Failure(
                f"host {config.host}: the agent (process {error.pid}) follows a repository and "
                f"would undo this at once; stop it first"
            ) from None
        if alone:
            raise Failure(
                f"host {config.host}: the agent (process {error.pid}) keeps to the grace period of "
                f"its configuration; change gracePeriod there"
            ) from None
        try:
            with progress(f"asking the agent of {config.host}"):
                return client.apply(config.run_dir, force)
        except (client.NoAgentError, ValueError) as trouble:
            raise Failure(f"{error}\n{trouble}") from None
    except HostError as error:
        raise Failure(str(error)) from None
    with lock:
        return _run_round(config, state, force)


def _run_round(config: Config, state: FileSource | None, force: str) -> dict[str, Any]:
    from reconciler.agent.clock import SystemClock
    from reconciler.agent.outcome import describe
    from reconciler.agent.round import Ask, Rounds
    from reconciler.agent.store import Store
    from reconciler.agent.wanted import RepositorySource
    from reconciler.source.errors import SourceError

    source: Source
    trouble = ""
    if state is not None:
        source = state
    elif config.repository:
        source = repository = RepositorySource(config.git_source, config.host)
        try:
            with progress(f"reading {config.repository}"):
                repository.fetch()
        except SourceError as error:
            trouble = str(error)
    else:
        raise click.UsageError(
            "which repository? name it by --repo, a configuration by --config, or a state by --from"
        )
    datapath = open_datapath(config)
    store = Store(config.state_dir)
    rounds = Rounds(source, datapath, store, config.limits, SystemClock(), grace=config.grace)
    if unreadable := rounds.load():
        note(unreadable)
    with progress("applying"):
        report = rounds.run(("request",), Ask(force, trouble, shown=True))
    done = describe(report)
    if done["kept"]:
        done["kept"] += "; after that the agent deletes them, or another apply"
    return done


def _read_state(path: Path) -> FileSource:
    from reconciler.agent.wanted import FileSource
    from reconciler.compile.serial import SerialError

    try:
        return FileSource(path, path.read_bytes())
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    except (SerialError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: {error}") from None


def _show(done: dict[str, Any]) -> None:
    """The plan is the result; what went wrong stands beside it."""
    for each in done.get("messages", ()):
        note(each)
    if done.get("plan"):
        emit(done["plan"])
    if any(done.get("changed", {}).values()):
        emit("Applied: {add} added, {change} changed, {delete} deleted".format(**done["changed"]))
    elif done["outcome"] == "converged":
        emit("No changes. The host is as it should be.")
    if done.get("kept"):
        note(done["kept"])
    if done["outcome"] not in ("converged", "held"):
        note(f"error: {_ENDINGS[done['outcome']]}")


_ENDINGS = {
    "stale": "the plan is another one by now; look at it, and name its digest",
    "partly": "applied in part; run it again, or let the agent complete it",
    "failed": "nothing was applied",
    "invalid": "the newest commit has problems; what was good before stays in force",
    "unreadable": "the newest commit is not known; what was good before stays in force",
}
