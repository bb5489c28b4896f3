"""Problem: a finding about a manifest, with its place and its code, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether a commit with this problem can be compiled."""

    ERROR = "error"
    WARNING = "warning"


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
