"""Layers are law: who may import whom, which modules are pure, who reads arguments and prints.

Each rule is a function from a parsed module to its violations, tried on samples before the package.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "reconciler"

# The pipeline from left to right: a module imports from its own folder and from those before it.
PIPELINE = (
    *("abi", "source", "manifest", "model", "compile", "plan"),
    *("review", "datapath", "agent", "forge", "lab", "cli"),
)
PURE = {"abi", "manifest", "model", "compile", "plan", "review"}

# What a pure module may import from elsewhere: nothing here can reach a file, a socket, a clock,
# the environment or a log, the calls of IMPURE_CALLS apart.
PURE_IMPORTS = frozenset(
    "__future__ abc base64 binascii bisect collections contextlib copy dataclasses difflib enum "
    "fnmatch functools hashlib heapq io ipaddress itertools json math operator re reprlib string "
    "struct textwrap types typing unicodedata uuid zlib "
    "jsonschema jsonschema_specifications numpy referencing ruamel typing_extensions".split()
)
IMPURE_CALLS = frozenset(
    "breakpoint compile eval exec input open print "
    "io.FileIO io.open io.open_code numpy.fromfile numpy.genfromtxt numpy.load "
    "numpy.loadtxt numpy.memmap numpy.random numpy.save numpy.savetxt numpy.savez "
    "uuid.getnode uuid.uuid1 uuid.uuid4".split()
)
FILE_METHODS = frozenset(
    "glob iterdir mkdir open read_bytes read_text rglob tofile touch unlink write_bytes "
    "write_text".split()
)
ONLY_CLI = frozenset(
    "os.environ os.environb os.getenv os.putenv sys.argv sys.exit sys.stdin sys.stdout sys.stderr "
    "print input exit quit click.echo click.secho rich.print rich.console".split()
)


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed module: its dotted name, whether it is a package, its tree."""

    name: str
    package: bool
    tree: ast.Module

    @property
    def folder(self) -> str:
        """Its place in the pipeline; "" for the package's own files."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 2 or (self.package and len(parts) == 2) else ""


def module_of(name: str, text: str, *, package: bool = False) -> Module:
    return Module(name, package, ast.parse(text))


def modules() -> dict[str, Module]:
    """Every module of the package, by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if package else parts)
        found[name] = module_of(name, path.read_text(), package=package)
    return found


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands; `from a import b` gives a.b."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.name.split(".")
            base = base[: len(base) - node.level + module.package] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{prefix}.{each.name}") for each in node.names)


