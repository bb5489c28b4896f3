"""Exit codes of every verb, and the error that ends a verb with one of them."""

from __future__ import annotations

from enum import IntEnum
from typing import IO, Any

import click


class Exit(IntEnum):
    """What a script can tell from the exit code."""

    OK = 0  # nothing to do, or done
    ERROR = 1
    CHANGES = 2  # changes or drift present: with --detailed-exitcode, and always for `drift`
    REFUSED = 3  # by a guard
    STALE = 4  # the plan that was reviewed is not the one that would be applied
    PARTLY = 5  # applied in part
    USAGE = 64  # EX_USAGE of sysexits.h
    INTERRUPTED = 130  # 128 + SIGINT, as shells do


class Failure(click.ClickException):
    """Ends the verb: the message, one place and remedy a line, goes to standard error."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        """With the exit code of the verb."""
        super().__init__(message)
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Without click's `Error:` where the message starts with its own place."""
        click.echo(f"error: {self.message}", file=file, err=file is None)
