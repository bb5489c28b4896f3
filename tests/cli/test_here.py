"""Which host a verb is for, and what it says when that cannot be told."""

import json
from pathlib import Path

import pytest

from reconciler.agent import config
from reconciler.cli import here
from reconciler.cli.exits import Exit
from tests.cli.command import process, reconciler


@pytest.fixture(autouse=True)
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configurations of the test's own, on a machine where no agent ever ran."""
    folder = tmp_path / "etc"
    folder.mkdir()
    monkeypatch.setattr(here, "ETC", folder)
    monkeypatch.setattr(config, "RUN", tmp_path / "no-agent")
    return folder


def configure(etc: Path, name: str, host: str, **settings: object) -> None:
    body = {
        "host": host,
        "repository": "/nowhere/network.git",
        "stateDir": str(etc.parent / "state" / host),
        "runDir": str(etc.parent / "run" / host),
        **settings,
    }
    (etc / name).write_text(json.dumps(body))


def test_without_any_configuration_the_verb_asks_which_host(tmp_path: Path) -> None:
    done = reconciler("drift", cwd=tmp_path)
    assert done.returncode == Exit.USAGE
    assert "which host?" in done.stderr


def test_the_only_configuration_is_taken(tmp_path: Path, etc: Path) -> None:
    configure(etc, "agent.yaml", "edge-1")
    done = reconciler("drift", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "host edge-1: nothing was applied here yet" in done.stderr


def test_of_several_configurations_the_one_called_after_the_host_is_taken(
    tmp_path: Path, etc: Path
) -> None:
    configure(etc, "edge-1.yaml", "edge-1")
    configure(etc, "edge-2.yaml", "edge-2")
    assert reconciler("drift", cwd=tmp_path).returncode == Exit.USAGE
    done = reconciler("drift", "--host", "edge-2", cwd=tmp_path)
    assert str(tmp_path / "state" / "edge-2") in done.stderr


def test_the_configuration_of_another_host_is_left_alone(tmp_path: Path, etc: Path) -> None:
    configure(etc, "agent.yaml", "edge-1")
    done = reconciler(
        "drift", "--host", "edge-9", "--state-dir", str(tmp_path / "other"), cwd=tmp_path
    )
    assert "host edge-9: nothing was applied here yet" in done.stderr
    assert str(tmp_path / "other") in done.stderr


def test_every_mistake_of_the_configuration_is_shown(tmp_path: Path, etc: Path) -> None:
    configure(etc, "agent.yaml", "edge-1", drift="often", gards={})
    done = reconciler("agent", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "`drift`" in done.stderr
    assert "did you mean `guards`?" in done.stderr


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = reconciler("status", "--config", "nowhere.yaml", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "nowhere.yaml" in done.stderr


@pytest.mark.parametrize("verb", ["agent", "plan", "apply"])
def test_verbs_that_read_commits_ask_for_a_repository(tmp_path: Path, verb: str) -> None:
    done = reconciler(
        verb,
        *("--host", "edge-1"),
        *("--run-dir", str(tmp_path / "run"), "--state-dir", str(tmp_path / "state")),
        cwd=tmp_path,
    )
    assert done.returncode in (Exit.ERROR, Exit.USAGE)
    assert "repo" in done.stderr


def test_status_of_a_host_whose_agent_never_ran_says_how_to_start_one(
    tmp_path: Path, etc: Path
) -> None:
    configure(etc, "agent.yaml", "edge-1")
    done = reconciler("status", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "reconciler agent" in done.stderr


def test_a_state_that_is_none_is_refused_by_apply(tmp_path: Path, etc: Path) -> None:
    configure(etc, "agent.yaml", "edge-1")
    (tmp_path / "state.json").write_text('{"format": "something"}')
    done = reconciler("apply", "--from", "state.json", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "state.json" in done.stderr


def test_a_repository_named_by_a_relative_path_is_found_from_here(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    done = reconciler(
        *("plan", "--host", "edge-1", "--repo", "network"),
        *("--run-dir", str(tmp_path / "run"), "--state-dir", str(tmp_path / "state")),
        cwd=tmp_path,
    )
    assert done.returncode == Exit.ERROR
    assert str(tmp_path / "network") in done.stderr


@pytest.mark.parametrize("verb", ["plan", "apply", "agent"])
def test_without_a_repository_the_verb_asks_which_one(verb: str, tmp_path: Path) -> None:
    done = reconciler(verb, "--host", "edge-1", cwd=tmp_path)
    assert done.returncode == Exit.USAGE
    assert "which repository? name it by --repo" in done.stderr


def test_a_host_is_not_removed_without_a_word_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = process("host", "remove", "--host", "edge-1", cwd=tmp_path)
    assert done.returncode == Exit.USAGE
    assert "--yes" in done.stderr
