"""What is read of a commit's tree, and what a hostile tree costs."""

import resource
from pathlib import Path

import pytest
from pygit2.enums import ObjectType

from reconciler.source import files as limits
from reconciler.source.git import GitSource, Repository, SourceError
from tests.source.repositories import SUBMODULE, Files, Raw, commit, create, link, write_tree


def read(path: Path, files: Files, folder: str = "") -> list[tuple[str, bytes, str]]:
    """Path, bytes and refusal of every file of a commit."""
    create(path, files)
    repository = Repository.open(GitSource(str(path), folder=folder))
    snapshot = repository.snapshot(repository.resolve())
    return [(file.path, file.data, file.refused) for file in snapshot.files]


def test_manifests_are_read_in_order_of_path(tmp_path: Path) -> None:
    files: Files = {"b.yaml": "b", "a": {"z.yml": "z", "y": {"x.json": "x"}}, "a.yaml": "a"}
    assert read(tmp_path, files) == [
        ("a.yaml", b"a", ""),
        ("a/y/x.json", b"x", ""),
        ("a/z.yml", b"z", ""),
        ("b.yaml", b"b", ""),
    ]


def test_other_files_and_those_with_a_dot_in_front_are_left_out(tmp_path: Path) -> None:
    files: Files = {
        "README.md": "x",
        "yaml": "x",
        ".yaml": "x",
        ".gitlab-ci.yml": "x",
        ".github": {"workflows": {"test.yaml": "x"}},
        "A.YAML": "x",
        "run.yaml": Raw("100755", b"x"),
    }
    assert [path for path, _, _ in read(tmp_path, files)] == ["A.YAML", "run.yaml"]


def test_a_folder_can_be_chosen(tmp_path: Path) -> None:
    files: Files = {"a.yaml": "a", "net": {"north": {"b.yaml": "b"}}, "network": {"c.yaml": "c"}}
    assert read(tmp_path / "1", files, "net") == [("net/north/b.yaml", b"b", "")]
    assert read(tmp_path / "2", files, "./net/north/") == [("net/north/b.yaml", b"b", "")]
    assert len(read(tmp_path / "3", files, ".")) == 3


@pytest.mark.parametrize("folder", ["nowhere", "a.yaml", "net/b.yaml/c"])
def test_a_folder_that_the_commit_has_not_is_an_error(tmp_path: Path, folder: str) -> None:
    with pytest.raises(SourceError, match="the commit has no folder"):
        read(tmp_path, {"a.yaml": "a", "net": {"b.yaml": "b"}}, folder)


@pytest.mark.parametrize("folder", ["/etc", "..", "net/../.."])
def test_a_folder_outside_of_the_repository_is_an_error(tmp_path: Path, folder: str) -> None:
    with pytest.raises(SourceError, match="not inside the repository"):
        read(tmp_path, {"a.yaml": "a"}, folder)


def refused(tmp_path: Path, files: Files) -> dict[str, str]:
    """Refusals by path; nothing of what is refused was read."""
    found = read(tmp_path, files)
    assert all(not data for _, data, reason in found if reason)
    return {path: reason.partition(",")[0].partition(";")[0] for path, _, reason in found if reason}


def test_symbolic_links_are_refused_and_never_followed(tmp_path: Path) -> None:
    files: Files = {
        "a.yaml": link("/etc/passwd"),
        "b.yaml": link("net/c.yaml"),
        "prod": link("net"),
        "deep": {"up": link("../net"), "out": link("../../x"), "root": link("/net")},
        "README": link("net/c.yaml"),
        "net": {"c.yaml": "c", "self": link(".")},
    }
    assert refused(tmp_path, files) == {
        "a.yaml": "is a symbolic link",
        "b.yaml": "is a symbolic link",
        "prod": "is a symbolic link to a folder",
        "deep/up": "is a symbolic link to a folder",
        "net/self": "is a symbolic link to a folder",
    }


