"""`reconciler compile`: a host's state as JSON, text or file; and what is asked for wrongly."""

import json
from pathlib import Path

from reconciler.cli.exits import Exit
from reconciler.compile import serial
from reconciler.compile.host import compile_host
from reconciler.compile.state import HostName
from reconciler.model.commit import read_commit
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas
from tests.cli.command import Repo, reconciler


def test_the_result_is_the_state_that_apply_takes(sample: Repo) -> None:
    done = reconciler("compile", "--host", "edge-1", cwd=sample.path)
    assert done.returncode == Exit.OK
    repository = Repository.open(GitSource(str(sample.path)))
    commit = read_commit(repository.snapshot(repository.resolve()), schemas())
    assert commit.topology
    assert serial.load(done.stdout) == compile_host(commit.topology, HostName("edge-1"))


def test_a_file_holds_what_standard_output_would(sample: Repo) -> None:
    printed = reconciler("compile", "--host", "edge-1", cwd=sample.path).stdout
    done = reconciler("compile", "--host", "edge-1", "-o", "edge-1.json", cwd=sample.path)
    assert done.stdout == ""
    assert "wrote edge-1.json: host edge-1 at commit " in done.stderr
    assert (sample.path / "edge-1.json").read_text() == printed


def test_a_file_that_cannot_be_written_is_named(sample: Repo) -> None:
    done = reconciler("compile", "--host", "edge-1", "-o", "no/where.json", cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert done.stderr.startswith("error: no/where.json: No such file or directory")


def test_text_has_a_line_for_everything_with_its_manifest(sample: Repo) -> None:
    text = reconciler("compile", "--host", "edge-1", "-o", "text", cwd=sample.path).stdout
    lines = text.splitlines()
    state = serial.load(reconciler("compile", "--host", "edge-1", cwd=sample.path).stdout)
    rows = sum(map(len, state.tables.values()))
    assert lines[0] == f"Host edge-1: {rows} rows, 3 programs, 4 links, 3 interfaces"
    assert len(lines) == 1 + rows + 3 + 4 + 3
    assert any(
        line.startswith("endpoints vni=4097 address=10.1.0.11: host=172.31.1.11 ")
        and line.endswith("(Endpoint shop/web-1)")
        for line in lines
    )


def test_an_older_commit_is_compiled_by_name(sample: Repo) -> None:
    before = reconciler("compile", "--host", "edge-1", cwd=sample.path).stdout
    sample.replace("shop/web.yaml", "10.1.0.11", "10.1.0.21")
    sample.commit()
    assert reconciler("compile", "--host", "edge-1", cwd=sample.path).stdout != before
    older = reconciler("compile", "--host", "edge-1", "--rev", "HEAD~1", cwd=sample.path)
    assert older.stdout == before


def test_what_is_not_committed_is_not_compiled(sample: Repo) -> None:
    before = reconciler("compile", "--host", "edge-1", cwd=sample.path).stdout
    sample.replace("shop/web.yaml", "10.1.0.11", "10.1.0.21")
    assert reconciler("compile", "--host", "edge-1", cwd=sample.path).stdout == before


def test_a_folder_inside_a_work_tree_means_that_folder(tmp_path: Path) -> None:
    """As `--repo sample-repo` does in a clone of the project."""
    outer = Repo(tmp_path / "outer")
    outer.write("other.yaml", "a: [")
    inner = Repo.sample(tmp_path / "inner")
    for path in (inner.path / "shop", inner.path / "bakery", inner.path / "cluster"):
        path.rename(tmp_path / "outer" / path.name)
    for name in ("shop", "bakery", "cluster"):
        outer.git("add", name)
        outer.write(f"net/{name}/.keep", "")
    for name in ("shop", "bakery", "cluster"):
        for path in sorted((outer.path / name).iterdir()):
            path.rename(outer.path / "net" / name / path.name)
    outer.commit()
    done = reconciler("compile", "--repo", "net", "--host", "edge-1", cwd=outer.path)
    assert done.returncode == Exit.OK, done.stderr
    whole = reconciler("compile", "--host", "edge-1", cwd=outer.path)
    assert "other.yaml:1:" in whole.stderr


def test_an_unknown_host_is_answered_with_those_that_look_like_it(sample: Repo) -> None:
    done = reconciler("compile", "--host", "egde-1", cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert done.stdout == ""
    assert "host egde-1: the commit has no such Host" in done.stderr
    assert "did you mean edge-1 or " in done.stderr


def test_a_foreign_host_holds_nothing_of_ours(sample: Repo) -> None:
    sample.replace(
        "cluster/hosts.yaml",
        "spec: {underlay: 172.31.2.12, interface: eth0}",
        "spec: {underlay: 172.31.2.12, interface: eth0, managed: false}",
    )
    sample.replace("bakery/endpoints.yaml", "host: edge-4", "host: edge-3")
    for name in ("shop/web.yaml", "shop/db.yaml"):
        sample.replace(name, "host: edge-4", "host: edge-3")
    sample.commit()
    done = reconciler("compile", "--host", "edge-4", cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert "managed: false" in done.stderr


def test_a_commit_with_problems_is_not_compiled_and_they_are_shown(sample: Repo) -> None:
    sample.replace("shop/web.yaml", "network: web", "network: wab")
    commit = sample.commit()
    done = reconciler("compile", "--host", "edge-1", cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert done.stdout == ""
    assert "shop/web.yaml:" in done.stderr
    assert f"error: commit {commit[:12]} has " in done.stderr


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    done = reconciler("compile", "--host", "edge-1", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "no git repository" in done.stderr


def test_a_repository_without_a_commit_is_named(tmp_path: Path) -> None:
    made = Repo(tmp_path / "empty")
    done = reconciler("compile", "--host", "edge-1", cwd=made.path)
    assert done.returncode == Exit.ERROR
    assert "no commit yet" in done.stderr


def test_the_output_is_the_same_every_time(sample: Repo) -> None:
    one, two = (reconciler("compile", "--host", "edge-2", cwd=sample.path).stdout for _ in range(2))
    assert one == two
    assert json.loads(one)["host"] == "edge-2"
