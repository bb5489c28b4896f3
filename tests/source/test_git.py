"""Repositories on this machine: what a revision means, whose they are, where to watch them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from reconciler.agent.watch import repository_folders
from reconciler.source.git import GitSource, Repository, SourceError
from tests.source.repositories import WHO, commit, create


def git(folder: Path, *arguments: str) -> str:
    """The real git, without anybody's settings."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{who}_{what}": "o@example.com"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    command = ["git", "-C", str(folder), "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository with a work tree, one commit and one change that is not committed."""
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.yaml").write_text("committed")
    git(folder, "add", "a.yaml")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "a.yaml").write_text("not committed")
    (folder / "b.yaml").write_text("not committed")
    return folder


def opened(path: Path, **options: str | bool) -> Repository:
    return Repository.open(GitSource(str(path), **options))  # type: ignore[arg-type]


def contents(repository: Repository, revision: str = "") -> dict[str, bytes]:
    snapshot = repository.snapshot(repository.resolve(revision))
    return {file.path: file.data for file in snapshot.files}


def test_only_commits_are_read_and_never_the_work_tree(work: Path) -> None:
    assert contents(opened(work)) == {"a.yaml": b"committed"}
    assert contents(opened(work / ".git")) == {"a.yaml": b"committed"}


def test_a_repository_is_found_from_a_folder_within(work: Path) -> None:
    (work / "net").mkdir()
    assert contents(opened(work / "net")) == {"a.yaml": b"committed"}


def test_a_bare_repository_is_read(tmp_path: Path) -> None:
    create(tmp_path, {"a.yaml": "a"})
    assert contents(opened(tmp_path)) == {"a.yaml": b"a"}
    assert not opened(tmp_path).is_remote


def test_an_added_work_tree_is_read_and_watched_where_its_refs_are(work: Path) -> None:
    git(work, "worktree", "add", "-q", "-b", "side", "../side")
    side = work.parent / "side"
    (side / "a.yaml").write_text("side")
    git(side, "commit", "-q", "-a", "-m", "second")
    assert contents(opened(side)) == {"a.yaml": b"side"}
    assert contents(opened(work)) == {"a.yaml": b"committed"}
    assert opened(side).watch_path() == (work / ".git").resolve()


def test_revisions_mean_what_they_mean_to_git(work: Path) -> None:
    git(work, "commit", "-q", "-a", "-m", "second")
    git(work, "tag", "-a", "v1", "-m", "release")
    repository = opened(work)
    for revision in (
        "HEAD",
        "main",
        "v1",
        "HEAD~1",
        "HEAD^{commit}",
        git(work, "rev-parse", "HEAD")[:8],
    ):
        assert repository.resolve(revision) == git(work, "rev-parse", f"{revision}^{{commit}}")


@pytest.mark.parametrize("revision", ["nowhere", "a b", "HEAD~9", "0" * 40, "HEAD:a.yaml", "\n"])
def test_a_revision_that_is_no_commit_is_an_error(work: Path, revision: str) -> None:
    with pytest.raises(SourceError, match="has no commit") as caught:
        opened(work).resolve(revision)
    assert not caught.value.again


def test_the_branch_is_what_counts_where_one_is_named(work: Path) -> None:
    git(work, "branch", "stable")
    git(work, "commit", "-q", "-a", "-m", "second")
    assert contents(opened(work, branch="stable")) == {"a.yaml": b"committed"}
    assert contents(opened(work)) == {"a.yaml": b"not committed"}


def test_a_branch_that_is_missing_is_an_error_that_names_those_there_are(work: Path) -> None:
    with pytest.raises(SourceError, match="has no branch `mian`; it has main") as caught:
        opened(work, branch="mian").resolve()
    assert caught.value.again


def test_a_repository_without_a_commit_is_an_error(tmp_path: Path) -> None:
    create(tmp_path)
    with pytest.raises(SourceError, match="has no commit yet") as caught:
        opened(tmp_path).resolve()
    assert caught.value.again
    with pytest.raises(SourceError, match="has no commit yet"):
        opened(tmp_path, branch="main").resolve()


def test_what_is_no_repository_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(SourceError, match="is no git repository"):
            opened(path)


@pytest.mark.parametrize(
    "url",
    ["", "http://example.com/a", "git://example.com/a", "ftp://example.com/a", "https://", "x\ny"],
)
def test_an_address_that_cannot_be_verified_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        Repository.open(GitSource(url, cache=tmp_path))
    assert not caught.value.again


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds a password") as caught:
        Repository.open(GitSource("https://user:geheim@example.com/a", cache=tmp_path))
    assert "geheim" not in str(caught.value)


