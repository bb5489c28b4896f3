"""How `compile` and `show` give a HostState: printed, or as the file that `apply --from` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reconciler.cli.common import emit, note
from reconciler.cli.exits import Failure

if TYPE_CHECKING:
    from reconciler.compile.state import HostState

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("json", "text")
NOT_HERE = ("markdown", "yaml")  # a form that is lacking is more likely meant than a file


def _form_or_file(context: click.Context, option: click.Parameter, output: str) -> str:
    if output in NOT_HERE:
        forms = " and ".join(FORMATS)
        raise click.UsageError(f"the forms are {forms}; for a file write -o ./{output}")
    return output


def state_output_option(function: F) -> F:
    """-o/--output, passed as `output`: a form or a file; a usage error for other verbs' forms."""
    return click.option(
        "-o",
        "--output",
        default="json",
        show_default=True,
        metavar="json|text|FILE",
        callback=_form_or_file,
        help="Form of the result, or the file to write (as JSON).",
    )(function)


def give_state(state: HostState, output: str, whose: str) -> None:
    """Print it in a form, or write it to a file and say `whose` it is; a Failure if that fails."""
    from reconciler.compile import serial
    from reconciler.plan.listing import listing

    if output in FORMATS:
        emit(serial.dump(state) if output == "json" else listing(state))
        return
    try:
        Path(output).write_text(serial.dump(state))
    except OSError as error:
        raise Failure(f"{output}: {error.strerror}; name a file that can be written") from None
    note(f"wrote {output}: {whose}")
