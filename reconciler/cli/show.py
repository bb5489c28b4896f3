"""`reconciler show`: what this host holds, in the form of `compile`."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.common import emit, note, progress
from reconciler.cli.exits import Exit, Failure
from reconciler.cli.here import PLACES, Here, here_options, host_errors, open_reader


@click.command(name="show")
@here_options(PLACES)
@click.option(
    "-o",
    "--output",
    default="json",
    show_default=True,
    metavar="json|text|FILE",
    help="Form of the result, or the file to write (as JSON).",
)
def command(here: Here, output: str) -> Exit:
    """Print what this host holds.

    Read from the kernel's maps, programs and interfaces, in the form of `compile`; facts included.

    \b
    Example:
      reconciler show --host edge-1 -o text
    """
    from reconciler.compile import serial
    from reconciler.plan.listing import listing

    config = here.configuration(repository=False)
    with host_errors(config.host), progress("reading the maps"):
        live = open_reader(config).read()
    if output in ("json", "text"):
        emit(serial.dump(live) if output == "json" else listing(live))
        return Exit.OK
    try:
        Path(output).write_text(serial.dump(live))
    except OSError as error:
        raise Failure(f"{output}: {error.strerror}; name a file that can be written") from None
    note(f"wrote {output}: what host {config.host} holds")
    return Exit.OK
