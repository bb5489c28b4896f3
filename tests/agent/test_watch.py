"""Real pushes into real bare repositories, seen through inotify; nothing polls."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.agent.watch import Folder, FolderWatch, any_name, repository_folders

SOON = 10.0  # seconds; only a failure waits so long


def git(*arguments: str | Path, at: Path) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *map(str, arguments)]
    return subprocess.run(command, cwd=at, check=True, text=True, capture_output=True).stdout


class Repositories:
    """A bare repository, a clone to push from, and a count of what was heard."""

    def __init__(self, folder: Path) -> None:
        self.bare, self.clone = folder / "network.git", folder / "clone"
        git("init", "--quiet", "--bare", "--initial-branch=main", self.bare, at=folder)
        git("clone", "--quiet", self.bare, self.clone, at=folder)
        git("checkout", "--quiet", "-B", "main", at=self.clone)
        self.heard = threading.Event()
        self.commit_and_push()

    def commit_and_push(self) -> None:
        git("commit", "--quiet", "--allow-empty", "-m", "change", at=self.clone)
        git("push", "--quiet", "origin", "main", at=self.clone)

    def quiet(self) -> bool:
        """Nothing is heard for a while."""
        self.heard.clear()
        return not self.heard.wait(0.3)


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path)


@pytest.fixture
def watch(repositories: Repositories) -> Iterator[FolderWatch]:
    watch = FolderWatch(lambda: repository_folders(repositories.bare, repositories.heard.set))
    watch.start()
    try:
        assert repositories.quiet()
        yield watch
    finally:
        watch.stop()


@pytest.mark.usefixtures("watch")
def test_a_push_wakes(repositories: Repositories) -> None:
    repositories.commit_and_push()
    assert repositories.heard.wait(SOON)


@pytest.mark.usefixtures("watch")
def test_reading_the_repository_does_not_wake(repositories: Repositories) -> None:
    git("log", at=repositories.bare)
    git("rev-parse", "main", at=repositories.bare)
    assert repositories.quiet()


@pytest.mark.usefixtures("watch")
def test_packing_the_refs_wakes_and_so_does_the_push_after_it(repositories: Repositories) -> None:
    git("pack-refs", "--all", at=repositories.bare)
    assert repositories.heard.wait(SOON)
    repositories.quiet()
    repositories.commit_and_push()
    assert repositories.heard.wait(SOON)


@pytest.mark.usefixtures("watch")
def test_a_branch_in_a_new_folder_of_refs_wakes(repositories: Repositories) -> None:
    git("push", "--quiet", "origin", "main:refs/heads/teams/blue/main", at=repositories.clone)
    assert repositories.heard.wait(SOON)
    repositories.quiet()
    git("commit", "--quiet", "--allow-empty", "-m", "change", at=repositories.clone)
    git("push", "--quiet", "origin", "main:refs/heads/teams/blue/main", at=repositories.clone)
    assert repositories.heard.wait(SOON)


def test_a_repository_that_is_replaced_is_taken_up_again(
    repositories: Repositories, watch: FolderWatch
) -> None:
    other = repositories.bare.with_name("other.git")
    shutil.copytree(repositories.bare, other)
    shutil.rmtree(repositories.bare)
    other.rename(repositories.bare)
    repositories.quiet()
    watch.refresh()
    assert repositories.heard.is_set()
    repositories.quiet()
    repositories.commit_and_push()
    assert repositories.heard.wait(SOON)


def test_a_repository_reached_through_a_symbolic_link_is_watched(
    repositories: Repositories, tmp_path: Path
) -> None:
    link = tmp_path / "link.git"
    link.symlink_to(repositories.bare)
    watch = FolderWatch(lambda: repository_folders(link, repositories.heard.set))
    watch.start()
    try:
        repositories.quiet()
        repositories.commit_and_push()
        assert repositories.heard.wait(SOON)
    finally:
        watch.stop()


def test_a_folder_that_appears_is_taken_up_with_a_wake(tmp_path: Path) -> None:
    heard = threading.Event()
    watch = FolderWatch(lambda: (Folder(tmp_path / "netns", False, any_name, heard.set),))
    watch.start()
    try:
        assert not heard.is_set()
        (tmp_path / "netns").mkdir()
        watch.refresh()
        assert heard.is_set()
        heard.clear()
        (tmp_path / "netns" / "shop.web-1").touch()
        assert heard.wait(SOON)
    finally:
        watch.stop()
