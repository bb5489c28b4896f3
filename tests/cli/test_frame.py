"""The group of verbs: help, exit codes, colour, what is imported when."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
import pytest

from reconciler import __version__
from reconciler.cli import SUMMARIES, VERBS, load, run
from reconciler.cli.common import emit, progress
from reconciler.cli.exits import Exit, Failure
from tests.cli.command import PROGRAM, Repo, process

PURE = ("init", "validate", "explain", "compile", "diff", "completion")


def commands() -> list[tuple[str, click.Command]]:
    """Every verb and subverb that people see."""
    found = []
    for verb in VERBS:
        command = load(verb)
        found.append((verb, command))
        if isinstance(command, click.Group):
            found += [(f"{verb} {name}", each) for name, each in command.commands.items()]
    return [(name, command) for name, command in found if not command.hidden]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_summary_that_its_help_begins_with(verb: str) -> None:
    assert (load(verb).help or "").split("\n")[0] == SUMMARIES[verb]


def test_every_verb_has_help_with_an_example() -> None:
    for name, command in commands():
        text = command.help or ""
        assert "Example:" in text, name
        example = text.split("Example:")[1]
        assert f"reconciler {name}" in example, name


def test_every_option_and_argument_of_every_verb_is_explained() -> None:
    for name, command in commands():
        for each in command.params:
            if isinstance(each, click.Option):
                assert each.help, f"{name}: {each.opts}"


def test_help_lists_every_verb_and_the_exit_codes(tmp_path: Path) -> None:
    done = process("--help", cwd=tmp_path)
    assert done.returncode == Exit.OK
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)
    assert "64 usage" in " ".join(done.stdout.split())


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert process("--version", cwd=tmp_path).stdout == f"reconciler {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        [],
        ["compile"],
        ["compile", "--host"],
        ["validate", "--output", "xml"],
        ["diff"],
        ["diff", "main"],
        ["diff", "a..b..c"],
        ["completion", "tcsh"],
        ["validate", "a", "--repo", "b"],
        ["compile", "--host", "edge-1", "-o", "markdown"],
    ],
)
def test_a_usage_error_exits_with_64_and_says_why_on_standard_error(
    arguments: list[str], tmp_path: Path
) -> None:
    done = process(*arguments, cwd=tmp_path)
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    assert "Usage: reconciler" in done.stderr or "Error: " in done.stderr


def test_exit_codes_reach_the_shell(sample: Repo) -> None:
    sample.replace("shop/web.yaml", "10.1.0.12", "10.1.0.22")
    sample.commit()
    wanted = {
        ("compile", "--host", "edge-1"): Exit.OK,
        ("compile", "--host", "nobody"): Exit.ERROR,
        ("diff", "HEAD~1.."): Exit.OK,
        ("diff", "HEAD~1..", "--detailed-exitcode"): Exit.CHANGES,
    }
    assert {each: process(*each, cwd=sample.path).returncode for each in wanted} == wanted


def test_a_misspelt_verb_is_answered_with_the_right_one(tmp_path: Path) -> None:
    assert "validate" in process("valdate", cwd=tmp_path).stderr


def test_a_failure_exits_with_its_code_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def fail(**_: object) -> None:
            raise Failure("host edge-1: refused; force it", Exit.REFUSED)

        patch.setattr(load("explain"), "callback", fail)
        assert run(["explain"]) == Exit.REFUSED
    assert capsys.readouterr().err == "error: host edge-1: refused; force it\n"


def test_an_interrupt_exits_as_shells_expect() -> None:
    with pytest.MonkeyPatch.context() as patch:

        def interrupt(**_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(load("explain"), "callback", interrupt)
        assert run(["explain"]) == Exit.INTERRUPTED


def test_a_reader_that_goes_away_gets_no_traceback(sample: Repo) -> None:
    line = f"{PROGRAM} compile --host edge-1 -o json | head -n 1"
    done = subprocess.run(
        ["bash", "-c", line], cwd=sample.path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


def test_a_full_device_is_an_error_and_no_traceback(sample: Repo) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, "compile", "--host", "edge-1"],
            cwd=sample.path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == Exit.ERROR
    assert done.stderr.splitlines() == [
        "error: the output cannot be written: no space left on its device"
    ]


@pytest.mark.parametrize("verb", PURE)
def test_a_pure_verb_imports_neither_bcc_nor_pyroute2(verb: str, sample: Repo) -> None:
    arguments = {
        "init": ["made"],
        "validate": ["--rev", "HEAD"],
        "explain": ["Host"],
        "compile": ["--host", "edge-1"],
        "diff": ["HEAD..HEAD"],
        "completion": ["bash"],
    }[verb]
    check = (
        "import sys\n"
        "from reconciler.cli import run\n"
        f"code = run({[verb, *arguments]!r})\n"
        "found = {'bcc', 'pyroute2', 'watchdog', 'prometheus_client'} & set(sys.modules)\n"
        "sys.exit(f'{code} {found}' if code or found else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=sample.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_large() -> None:
    check = (
        "import sys\n"
        "from reconciler.cli import run\n"
        "run(['--help'])\n"
        "large = {'numpy', 'pygit2', 'ruamel', 'jsonschema', 'rich', 'bcc', 'pyroute2'}\n"
        "sys.exit(str(large & set(sys.modules)) if large & set(sys.modules) else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def on_a_terminal(*arguments: str, cwd: Path, env: dict[str, str]) -> str:
    """What the command prints when standard output is a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, *arguments], cwd=cwd, stdout=follower, stderr=follower, env=env
    ):
        os.close(follower)
        seen = b""
        with suppress(OSError):  # EIO: the other side is closed
            while part := os.read(leader, 65536):
                seen += part
    os.close(leader)
    return seen.decode()


def test_colour_is_for_terminals_and_no_color_is_respected(sample: Repo) -> None:
    sample.replace("shop/web.yaml", "10.1.0.12", "10.1.0.22")
    sample.commit()
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    plain["TERM"] = "xterm"
    asked = ("diff", "HEAD~1..")
    assert "\x1b[33m" in on_a_terminal(*asked, cwd=sample.path, env=plain)
    assert "\x1b" not in on_a_terminal(*asked, cwd=sample.path, env={**plain, "NO_COLOR": "1"})
    assert "\x1b" not in process(*asked, cwd=sample.path).stdout


def test_only_lines_of_changes_are_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    with click.Context(click.Command("x"), color=True):
        emit("Plan: 1 to add\n  + Host edge-1\n--- a\n-1")
    lines = capsys.readouterr().out.split("\n")
    assert ["\x1b" in line for line in lines] == [False, True, False, False, False]


def test_work_over_a_second_shows_progress_and_shorter_work_nothing(tmp_path: Path) -> None:
    check = (
        "import time\nfrom reconciler.cli.common import progress\n"
        "with progress('quick [work]'): pass\n"
        "with progress('slow [work]'): time.sleep(1.5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.stderr == "slow [work] ...\n"
    assert done.stdout == ""


def test_progress_lets_errors_through() -> None:
    with pytest.raises(ValueError, match="wrong"), progress("working"):
        raise ValueError("wrong")
