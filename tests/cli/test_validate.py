"""`reconciler validate`: of a commit, of a folder, of what is neither."""

import json
import os
from pathlib import Path

import pytest

from reconciler.cli.exits import Exit
from tests.cli.command import ROOT, Repo, reconciler

MISTAKES = """\
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {name: web-9, namespace: shop}
spec: {network: wab, host: edge-9, addresses: [10.1.0.300], colour: red}
"""


def test_a_valid_folder_gives_one_line_and_exits_with_0() -> None:
    done = reconciler("validate", "sample-repo", cwd=ROOT)
    assert done.returncode == Exit.OK
    assert done.stdout == "folder sample-repo: 25 manifests, no problems\n"
    assert done.messages == []


def test_problems_go_to_standard_error_with_paths_that_lead_there(sample: Repo) -> None:
    sample.write("shop/more.yaml", MISTAKES)
    done = reconciler("validate", "network", cwd=sample.path.parent)
    assert done.returncode == Exit.ERROR
    assert "SCHEMA1003 error" in done.stderr
    assert all(line.startswith("network/shop/more.yaml:4:") for line in done.messages)
    assert done.stdout.startswith("folder network: 25 valid manifests, ")
    assert " errors\n" in done.stdout


def test_the_work_tree_is_validated_before_a_commit_and_the_commit_by_its_name(
    sample: Repo,
) -> None:
    sample.write("shop/more.yaml", MISTAKES)
    assert reconciler("validate", cwd=sample.path).returncode == Exit.ERROR
    assert reconciler("validate", "--rev", "HEAD", cwd=sample.path).returncode == Exit.OK
    sample.commit()
    assert reconciler("validate", "--rev", "HEAD", cwd=sample.path).returncode == Exit.ERROR
    assert reconciler("validate", "--rev", "HEAD~1", cwd=sample.path).returncode == Exit.OK


def test_a_folder_and_its_commit_have_the_same_problems(sample: Repo) -> None:
    sample.write("shop/more.yaml", MISTAKES)
    sample.write("broken.yaml", "a: [")
    (sample.path / "link.yaml").symlink_to("broken.yaml")
    sample.commit()
    asked = [("validate", "."), ("validate", "--rev", "main")]
    folder, commit = (reconciler(*each, cwd=sample.path).stderr for each in asked)
    assert folder == commit
    assert "link.yaml: SRC1001 error: this is a symbolic link" in folder


def test_what_git_ignores_and_hidden_files_are_not_validated(sample: Repo) -> None:
    sample.write(".gitignore", "ignored/\n*.local.yaml\n")
    for name in ("ignored/a.yaml", "shop/x.local.yaml", ".hidden/a.yaml", ".a.yaml"):
        sample.write(name, "a: [")
    assert reconciler("validate", cwd=sample.path).returncode == Exit.OK
    assert "YAML1003" not in reconciler("validate", "shop", cwd=sample.path).stderr


def test_a_symbolic_link_to_a_folder_and_a_repository_inside_are_refused(sample: Repo) -> None:
    (sample.path / "also").symlink_to("shop")
    Repo(sample.path / "inner")
    done = reconciler("validate", cwd=sample.path)
    assert "also: SRC1001 error: this is a symbolic link" in done.stderr
    assert "inner: SRC1001 error: this is a repository of its own" in done.stderr


def test_a_pipe_is_refused_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    done = reconciler("validate", cwd=tmp_path)
    assert "a.yaml: SRC1001 error: this is not a plain file" in done.stderr


def test_a_large_file_is_refused_and_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(1 << 40)
    assert (
        "a.yaml: SRC1001 error: this is larger than" in reconciler("validate", cwd=tmp_path).stderr
    )


def test_a_single_file_is_answered_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MISTAKES)
    done = reconciler("validate", "a.yaml", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "a.yaml is a file; manifests refer to one another" in done.stderr


@pytest.mark.parametrize("where", ["absent", "--rev=absent", "--repo=absent"])
def test_what_is_not_there_is_named(where: str, sample: Repo) -> None:
    done = reconciler("validate", where, cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert done.stderr.startswith("error: ")
    assert "absent" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bare_repository_is_read_at_its_head(sample: Repo) -> None:
    sample.git("clone", "-q", "--bare", ".", "../bare.git")
    done = reconciler("validate", "bare.git", cwd=sample.path.parent)
    assert done.stdout.startswith("commit ")
    assert done.returncode == Exit.OK


def test_a_file_address_is_fetched_and_read(sample: Repo, tmp_path: Path) -> None:
    done = reconciler(
        "validate", f"file://{sample.path}", cwd=tmp_path, env={"XDG_CACHE_HOME": str(tmp_path)}
    )
    assert done.returncode == Exit.OK, done.stderr
    assert done.stdout.startswith("commit ")


def test_a_folder_of_a_repository_is_read_alone(sample: Repo) -> None:
    sample.write("other/more.yaml", MISTAKES)
    sample.git("mv", "shop", "bakery", "ops", "cluster", "-k", "other")
    sample.commit()
    assert reconciler("validate", "--rev", "main", cwd=sample.path).returncode == Exit.ERROR
    sample.write("other/more.yaml", "")
    sample.commit()
    done = reconciler("validate", "--rev", "main", "--folder", "other", cwd=sample.path)
    assert done.returncode == Exit.OK, done.stderr


def test_json_has_every_problem_on_standard_output(sample: Repo) -> None:
    sample.write("shop/more.yaml", MISTAKES)
    done = reconciler("validate", "-o", "json", cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert done.messages == []
    made = json.loads(done.stdout)
    assert made["valid"] is False
    assert made["summary"]["error"] == len(made["problems"]) > 1
    assert {each["path"] for each in made["problems"]} == {"shop/more.yaml"}
    assert all(each["line"] == 4 for each in made["problems"])
    assert made["manifests"]["Host"] == 4


def test_markdown_fits_a_comment_also_with_thousands_of_problems(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}.yaml").write_text("---\na: b\n" * 60)
    made = reconciler("validate", "-o", "markdown", cwd=tmp_path).stdout
    assert made.startswith("### folder .: 0 valid manifests, ")
    assert len(made) < 65_536
    assert " more\n" in made


def test_a_warning_alone_is_no_failure(sample: Repo) -> None:
    sample.write(
        "shop/more.yaml",
        MISTAKES.split("spec:", maxsplit=1)[0]
        + ("spec: {network: web, host: edge-1, addresses: [10.1.0.99], bandwidth: {egress: 1M}}\n"),
    )
    done = reconciler("validate", cwd=sample.path)
    assert "SCHEMA1011 warning" in done.stderr
    assert done.stdout.endswith("26 manifests, 1 warning\n")
    assert done.returncode == Exit.OK


def test_a_place_without_manifests_is_not_valid(tmp_path: Path) -> None:
    """A wrong path must not pass as a network without problems."""
    done = reconciler("validate", cwd=tmp_path)
    assert done.returncode == Exit.ERROR
    assert "folder . has no manifests; name the folder that has them" in done.stderr
