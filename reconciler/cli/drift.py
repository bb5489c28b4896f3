"""`reconciler drift`: what differs on this host although no commit changed. Cannot write."""

from __future__ import annotations

import click

from reconciler.cli.common import note, output_option, progress
from reconciler.cli.exits import Exit, Failure
from reconciler.cli.here import (
    PLACES,
    Here,
    here_options,
    host_errors,
    last_good,
    open_reader,
)


@click.command(name="drift")
@here_options(PLACES)
@output_option("text", "json", "markdown")
def command(here: Here, output: str) -> Exit:
    """Show what differs although no commit changed.

    Compares what is live with what was applied last, as the host remembers it, whatever the
    repository says by now. Exits with 2 if anything differs. Writes nothing.

    \b
    Example:
      reconciler drift --host edge-1
    """
    from reconciler.agent.clock import SystemClock
    from reconciler.agent.propose import propose
    from reconciler.agent.report import Phases
    from reconciler.agent.target import Aim
    from reconciler.agent.wanted import Wanted
    from reconciler.cli.plan import note_stay, show_plan
    from reconciler.plan.lines import short

    config = here.configuration(repository=False)
    good = last_good(config)
    if good is None:
        raise Failure(
            f"host {config.host}: nothing was applied here yet ({config.state_dir} is empty); "
            f"`reconciler plan` compares with the newest commit"
        )
    wanted = Wanted(good.revision, good.state, good.names)
    datapath = open_reader(config)
    with host_errors(config.host), progress("reading the maps"):
        aim = Aim.of(wanted, good, SystemClock().wall(), config.grace)
        plan = propose(aim, datapath, config.limits, Phases(SystemClock())).plan
    show_plan(plan, output)
    note_stay(aim.target.stay)
    note(f"compared with what was applied last: {short(good.revision)}")
    return Exit.OK if plan.empty else Exit.CHANGES
