"""`reconciler diff`: what changes between two commits, and for whom; needs no host."""

from __future__ import annotations

import click

from reconciler.cli.common import emit, emit_json, note, output_option, progress, repository_options
from reconciler.cli.exits import Exit


@click.command(name="diff")
@click.argument("commits", metavar="A..B")
@repository_options
@output_option("text", "json", "markdown")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if anything changes.")
def command(
    commits: str,
    repo: str,
    branch: str,
    folder: str,
    output: str,
    detailed_exitcode: bool,
) -> Exit:
    """Show what changes between two commits, and for whom.

    Manifests by kind, namespace and name; hosts with the number of their rows that differ. A...B
    compares B with what it branched off from. An empty side is the head of the branch.

    \b
    Example:
      reconciler diff main..add-web-4
      reconciler diff HEAD~1.. -o markdown
    """
    from reconciler.cli.commits import (
        count_problems,
        open_repository,
        read_revision,
        read_topology,
        resolve_range,
        split_range,
    )
    from reconciler.manifest.load import Kept
    from reconciler.review import render
    from reconciler.review.review import review

    left, right, fork = split_range(commits)
    repository = open_repository(repo, branch, folder)
    older, newer = resolve_range(repository, left, right, fork)
    kept: Kept = {}
    after, _ = read_topology(repository, newer, kept)
    before = read_revision(repository, older, kept)
    if before.topology is None:
        note(f"commit {before.id[:12]} has {count_problems(before.problems)}; see `validate --rev`")
    with progress("comparing"):
        found = review(before, after)
    if output == "json":
        emit_json(render.as_json(found))
    else:
        emit(render.text(found) if output == "text" else render.markdown(found))
    return Exit.CHANGES if detailed_exitcode and not found.empty else Exit.OK
