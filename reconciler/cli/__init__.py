"""The command line: one module per verb, each with a `command`; the only place that reads
arguments and environment, and prints. A verb's module is imported when it is called for."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import click
from click.shell_completion import CompletionItem

from reconciler import __version__
from reconciler.cli.exits import Exit, Failure

VERBS = (
    *("init", "validate", "explain", "compile", "diff", "plan", "drift", "apply", "show"),
    *("agent", "status", "lab", "host", "completion"),
)


def load(verb: str) -> click.Command:
    """The command of a verb, from the module of its name."""
    match verb:
        case "init":
            from reconciler.cli import init

            return init.command
        case "validate":
            from reconciler.cli import validate

            return validate.command
        case "explain":
            from reconciler.cli import explain

            return explain.command
        case "compile":
            from reconciler.cli import compile

            return compile.command
        case "diff":
            from reconciler.cli import diff

            return diff.command
        case "plan":
            from reconciler.cli import plan

            return plan.command
        case "drift":
            from reconciler.cli import drift

            return drift.command
        case "apply":
            from reconciler.cli import apply

            return apply.command
        case "show":
            from reconciler.cli import show

            return show.command
        case "agent":
            from reconciler.cli import agent

            return agent.command
        case "status":
            from reconciler.cli import status

            return status.command
        case "lab":
            from reconciler.cli import lab

            return lab.command
        case "host":
            from reconciler.cli import host

            return host.command
        case "completion":
            from reconciler.cli import completion

            return completion.command
    raise LookupError(verb)


# What --help lists, so that it need not import every verb.
SUMMARIES = {
    "init": "Make a starter repository.",
    "validate": "Check the manifests of a commit or a folder.",
    "explain": "Explain a problem's code or a kind of manifest.",
    "compile": "Print what a host should hold.",
    "diff": "Show what changes between two commits, and for whom.",
    "plan": "Show what apply would write on this host.",
    "drift": "Show what differs although no commit changed.",
    "apply": "Write what differs on this host.",
    "show": "Print what this host holds.",
    "agent": "Keep this host as the repository says.",
    "status": "Ask a host's agent how it is.",
    "lab": "Bring hosts up as namespaces on this machine.",
    "host": "Take this host out of service.",
    "completion": "Print the completion script of a shell.",
}

EPILOG = """
Exit codes: 0 nothing to do, or done; 1 error; 2 changes or drift present (with
--detailed-exitcode; always for drift); 3 refused by a guard; 4 stale plan; 5 partly applied;
64 usage.
"""


class Verbs(click.Group):
    """Lists all verbs and imports one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of their use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command."""
        return load(cmd_name) if cmd_name in VERBS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown verb is answered with those that look like it."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            near = get_close_matches(args[0], VERBS)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"no such verb: {args[0]}{hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs, without importing them."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        found = [verb for verb in VERBS if verb.startswith(incomplete)]
        return [CompletionItem(verb, help=SUMMARIES[verb]) for verb in found]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From SUMMARIES, which a test compares with the verbs' own help."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, SUMMARIES[verb]) for verb in VERBS])


@click.command(
    cls=Verbs,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def group() -> None:
    """The network of a cloud as a git repository, compiled to the BPF maps of every host."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit code; errors are printed here."""
    color = False if os.environ.get("NO_COLOR") else None
    try:
        result: Any = group.main(
            arguments, prog_name="reconciler", standalone_mode=False, color=color
        )
    except click.UsageError as error:
        error.show()
        return Exit.USAGE
    except Failure as error:
        error.show()
        return error.code
    except click.ClickException as error:
        error.show()
        return Exit.ERROR
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return Exit.INTERRUPTED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        Failure("the output cannot be written: no space left on its device").show()
        sys.stdout = None  # what is left in it cannot be written either
        return Exit.ERROR
    except ModuleNotFoundError as error:
        if (error.name or "reconciler").startswith("reconciler"):
            raise
        Failure(
            f"this verb works on a host, and the Python module {error.name} is not here; a host "
            "needs Debian's package python3-bpfcc, and the extra `host` of this one (see README)"
        ).show()
        return Exit.ERROR
    return result if isinstance(result, int) else Exit.OK


def main() -> None:
    """The console script."""
    sys.exit(run())
