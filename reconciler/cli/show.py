"""`reconciler show`: what this host holds, in the form of `compile`."""

from __future__ import annotations

import click

from reconciler.cli.common import progress
from reconciler.cli.exits import Exit
from reconciler.cli.here import PLACES, Here, here_options, host_errors, open_reader
from reconciler.cli.state_output import give_state, state_output_option


@click.command(name="show")
@here_options(PLACES)
@state_output_option
def command(here: Here, output: str) -> Exit:
    """Print what this host holds.

    Read from the kernel's maps, programs and interfaces, in the form of `compile`; facts included.

    \b
    Example:
      reconciler show --host edge-1 -o text
    """
    config = here.configuration(repository=False)
    with host_errors(config.host), progress("reading the maps"):
        live = open_reader(config).read()
    give_state(live, output, f"what host {config.host} holds")
    return Exit.OK
