"""A survey that knows the one before lists what a survey that knows nothing lists."""

import random
from pathlib import Path

import pygit2
import pytest

from reconciler.source.git import GitSource, Repository

AUTHOR = pygit2.Signature("test", "test@example.invalid", 0, 0)
PATHS = [f"{folder}{name}" for folder in ("", "a/", "a/b/", "c/") for name in ("1.yaml", "2.yml")]
PATHS += ["a/notes.txt", "c/.hidden.yaml", "c/x.json"]


def commit(git: pygit2.Repository, files: dict[str, tuple[bytes, pygit2.enums.FileMode]]) -> str:
    index = pygit2.Index()
    for path, (data, mode) in files.items():
        index.add(pygit2.IndexEntry(path, git.create_blob(data), mode))
    tree = index.write_tree(git)
    made = git.create_commit(None, AUTHOR, AUTHOR, "x", tree, [])
    git.references.create("refs/heads/main", made, force=True)
    return str(made)


@pytest.mark.parametrize("seed", range(10))
def test_random_commits_are_listed_alike_with_and_without_memory(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    git = pygit2.init_repository(str(tmp_path), bare=True, initial_head="main")
    source, before = Repository.open(GitSource(str(tmp_path))), None
    files: dict[str, tuple[bytes, pygit2.enums.FileMode]] = {}
    kinds = [pygit2.enums.FileMode.BLOB] * 9 + [pygit2.enums.FileMode.LINK]
    for _ in range(15):
        for _ in range(draw.randint(1, 3)):
            path = draw.choice(PATHS)
            if path in files and draw.random() < 0.4:
                del files[path]
            else:
                files[path] = (
                    draw.choice([b"a: 1\n", b"b: 2\n", b"a", b"c/1.yaml"]),
                    draw.choice(kinds),
                )
        git.references.delete("refs/heads/main") if "refs/heads/main" in git.references else None
        found = source.survey(commit(git, files), before)
        assert found.files == source.survey(found.commit).files
        before = found


def test_survey_asks_for_no_folder_that_is_as_it_was(tmp_path: Path) -> None:
    git = pygit2.init_repository(str(tmp_path), bare=True, initial_head="main")
    source = Repository.open(GitSource(str(tmp_path)))
    files = {path: (path.encode(), pygit2.enums.FileMode.BLOB) for path in PATHS}
    first = source.survey(commit(git, files))
    files["c/x.json"] = b"{}", pygit2.enums.FileMode.BLOB
    second = source.survey(commit(git, files), first)
    same = {key for key, each in second.folders.items() if first.folders.get(key) is each}
    assert {path for path, _ in same} == {"a", "a/b"}
    assert {path for path, _ in second.folders.keys() - same} == {"", "c"}
