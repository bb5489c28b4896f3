"""Completion as the shells ask for it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.cli import VERBS
from tests.cli.command import PROGRAM, process


def completed(words: str, cwd: Path) -> list[str]:
    """What bash would offer for the last word."""
    count = len(words.split(" ")) - 1
    env = {
        "_RECONCILER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(count),
    }
    done = process(cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_verbs_are_completed(tmp_path: Path) -> None:
    assert completed("reconciler ", tmp_path) == list(VERBS)
    assert completed("reconciler va", tmp_path) == ["validate"]


def test_options_of_a_verb_are_completed(tmp_path: Path) -> None:
    assert completed("reconciler diff --det", tmp_path) == ["--detailed-exitcode"]


def test_codes_and_kinds_are_completed(tmp_path: Path) -> None:
    assert completed("reconciler explain GRD100", tmp_path) == [f"GRD100{n}" for n in range(1, 8)]
    assert completed("reconciler explain end", tmp_path) == ["Endpoint"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_for_each_shell(shell: str, tmp_path: Path) -> None:
    done = process("completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    assert f"_RECONCILER_COMPLETE={shell}_complete" in done.stdout


def test_without_argument_the_script_is_that_of_the_users_shell(tmp_path: Path) -> None:
    asked = process("completion", cwd=tmp_path, env={"SHELL": "/usr/bin/fish"})
    assert asked.stdout == process("completion", "fish", cwd=tmp_path).stdout
    assert process("completion", cwd=tmp_path, env={"SHELL": "/bin/dash"}).returncode == 64


def test_the_script_works_in_bash(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    ask = (
        'eval "$(reconciler completion bash)"; COMP_WORDS=(reconciler comp); COMP_CWORD=1; '
        '_reconciler_completion reconciler; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", ask],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["compile", "completion"], done.stderr