def test_submodules_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, {"base": SUBMODULE, "a": {"b.yaml": SUBMODULE}}) == {
        "base": "is a submodule",
        "a/b.yaml": "is a submodule",
    }


def test_odd_names_are_refused_and_shown_without_harm(tmp_path: Path) -> None:
    files: Files = {
        b"\xff.yaml": "x",
        b"\x1b[2Ja.yaml": "x",
        b"new\nline.yaml": "x",
        "right\u202eleft.yaml": "x",
        "good é.yaml": "x",
    }
    found = refused(tmp_path, files)
    assert set(found.values()) == {"has a name that is no UTF-8 text"}
    assert set(found) == {
        r"\udcff.yaml",
        r"\x1b[2Ja.yaml",
        r"new\nline.yaml",
        r"right\u202eleft.yaml",
    }


def test_a_file_that_is_too_large_is_refused_alone(tmp_path: Path) -> None:
    large = b"#" * (limits.MAX_FILE + 1)
    found = read(tmp_path, {"a.yaml": large, "b.yaml": large[:-1], "c.bin": large})
    assert [(path, len(data)) for path, data, _ in found] == [
        ("a.yaml", 0),
        ("b.yaml", limits.MAX_FILE),
    ]
    assert found[0][2].startswith("is larger than 4 MiB")


def hostile_trees(path: Path, name: str) -> None:
    """Make the repository `path` whose commit holds what `name` says."""
    repository = create(path)
    blob = str(repository.create_blob(b"a: b\n"))
    if name == "a million files in a folder":
        entry = b"100644 %07d.yaml\0" + bytes.fromhex(blob)
        data = b"".join(entry.replace(b"%07d", b"%07d" % number) for number in range(1_000_000))
        tree = repository.odb.write(ObjectType.TREE, data)
    elif name == "a million other files":
        entry = b"100644 %04d\0" + bytes.fromhex(blob)
        data = b"".join(entry.replace(b"%04d", b"%04d" % number) for number in range(1001))
        tree = repository.odb.write(ObjectType.TREE, data)
        tree = write_tree(repository, {f"{n:04}": Raw("40000", id=str(tree)) for n in range(1001)})
    else:  # each level holds the level below ten times: 10^20 files in 20 objects
        tree = write_tree(repository, {"a.yaml": Raw("100644", id=blob)})
        for _ in range(20 if name == "trees that repeat" else 200):
            folders = 10 if name == "trees that repeat" else 1
            tree = write_tree(
                repository, {f"{n}": Raw("40000", id=str(tree)) for n in range(folders)}
            )
    commit(repository, {"net": Raw("40000", id=str(tree))})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a million files in a folder", "has more than 100,000 manifests"),
        ("a million other files", "has more than 1,000,000 files and folders"),
        ("trees that repeat", "has more than 100,000 manifests|files and folders|64 deep"),
        ("trees without an end", "has folders more than 64 deep"),
    ],
)
def test_a_hostile_tree_is_one_clear_refusal(tmp_path: Path, name: str, reason: str) -> None:
    hostile_trees(tmp_path, name)
    repository = Repository.open(GitSource(str(tmp_path), folder="net"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (file,) = repository.snapshot(repository.resolve()).files
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert file.path == "net"
    assert any(each in file.refused for each in reason.split("|"))
    assert not file.data
    assert grown < 300 << 10  # KiB


def test_more_bytes_than_the_limit_are_one_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.source.tree.MAX_TOTAL", 5)
    assert [path for path, _, _ in read(tmp_path, {"a.yaml": "abc", "b.yaml": "abc"})] == ["."]


def test_a_missing_object_is_an_error_and_no_deletion(tmp_path: Path) -> None:
    create(tmp_path, {"a.yaml": "abc", "b.yaml": Raw("100644", id="b" * 40)})
    repository = Repository.open(GitSource(str(tmp_path)))
    with pytest.raises(SourceError, match="missing or damaged") as caught:
        repository.snapshot(repository.resolve())
    assert caught.value.again
