"""`reconciler host`: take this host out of service."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import progress
from reconciler.cli.exits import Exit, Failure
from reconciler.cli.here import PLACES, Here, here_options, host_errors, open_datapath

if TYPE_CHECKING:
    from reconciler.datapath.protocol import Datapath


@click.group(name="host")
def command() -> None:
    """Take this host out of service.

    \b
    Example:
      reconciler host remove --host edge-1
    """


@command.command()
@here_options(PLACES)
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(here: Here, yes: bool) -> Exit:
    """Take programs, pins and interfaces off this host.

    Its endpoints lose their interfaces and the packets that other hosts send here are no longer
    forwarded. What it remembers of commits goes too. Refused while an agent runs, which would put
    everything back.

    \b
    Example:
      reconciler host remove --host edge-1 --yes
    """
    from reconciler.agent.lock import AgentRunningError, HostLock
    from reconciler.agent.store import STATUS, Store

    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at; --yes removes without asking")
    config = here.configuration(repository=False)
    datapath = open_datapath(config)
    try:
        with host_errors(config.host), HostLock(config.run_dir, config.host):
            if not yes:
                question = f"host {config.host}: take off {_holdings(datapath)}?"
                click.confirm(question, abort=True, err=True)
            with progress(f"removing host {config.host}"):
                datapath.remove()
            Store(config.state_dir).remove()
            (config.run_dir / STATUS).unlink(missing_ok=True)
    except AgentRunningError as error:
        raise Failure(str(error)) from None
    click.echo(f"host {config.host}: removed")
    return Exit.OK


def _holdings(datapath: Datapath) -> str:
    """What there is, as far as it can be read: another release's maps are removed as well."""
    from reconciler.datapath.errors import HostError, TransientError

    try:
        live = datapath.read()
    except (HostError, TransientError) as error:
        return f"everything ({error})"
    counts = (
        (len(live.programs), "programs"),
        (len(live.links), "links"),
        (len(live.interfaces), "endpoint interfaces"),
    )
    return ", ".join(f"{count} {noun}" for count, noun in counts)
