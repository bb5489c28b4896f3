"""Compiled objects -> reconciler/abi/generated.py: map specs, enums and program constants.

Run by `make abi`; `--check` only says (exit code 1) whether the file is stale.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from reconciler.abi.btf import Reader
from reconciler.abi.spec import MapSpec, Record

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "reconciler" / "abi" / "generated.py"
HEADER = '''"""Made from bpf/abi.h and bpf/maps.h by `make abi`; do not edit.

The layouts of every map, the enums and the program constants, as the objects' BTF has them.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from types import MappingProxyType

import numpy as np

from reconciler.abi.spec import MapKind, MapSpec, Ownership, Record

'''
FLAGS = {"option_flag", "endpoint_flag", "host_flag"}


def record(value: Record) -> str:
    """Source text of a Record."""
    facts = ", ".join(repr(each) for each in sorted(value.facts))
    frozen = f"frozenset({{{facts}}})" if facts else "frozenset()"
    return f"Record(np.dtype({value.dtype.descr!r}), {dict(value.meaning)!r}, {frozen})"


def spec(value: MapSpec) -> str:
    """Source text of a MapSpec."""
    return (
        f"MapSpec(\n    {value.name!r},\n    MapKind.{value.kind.name},\n"
        f"    {record(value.key)},\n    {record(value.value)},\n"
        f"    {value.capacity},\n    {value.flags},\n    Ownership.{value.ownership.name},\n)"
    )


def render(readers: list[Reader]) -> str:
    """The whole file; every object must describe a shared name in the same way."""
    maps: dict[str, str] = {}
    enums: dict[str, dict[str, int]] = {}
    for reader in readers:
        for name, found in reader.maps().items():
            if maps.setdefault(name, spec(found)) != spec(found):
                raise SystemExit(f"genabi: map {name} differs between objects")
        enums.update(reader.enums())
    parts = []
    for name in sorted(enums):
        base = "IntFlag" if name in FLAGS else "IntEnum"
        prefix = name.split("_")[0].upper() + "_"
        title = "".join(word.title() for word in name.split("_"))
        members = enums[name]
        if "___" in name or not all(member.startswith(prefix) for member in members):
            continue  # the kernel's own
        lines = [f"    {m.removeprefix(prefix)} = {v}" for m, v in members.items()]
        parts.append(
            f'class {title}({base}):\n    """enum {name} of bpf/abi.h."""\n\n' + "\n".join(lines)
        )
    entries = "".join(f"{name!r}: {text},\n" for name, text in sorted(maps.items()))
    body = f"MAPS = MappingProxyType({{\n{entries}}})\n"
    body += f"CONSTANTS = {record(readers[0].struct('constants'))}\n"
    text = "\n\n\n".join([*parts, body])
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    abi = f'# Names this layout in serialised host states.\nABI = "{digest}"'
    return f"{HEADER}\n{text}\n{abi}\n"


def formatted(source: str) -> str:
    """The text as `ruff format` leaves it, so that lint and freshness agree."""
    import subprocess

    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [str(ruff), "format", "--stdin-filename", str(TARGET), "-"],
        input=source, capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return done.stdout


def main(arguments: list[str]) -> int:
    """Write the file, or with --check compare it."""
    objects = [Path(each) for each in arguments if not each.startswith("-")]
    if not objects:
        print("usage: genabi.py [--check] OBJECT...", file=sys.stderr)
        return 64
    text = formatted(render([Reader(each.read_bytes()) for each in objects]))
    if "--check" in arguments:
        if not TARGET.exists() or TARGET.read_text() != text:
            print(f"{TARGET.relative_to(ROOT)} is stale; run `make abi`", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
