"""Finding and Problem: what is wrong with a manifest, before and after it has a line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_FINDINGS = 200  # of one file; nobody reads more at once
MAX_ALL_FINDINGS = 10_000  # of a commit, give or take those of one file


class Severity(StrEnum):
    """Whether a commit with this problem can be compiled."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What is wrong, with its place as a path through the document; `place.place` finds the line.

    `document` counts the documents of the file from 0; -1 means the file as a whole. `pointer` is
    a JSON pointer (RFC 6901); with `on_key` the key of that member is meant, not its value. Who
    knows line and column already (a syntax error) states them, counted from 1.
    """

    path: str
    document: int
    pointer: str
    code: str
    message: str
    severity: Severity = Severity.ERROR
    on_key: bool = False
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """`str()` gives `path:line:col: CODE severity: what is wrong; what would be right`.

    Lines and columns count from 1; 0 means the whole file. `code` is a key of codes.CODES.
    """

    path: str
    line: int
    column: int
    code: str
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """The greppable line."""
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        return f"{place}: {self.code} {self.severity}: {self.message}"


def pointer(*steps: str | int) -> str:
    """The JSON pointer of these steps: `pointer("spec", "cidrs", 0)` is "/spec/cidrs/0"."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
