from pathlib import Path

import pygit2
import pytest

from reconciler.lab import repository
from reconciler.lab.layout import LabError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "manifests"
    (made / "hosts").mkdir(parents=True)
    (made / "hosts" / "edge.yaml").write_text("kind: Host\n")
    (made / "link.yaml").symlink_to("hosts/edge.yaml")
    return made


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return tmp_path / "bare.git"


def head(bare: Path) -> pygit2.Commit:
    return pygit2.Repository(str(bare)).head.peel(pygit2.Commit)


def push(bare: Path, text: str) -> None:
    """Another commit, as somebody's push would make it."""
    made = pygit2.Repository(str(bare))
    parent = made.head.peel(pygit2.Commit)
    builder = made.TreeBuilder(parent.tree)
    builder.insert("pushed.yaml", made.create_blob(text.encode()), 0o100644)
    author = pygit2.Signature("somebody", "somebody@localhost", 1, 0)
    made.create_commit("HEAD", author, author, "push", builder.write(), [parent.id])


def test_a_folder_becomes_a_bare_repository_with_its_files(folder: Path, bare: Path) -> None:
    followed = repository.follow_folder(folder, "", bare)
    assert (followed.path, followed.branch, followed.imported) == (str(bare), "main", True)
    tree = head(bare).tree
    assert tree["hosts/edge.yaml"].data == b"kind: Host\n"
    assert tree["link.yaml"].filemode == pygit2.enums.FileMode.LINK


def test_an_unchanged_folder_makes_no_second_commit(folder: Path, bare: Path) -> None:
    repository.follow_folder(folder, "", bare)
    before = head(bare).id
    repository.follow_folder(folder, "", bare)
    assert head(bare).id == before


def test_a_changed_folder_is_committed_on_top(folder: Path, bare: Path) -> None:
    repository.follow_folder(folder, "", bare)
    before = head(bare).id
    (folder / "hosts" / "edge.yaml").unlink()
    (folder / "new.yaml").write_text("kind: VPC\n")
    assert not repository.follow_folder(folder, "", bare).note
    assert head(bare).parent_ids == [before]
    assert {entry.name for entry in head(bare).tree} == {"link.yaml", "new.yaml"}


def test_a_push_is_kept_when_the_folder_has_not_changed(folder: Path, bare: Path) -> None:
    repository.follow_folder(folder, "", bare)
    push(bare, "kind: VPC\n")
    pushed = head(bare).id
    assert not repository.follow_folder(folder, "", bare).note
    assert head(bare).id == pushed


def test_a_push_wins_over_a_changed_folder_and_somebody_is_told(folder: Path, bare: Path) -> None:
    repository.follow_folder(folder, "", bare)
    push(bare, "kind: VPC\n")
    pushed = head(bare).id
    (folder / "new.yaml").write_text("kind: VPC\n")
    assert "kept what was pushed" in repository.follow_folder(folder, "", bare).note
    assert head(bare).id == pushed


def test_an_empty_folder_is_refused_with_the_remedy(tmp_path: Path, bare: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabError, match="reconciler init"):
        repository.follow_folder(tmp_path / "empty", "", bare)


def test_a_folder_inside_a_work_tree_is_a_folder_and_the_work_tree_a_repository(
    tmp_path: Path, folder: Path
) -> None:
    pygit2.init_repository(str(tmp_path), initial_head="trunk")
    assert repository.is_repository(tmp_path)
    assert not repository.is_repository(folder)
    assert repository.follow_local(tmp_path, "").branch == "trunk"


def test_a_bare_repository_is_one(folder: Path, bare: Path) -> None:
    repository.follow_folder(folder, "trunk", bare)
    assert repository.is_repository(bare)
    assert repository.current_branch(bare) == "trunk"


def test_a_detached_head_asks_for_a_branch(folder: Path, bare: Path) -> None:
    repository.follow_folder(folder, "", bare)
    made = pygit2.Repository(str(bare))
    made.set_head(head(bare).id)
    with pytest.raises(LabError, match="--branch"):
        repository.follow_local(bare, "")
