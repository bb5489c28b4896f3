"""`reconciler completion`: the script that teaches a shell to complete verbs and options."""

from __future__ import annotations

import os
from pathlib import PurePath

import click
from click.shell_completion import get_completion_class

from reconciler.cli.common import emit
from reconciler.cli.exits import Exit

SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str | None) -> Exit:
    """Print the completion script of a shell.

    Without argument it is the shell of $SHELL.

    \b
    Example:
      eval "$(reconciler completion bash)"
      reconciler completion fish > ~/.config/fish/completions/reconciler.fish
    """
    name = shell or PurePath(os.environ.get("SHELL", "")).name
    found = get_completion_class(name) if name in SHELLS else None
    if found is None:
        raise click.UsageError(f"name a shell: {', '.join(SHELLS)}")
    group = ctx.find_root().command
    emit(found(group, {}, "reconciler", "_RECONCILER_COMPLETE").source())
    return Exit.OK
