"""bpf/maps.h, bpf/drops.bpf.c and bpf/abi.h -> the tables of maps and reasons in bpf/README.md.

Run by hand after a change of either; `--check` only says (exit code 1) whether they are stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from reconciler.abi.generated import MAPS
from reconciler.abi.spec import Record

HERE = Path(__file__).resolve().parent
TARGET = HERE / "README.md"
MAPS_IN = ("maps.h", "drops.bpf.c")
MAP = re.compile(r"/\* ([^*]+?) \*/\nstruct \{\n(?:\t[^\n]*\n)+\} (\w+) SEC", re.S)
REASON = re.compile(r"\tREASON_(\w+)(?: = \d+)?, /\* (.+?) \*/")


def columns(record: Record) -> str:
    """The names of a key's or value's columns; facts are marked with a star."""
    names = record.dtype.names or ()
    return ", ".join(f"{name}*" if name in record.facts else name for name in names)


def maps_table(source: str) -> str:
    """One line for each map, in the order of the sources."""
    lines = [
        "| map | what it says | whose | kind | key | value | rows |",
        "|---|---|---|---|---|---|---|",
    ]
    for purpose, name in MAP.findall(source):
        spec = MAPS[name]
        sizes = spec.key.dtype.itemsize, spec.value.dtype.itemsize
        kind = spec.kind.name.lower().replace("_", " ")
        lines.append(
            f"| `{name}` | {purpose} | {spec.ownership} | {kind} "
            f"| {columns(spec.key)} ({sizes[0]}) | {columns(spec.value)} ({sizes[1]}) "
            f"| {spec.capacity:,} |"
        )
    return "\n".join(lines)


def reasons_table(source: str) -> str:
    """One line for each reason, in the order of abi.h."""
    lines = ["| reason | what happened |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in REASON.findall(source)]
    return "\n".join(lines)


def fill(text: str, name: str, table: str) -> str:
    """The text with the table between its two marks."""
    marks = f"<!-- {name}: made by bpf/gentables.py -->\n", f"\n<!-- end of {name} -->"
    before, rest = text.split(marks[0])
    _, after = rest.split(marks[1])
    return before + marks[0] + table + marks[1] + after


def main(arguments: list[str]) -> int:
    """Fill in the tables, or with --check compare them."""
    old = TARGET.read_text()
    new = fill(old, "maps", maps_table("".join((HERE / each).read_text() for each in MAPS_IN)))
    new = fill(new, "reasons", reasons_table((HERE / "abi.h").read_text()))
    if "--check" in arguments:
        if new != old:
            print("bpf/README.md is stale; run `python bpf/gentables.py`", file=sys.stderr)
        return int(new != old)
    TARGET.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
