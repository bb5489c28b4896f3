"""`reconciler plan`: what `apply` would write on this host, without writing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.common import emit, emit_json, note, output_option, progress
from reconciler.cli.exits import Exit, Failure
from reconciler.cli.here import (
    PLACES,
    REPOSITORY,
    Here,
    here_options,
    host_errors,
    last_good,
    open_reader,
)

if TYPE_CHECKING:
    from reconciler.agent.config import Config
    from reconciler.agent.good import LastGood
    from reconciler.agent.report import Stay
    from reconciler.agent.wanted import Wanted
    from reconciler.plan.plan import Plan


@click.command(name="plan")
@here_options(REPOSITORY, PLACES)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if something would change.")
@output_option("text", "json", "markdown")
def command(
    here: Here,
    detailed_exitcode: bool,
    output: str,
) -> Exit:
    """Show what apply would write on this host.

    Compares the newest commit with what is live: every change in order, what waits for a fact, and
    whether a guard refuses the plan. Writes nothing.

    \b
    Example:
      reconciler plan --config /etc/reconciler/edge-1.yaml --detailed-exitcode
    """
    config = here.configuration()
    good = last_good(config, needed=False)
    plan = _plan(config, read_wanted(config, good), good)
    show_plan(plan, output)
    if plan.refused:
        return Exit.REFUSED
    return Exit.CHANGES if detailed_exitcode and (plan.steps or plan.leaves) else Exit.OK


def read_wanted(config: Config, good: LastGood | None) -> Wanted:
    """What the newest commit means for this host after the last good state; Failure, after its
    problems, if it is invalid."""
    from reconciler.agent.clock import SystemClock
    from reconciler.agent.report import Phases
    from reconciler.agent.wanted import Invalid, RepositorySource
    from reconciler.plan.lines import short
    from reconciler.source.errors import SourceError

    source = RepositorySource(config.git_source, config.host)
    try:
        with progress(f"reading {config.repository}"):
            source.fetch()
            last = None if good is None else good.state
            wanted = source.read(source.newest(), Phases(SystemClock()), last)
    except SourceError as error:
        raise Failure(str(error)) from None
    if isinstance(wanted, Invalid):
        for each in wanted.problems:
            note(each)
        count = len(wanted.problems)
        raise Failure(
            f"commit {short(wanted.revision)} has {count} problem{'s' * (count != 1)}; "
            f"no plan exists until they are corrected, and what is live stays"
        )
    if wanted.missing:
        note(wanted.missing)
    return wanted


def _plan(config: Config, wanted: Wanted, good: LastGood | None) -> Plan:
    from reconciler.agent.clock import SystemClock
    from reconciler.agent.propose import propose
    from reconciler.agent.report import Phases
    from reconciler.agent.target import Aim

    datapath = open_reader(config)
    phases = Phases(SystemClock())
    with host_errors(config.host), progress("reading the maps"):
        aim = Aim.of(wanted, good, SystemClock().wall(), config.grace)
        plan = propose(aim, datapath, config.limits, phases).plan
    note_stay(aim.target.stay)
    return plan


def note_stay(stay: Stay | None) -> None:
    """Say what is kept for other hosts, if anything is."""
    from reconciler.agent.status import stay_line

    if stay is not None:
        note(stay_line(stay))


def show_plan(plan: Plan, output: str) -> None:
    """Print it in one of its forms."""
    from reconciler.plan import render

    if output == "json":
        emit_json(render.as_json(plan))
    else:
        emit(render.text(plan) if output == "text" else render.markdown(plan))
