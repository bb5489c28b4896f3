"""Pieces of markdown for comments on a forge, which bounds their length."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from reconciler.plan.diff import Counts

LIMIT = 60_000  # bytes of UTF-8; GitHub takes 65,536 characters, and a caller may add a few
STEPS = (1000, 100, 30, 10, 3, 0)


def bounded(render: Callable[[int], str], last: str) -> str:
    """`render(shown)` with the most lines that fit; if none does, its first lines and `last`."""
    for shown in STEPS:
        made = render(shown)
        if len(made.encode()) <= LIMIT:
            return made
    kept, room = [], LIMIT - len(last.encode()) - 200
    for line in made.split("\n"):
        room -= len(line.encode()) + 1
        if room < 0 or line.startswith("<details>"):
            break
        kept.append(line)
    return "\n".join([*kept, "", "Too long for a comment; `-o json` shows all.", "", last, ""])


def counts_table(title: str, kinds: Mapping[str, Counts]) -> list[str]:
    """Rows of a markdown table, with a blank line before."""
    rows = [f"| {name} | {c.add} | {c.change} | {c.delete} |" for name, c in kinds.items()]
    return ["", f"| {title} | add | change | delete |", "|---|--:|--:|--:|", *rows] if rows else []


def folded(title: str, lines: Sequence[str], language: str) -> list[str]:
    """A block that opens on a click; its fence is longer than any in the lines."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    head = ["", f"<details><summary>{title}</summary>", ""]
    return [*head, f"{fence}{language}", *lines, fence, "", "</details>"]