def test_new_commits_are_seen_without_opening_again(tmp_path: Path) -> None:
    made = create(tmp_path, {"a.yaml": "1"})
    repository = opened(tmp_path)
    first = repository.resolve()
    commit(made, {"a.yaml": "2"})
    assert contents(repository) == {"a.yaml": b"2"}
    assert contents(repository, first) == {"a.yaml": b"1"}


def test_packed_refs_and_a_replaced_repository_are_seen_without_opening_again(work: Path) -> None:
    repository = opened(work)
    git(work, "commit", "-q", "-a", "-m", "second")
    git(work, "pack-refs", "--all")
    git(work, "gc", "-q", "--prune=now")
    assert contents(repository) == {"a.yaml": b"not committed"}
    shutil.rmtree(work)
    create(work, {"c.yaml": "other"})
    assert contents(repository) == {"c.yaml": b"other"}


def test_a_repository_that_is_gone_is_an_error_worth_trying_again(tmp_path: Path) -> None:
    create(tmp_path / "a", {"a.yaml": "1"})
    repository = opened(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(SourceError) as caught:
        repository.resolve()
    assert caught.value.again


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Path]:
    """A repository of another user."""
    if os.geteuid() != 0:
        pytest.skip("not on this machine: root, to give a file to another user")
    path = tmp_path / "foreign"
    create(path, {"a.yaml": "a"})
    os.chown(path, 4242, 4242)
    return path


def test_a_repository_of_another_user_is_refused(foreign: Path) -> None:
    with pytest.raises(SourceError, match=r"belongs to another user.*trusted") as caught:
        opened(foreign)
    assert not caught.value.again


def test_a_repository_of_another_user_is_read_if_it_is_trusted(foreign: Path) -> None:
    assert contents(opened(foreign, trusted=True)) == {"a.yaml": b"a"}
    with pytest.raises(SourceError, match="belongs to another user"):
        opened(foreign)  # trust in one repository is no trust in the next


@pytest.mark.parametrize(
    "change",
    [
        ["commit", "-q", "-a", "-m", "second"],
        ["pack-refs", "--all"],
        ["branch", "side"],
        ["symbolic-ref", "HEAD", "refs/heads/other"],
    ],
)
def test_a_ref_that_moves_changes_a_file_that_counts(work: Path, change: list[str]) -> None:
    watched = opened(work).watch_path()
    assert watched == work / ".git"
    before = stamps(watched)
    git(work, *change)
    changed = {path for path, stamp in stamps(watched).items() if before.get(path) != stamp}
    assert any(moves_a_ref(watched, path) for path in changed)


def moves_a_ref(watched: Path, path: Path) -> bool:
    """Whether the agent's watch counts a change of `path`."""
    return any(
        (path.parent == each.path or (each.recursive and path.is_relative_to(each.path)))
        and each.relevant(path.name)
        for each in repository_folders(watched, lambda: None)
    )


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "name", ["objects/ab/cdef", "index", "refs/heads/main.lock", "logs/refs/heads/main", "config"]
)
def test_other_files_of_a_repository_do_not_count(name: str, tmp_path: Path) -> None:
    assert not moves_a_ref(tmp_path, tmp_path / name)
    assert not moves_a_ref(tmp_path, Path("/elsewhere/refs/heads/main"))


def test_a_commit_by_another_library_is_the_same_to_us(tmp_path: Path) -> None:
    made = pygit2.init_repository(str(tmp_path))
    (tmp_path / "a.yaml").write_text("a")
    made.index.add("a.yaml")
    made.index.write()
    oid = made.create_commit("HEAD", WHO, WHO, "x", made.index.write_tree(), [])
    assert opened(tmp_path).resolve() == str(oid)


def found_or_again(repository: Repository) -> str | bool:
    """The newest commit, or whether it is worth trying again."""
    try:
        return repository.resolve()
    except SourceError as error:
        return error.again


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".git/refs/heads/main", "garbage"),
        (".git/refs/heads/main", ""),
        (".git/refs/heads/main", "0123456789" * 4 + "\n"),
        (".git/HEAD", "garbage"),
        (".git/packed-refs", "garbage"),
        (".git/config", "[garbage"),
    ],
)
def test_a_damaged_repository_may_be_repaired_and_is_no_crash(
    work: Path, file: str, text: str
) -> None:
    repository = opened(work)
    commit = repository.resolve()
    path = work / file
    before = path.read_text() if path.exists() else None
    path.write_text(text)
    assert found_or_again(repository) in (commit, True)  # what does not matter may be damaged
    if before is None:
        path.unlink()
    else:
        path.write_text(before)
    assert repository.resolve() == commit


def test_a_repository_without_its_objects_is_no_crash(work: Path) -> None:
    repository = opened(work)
    commit = repository.resolve()
    shutil.rmtree(work / ".git" / "objects")
    (work / ".git" / "objects").mkdir()
    for attempt in (repository.resolve, lambda: repository.snapshot(commit)):
        with pytest.raises(SourceError):
            attempt()