def uses(module: Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every name and attribute, with import aliases resolved."""
    aliases: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for each in node.names:
                if each.asname or prefix:
                    aliases[each.asname or each.name] = prefix + each.name
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name | ast.Attribute):
            head, _, rest = ast.unparse(node).partition(".")
            head = aliases.get(head, head)
            yield node.lineno, f"{head}.{rest}" if rest else head


def layer_violations(module: Module) -> list[str]:
    """Imports from the right, and any way to import that this scan could not see."""
    found = []
    here = PIPELINE.index(module.folder) if module.folder in PIPELINE else None
    if here is None and module.name not in ("reconciler", "reconciler.__main__"):
        return [f"{module.name}: in no folder of the pipeline"]
    for line, name in imports(module):
        parts = name.split(".")
        if parts[0] == "reconciler" and len(parts) > 1 and parts[1] in PIPELINE:
            if here is not None and PIPELINE.index(parts[1]) > here:
                found.append(f"{module.name}:{line}: {module.folder} imports {name}")
            if module.name == "reconciler":
                found.append(f"{module.name}:{line}: the package itself imports {name}")
    hidden = {"importlib.import_module", "__import__"}
    found += [
        f"{module.name}:{line}: hides an import" for line, name in uses(module) if name in hidden
    ]
    return found


def purity_violations(module: Module) -> list[str]:
    """Anything that could touch a file, socket, clock, environment or log."""
    found = [
        f"{module.name}:{line}: imports {name}"
        for line, name in imports(module)
        if name.partition(".")[0] not in PURE_IMPORTS | {"reconciler"}
    ]
    for line, name in uses(module):
        if any(name == call or name.startswith(call + ".") for call in IMPURE_CALLS):
            found.append(f"{module.name}:{line}: uses {name}")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in FILE_METHODS:
                found.append(f"{module.name}:{node.lineno}: calls .{node.func.attr}()")
        elif isinstance(node, ast.Global):
            found.append(f"{module.name}:{node.lineno}: writes a global variable")
    return found


def cli_violations(module: Module) -> list[str]:
    """Reading arguments or environment, printing and exiting outside of cli."""
    if module.folder == "cli" or module.name == "reconciler.__main__":
        return []
    return [
        f"{module.name}:{line}: uses {name}"
        for line, name in {*uses(module), *imports(module)}
        if any(name == each or name.startswith(each + ".") for each in ONLY_CLI)
    ]


def with_what_they_import(chosen: set[str], known: dict[str, Module]) -> set[str]:
    """The chosen modules and all modules of the package that importing them runs."""
    reached: set[str] = set()
    waiting = set(chosen)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        parts = name.split(".")
        targets = {".".join(parts[:length]) for length in range(1, len(parts))}
        for _, target in imports(known[name]):
            parts = target.split(".")
            targets |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
        waiting |= {each for each in targets if each in known} - reached
    return reached


def test_a_module_imports_only_from_its_own_folder_and_those_before_it() -> None:
    found = [each for module in modules().values() for each in layer_violations(module)]
    assert not found, "\n".join(found)


def test_pure_folders_and_what_they_import_touch_nothing_outside() -> None:
    known = modules()
    pure = {name for name, module in known.items() if module.folder in PURE}
    assert pure
    found = [
        each
        for name in sorted(with_what_they_import(pure, known))
        for each in purity_violations(known[name])
    ]
    assert not found, "\n".join(found)


def test_only_the_command_line_reads_arguments_and_environment_and_prints() -> None:
    found = [each for module in modules().values() for each in cli_violations(module)]
    assert not found, "\n".join(found)


def test_every_folder_of_the_package_has_its_place_in_the_pipeline() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= set(PIPELINE)


@pytest.mark.parametrize(
    "text",
    [
        "import reconciler.plan.diff",
        "from reconciler.plan import diff",
        "from reconciler import plan",
        "from ..plan import diff",
        "from .. import plan",
        "def late():\n    from reconciler.cli import main",
        "if TYPE_CHECKING:\n    from reconciler.agent.loop import Agent",
        "import importlib\nimportlib.import_module('reconciler.plan')",
        "from importlib import import_module as get\nget('reconciler.plan')",
        "__import__('reconciler.plan')",
    ],
)
def test_an_import_from_the_right_is_found(text: str) -> None:
    assert layer_violations(module_of("reconciler.compile.host", text))


@pytest.mark.parametrize(
    "text",
    [
        "import reconciler.model.topology",
        "from . import state",
        "from .state import HostState",
        "from ..abi import table",
        "import numpy",
    ],
)
def test_an_import_from_the_left_is_allowed(text: str) -> None:
    assert not layer_violations(module_of("reconciler.compile.host", text))


def test_a_relative_import_in_a_package_counts_from_the_package() -> None:
    package = module_of("reconciler.compile", "from ..plan import diff", package=True)
    assert layer_violations(package)
    assert not layer_violations(
        module_of("reconciler.compile", "from . import state", package=True)
    )


def test_a_module_outside_the_pipeline_is_found() -> None:
    assert layer_violations(module_of("reconciler.util", ""))
    assert layer_violations(module_of("reconciler.helpers.strings", ""))


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "from os import environ",
        "import time",
        "import datetime",
        "import logging",
        "import socket",
        "import subprocess",
        "from pathlib import Path",
        "import pygit2",
        "open('file')",
        "import io\nio.open('file')",
        "import numpy as np\nnp.random.default_rng()",
        "import numpy\nnumpy.load('file')",
        "from numpy import fromfile as get\nget('file')",
        "def f(path):\n    return path.read_text()",
        "def f():\n    global state\n    state = 1",
        "print('hello')",
    ],
)
def test_an_impure_statement_is_found(text: str) -> None:
    assert purity_violations(module_of("reconciler.compile.host", text))


def test_a_pure_module_answers_for_the_edge_modules_that_it_imports() -> None:
    known = {
        "reconciler": module_of("reconciler", "", package=True),
        "reconciler.source": module_of("reconciler.source", "import os", package=True),
        "reconciler.source.files": module_of("reconciler.source.files", ""),
        "reconciler.model.read": module_of(
            "reconciler.model.read", "from reconciler.source.files import Snapshot"
        ),
    }
    reached = with_what_they_import({"reconciler.model.read"}, known)
    assert reached == set(known)


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.environ['HOME']",
        "from os import environ as env\nenv.get('HOME')",
        "import os\nos.getenv('HOME')",
        "import sys\nsys.argv[1]",
        "import sys as s\ns.stdout.write('x')",
        "print('x')",
        "import click\nclick.echo('x')",
        "from rich.console import Console",
    ],
)
def test_a_reader_of_the_environment_or_printer_outside_the_command_line_is_found(
    text: str,
) -> None:
    assert cli_violations(module_of("reconciler.agent.loop", text))
    assert not cli_violations(module_of("reconciler.cli.agent", text))


def test_the_standard_names_a_pure_module_may_import_exist() -> None:
    third_party = {"jsonschema", "jsonschema_specifications", "numpy", "referencing", "ruamel"}
    assert PURE_IMPORTS - third_party - {"typing_extensions"} <= sys.stdlib_module_names
