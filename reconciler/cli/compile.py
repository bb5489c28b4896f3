"""`reconciler compile`: what a host should hold, as `apply --from` takes it."""

from __future__ import annotations

import click

from reconciler.cli.common import (
    host_option,
    progress,
    repository_options,
    revision_option,
)
from reconciler.cli.exits import Exit, Failure
from reconciler.cli.state_output import give_state, state_output_option


@click.command(name="compile")
@host_option()
@repository_options
@revision_option
@state_output_option
def command(host: str, repo: str, branch: str, folder: str, rev: str, output: str) -> Exit:
    """Print what a host should hold.

    The result has every row of every map, programs, links and interfaces; what only the host can
    know (facts) is zero. It needs no host, and `apply --from FILE` applies it there.

    \b
    Example:
      reconciler compile --repo sample-repo --host edge-1 -o edge-1.json
    """
    from reconciler.cli.commits import open_repository, read_topology, suggest
    from reconciler.compile.host import UnknownHostError, compile_host
    from reconciler.compile.state import HostName
    from reconciler.plan.lines import short

    commit, topology = read_topology(open_repository(repo, branch, folder), rev)
    try:
        with progress(f"compiling host {host}"):
            state = compile_host(topology, HostName(host))
    except UnknownHostError as error:
        known = {each.name for each in topology.hosts if each.managed}
        near = "" if host in {each.name for each in topology.hosts} else suggest(host, known)
        raise Failure(f"commit {short(commit.id)}: {error}{near}") from None
    give_state(state, output, f"host {host} at commit {short(commit.id)}")
    return Exit.OK
