"""`reconciler compile`: what a host should hold, as `apply --from` takes it."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.common import (
    emit,
    host_option,
    note,
    progress,
    repository_options,
    revision_option,
)
from reconciler.cli.exits import Exit, Failure

FORMATS = ("json", "text")
NOT_HERE = ("markdown", "yaml")  # a form that compile lacks is more likely meant than a file


@click.command(name="compile")
@host_option()
@repository_options
@revision_option
@click.option(
    "-o",
    "--output",
    default="json",
    show_default=True,
    metavar="json|text|FILE",
    help="Form of the result, or the file to write (as JSON).",
)
def command(host: str, repo: str, branch: str, folder: str, rev: str, output: str) -> Exit:
    """Print what a host should hold.

    The result has every row of every map, programs, links and interfaces; what only the host can
    know (facts) is zero. It needs no host, and `apply --from FILE` applies it there.

    \b
    Example:
      reconciler compile --repo sample-repo --host edge-1 -o edge-1.json
    """
    from reconciler.cli.commits import open_repository, read_topology, suggest
    from reconciler.compile import serial
    from reconciler.compile.host import UnknownHostError, compile_host
    from reconciler.compile.state import HostName
    from reconciler.plan.lines import short
    from reconciler.plan.listing import listing

    if output in NOT_HERE:
        forms = " and ".join(FORMATS)
        raise click.UsageError(f"the forms are {forms}; for a file write -o ./{output}")
    commit, topology = read_topology(open_repository(repo, branch, folder), rev)
    try:
        with progress(f"compiling host {host}"):
            state = compile_host(topology, HostName(host))
    except UnknownHostError as error:
        known = {each.name for each in topology.hosts if each.managed}
        near = "" if host in {each.name for each in topology.hosts} else suggest(host, known)
        raise Failure(f"commit {short(commit.id)}: {error}{near}") from None
    if output in FORMATS:
        emit(serial.dump(state) if output == "json" else listing(state))
        return Exit.OK
    try:
        Path(output).write_text(serial.dump(state))
    except OSError as error:
        raise Failure(f"{output}: {error.strerror}; name a file that can be written") from None
    note(f"wrote {output}: host {host} at commit {short(commit.id)}")
    return Exit.OK
