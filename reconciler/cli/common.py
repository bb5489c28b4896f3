"""What verbs share: options, and how results, messages and progress are shown.

Results go to standard output; problems, messages and progress to standard error.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

PATIENCE = 1.0  # seconds of work before progress is shown


def repository_options(function: F) -> F:
    """--repo, --branch and --folder, passed as `repo`, `branch` and `folder`."""
    options = (
        click.option(
            "--repo",
            default="",
            metavar="PATH|URL",
            help="Local repository, or file, https or ssh remote. [default: the one here]",
        ),
        click.option("--branch", default="", help="[default: what HEAD names]"),
        click.option("--folder", default="", help="Read only this folder of the repository."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def revision_option(function: F) -> F:
    """--rev, passed as `rev`."""
    return click.option(
        "--rev", default="", help="Commit, branch or tag. [default: head of the branch]"
    )(function)


def output_option(*formats: str) -> Callable[[F], F]:
    """-o/--output, passed as `output`; the first format is the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Form of the result.",
    )


def host_option(*, required: bool = True) -> Callable[[F], F]:
    """--host, passed as `host`."""
    return click.option("--host", required=required, metavar="NAME", help="The host, by its name.")


def emit(text: str) -> None:
    """Print a result; lines that start with + ~ - are coloured on a terminal."""
    click.echo("\n".join(map(_coloured, text.rstrip("\n").split("\n"))))


def emit_json(value: Any) -> None:
    """Print a result for programs: sorted where order has no meaning, two spaces deep."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Tell people something that is no part of the result."""
    click.echo(text, err=True)


@contextmanager
def progress(label: str) -> Iterator[None]:
    """Say on standard error what is being done, once it takes over a second."""
    done = threading.Event()
    thread = threading.Thread(target=_show_progress, args=(label, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show_progress(label: str, done: threading.Event) -> None:
    if done.wait(PATIENCE):
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(Text(label)):
            done.wait()
    else:
        console.print(Text(f"{label} ..."))


_COLOURS = {"+": "green", "~": "yellow", "-": "red"}


def _coloured(line: str) -> str:
    sign = line.lstrip()[:2]
    if len(sign) == 2 and sign[1] == " " and sign[0] in _COLOURS:
        return click.style(line, fg=_COLOURS[sign[0]])
    return line
