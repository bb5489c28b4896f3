"""`reconciler init`: the starter repository works at once, and nothing of the user's is touched."""

from pathlib import Path

import pytest

from reconciler.cli.exits import Exit
from tests.cli.command import Repo, process, reconciler


def test_the_starter_validates_compiles_and_is_committed(tmp_path: Path) -> None:
    done = reconciler("init", "net", cwd=tmp_path)
    assert done.returncode == Exit.OK, done.stderr
    net = tmp_path / "net"
    for asked in (["validate"], ["validate", "--rev", "main"]):
        checked = reconciler(*asked, cwd=net)
        assert checked.returncode == Exit.OK
        assert "9 manifests, no problems" in checked.stdout
    for host in ("edge-1", "edge-2"):
        assert reconciler("compile", "--host", host, cwd=net).returncode == Exit.OK
    assert Repo(net).git("status", "--porcelain") == ""
    assert Repo(net).git("branch", "--show-current") == "main"


def test_the_commands_that_init_names_work(tmp_path: Path) -> None:
    done = reconciler("init", "net", cwd=tmp_path)
    named = [line.split() for line in done.stdout.splitlines() if line.startswith("  reconciler")]
    assert len(named) == 2
    for _, *arguments in named:
        assert reconciler(*arguments, cwd=tmp_path).returncode == Exit.OK


def test_the_current_folder_is_the_default(tmp_path: Path) -> None:
    assert reconciler("init", cwd=tmp_path).returncode == Exit.OK
    assert (tmp_path / "cluster/hosts.yaml").is_file()
    assert reconciler("validate", cwd=tmp_path).returncode == Exit.OK


def test_a_clone_of_an_empty_repository_is_filled(tmp_path: Path) -> None:
    made = Repo(tmp_path / "net")
    assert reconciler("init", "net", cwd=tmp_path).returncode == Exit.OK
    assert made.git("log", "--format=%s") == "Begin the network"


def test_the_author_is_the_one_git_knows(tmp_path: Path) -> None:
    made = Repo(tmp_path / "net")
    made.git("config", "user.name", "Ada")
    made.git("config", "user.email", "ada@example.org")
    reconciler("init", "net", cwd=tmp_path)
    assert made.git("log", "--format=%an <%ae>") == "Ada <ada@example.org>"


def test_a_user_whom_git_does_not_know_can_begin_too(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    assert process("init", "net", cwd=tmp_path, env=env).returncode == Exit.OK


@pytest.mark.parametrize("present", ["README.md", ".gitignore", "zone/a.yaml"])
def test_a_folder_that_holds_something_is_left_alone(present: str, tmp_path: Path) -> None:
    path = tmp_path / "net" / present
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    done = reconciler("init", "net", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert f"net is not empty ({Path(present).parts[0]} is in it)" in done.stderr
    assert [each for each in (tmp_path / "net").rglob("*") if each.is_file()] == [path]
    assert path.read_text() == "mine"


def test_a_repository_with_commits_is_left_alone(tmp_path: Path) -> None:
    made = Repo(tmp_path / "net")
    made.commit("mine")
    done = reconciler("init", "net", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "net has commits already" in done.stderr


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    reconciler("init", "net", cwd=tmp_path)
    head = Repo(tmp_path / "net").git("rev-parse", "HEAD")
    assert reconciler("init", "net", cwd=tmp_path).returncode == Exit.ERROR
    assert Repo(tmp_path / "net").git("rev-parse", "HEAD") == head


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "net").write_text("")
    done = reconciler("init", "net", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "net is a file" in done.stderr


def test_a_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = reconciler("init", "file/net", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "Not a directory" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
