"""`reconciler diff A..B`: what changes, for whom; which two commits; exit codes."""

import json
from pathlib import Path

import pytest

from reconciler.cli.exits import Exit
from tests.cli.command import Repo, reconciler

WEB_4 = """\
---
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {name: web-4, namespace: shop, labels: {app: web}}
spec: {network: web, host: edge-2, addresses: [10.1.0.14]}
"""


def add_endpoint(repo: Repo) -> str:
    """One more endpoint, committed."""
    text = (repo.path / "shop/web.yaml").read_text()
    repo.write("shop/web.yaml", text + WEB_4)
    return repo.commit("add web-4")


def last_line(text: str) -> str:
    return text.rstrip("\n").split("\n")[-1]


def test_one_added_endpoint_touches_its_host_and_its_bouncers(sample: Repo) -> None:
    add_endpoint(sample)
    made = json.loads(reconciler("diff", "HEAD~1..HEAD", "-o", "json", cwd=sample.path).stdout)
    (manifest,) = made["manifests"]
    assert (manifest["change"], manifest["kind"], manifest["name"]) == (
        "create",
        "Endpoint",
        "web-4",
    )
    bouncers = json.loads(reconciler("compile", "--host", "edge-1", cwd=sample.path).stdout)
    web = next(
        each for each in bouncers["tables"]["bouncers"] if each["origin"] == "Network shop/web"
    )
    hosts = json.loads(reconciler("compile", "--host", "edge-1", cwd=sample.path).stdout)
    names = {each["key"]["address"]: each["origin"] for each in hosts["tables"]["hosts"]}
    wanted = {names[each].removeprefix("Host ") for each in web["value"]["host"]} | {"edge-2"}
    assert {each["host"] for each in made["hosts"]} == wanted


def test_the_text_ends_with_the_writes_on_all_hosts(sample: Repo) -> None:
    add_endpoint(sample)
    done = reconciler("diff", "HEAD~1..", cwd=sample.path)
    assert done.returncode == Exit.OK
    assert "Manifests: 1 to add, 0 to change, 0 to delete, in shop\n  + Endpoint shop/web-4\n" in (
        done.stdout
    )
    made = json.loads(reconciler("diff", "HEAD~1..", "-o", "json", cwd=sample.path).stdout)
    writes = made["summary"]["writes"]
    assert last_line(done.stdout) == (
        f"Plan: {writes['add']} to add, {writes['change']} to change, {writes['delete']} to delete"
    )


def test_equal_commits_give_no_changes(sample: Repo) -> None:
    sample.commit("nothing")
    done = reconciler("diff", "HEAD~1..HEAD", "--detailed-exitcode", cwd=sample.path)
    assert "No changes. The manifests are equal." in done.stdout
    assert last_line(done.stdout) == "Plan: 0 to add, 0 to change, 0 to delete"
    assert done.returncode == Exit.OK


def test_the_detailed_exit_code_tells_changes(sample: Repo) -> None:
    add_endpoint(sample)
    asked = ("diff", "HEAD~1..", "--detailed-exitcode")
    assert reconciler(*asked, cwd=sample.path).returncode == Exit.CHANGES


def test_three_dots_compare_with_the_commit_that_was_branched_off(sample: Repo) -> None:
    sample.git("branch", "feature")
    sample.replace("bakery/endpoints.yaml", "10.1.0.13", "10.1.0.113")
    sample.commit("main moves on")
    sample.git("switch", "-q", "feature")
    add_endpoint(sample)
    two = reconciler("diff", "main..feature", cwd=sample.path).stdout
    three = reconciler("diff", "main...feature", cwd=sample.path).stdout
    assert "Endpoint bakery/till-3" in two
    assert "Endpoint bakery/till-3" not in three
    assert "+ Endpoint shop/web-4" in three


def test_histories_without_a_common_commit_are_answered(sample: Repo) -> None:
    sample.git("switch", "-q", "--orphan", "other")
    sample.commit("alone")
    done = reconciler("diff", "main...other", cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert "no commit in common; compare them with A..B" in done.stderr


@pytest.mark.parametrize("commits", ["absent..HEAD", "HEAD..absent", "..absent"])
def test_an_unknown_revision_is_named(commits: str, sample: Repo) -> None:
    done = reconciler("diff", commits, cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert "no commit `absent`" in done.stderr
    assert done.stdout == ""


def test_a_newer_commit_with_problems_is_an_error(sample: Repo) -> None:
    sample.replace("shop/web.yaml", "network: web", "network: wab")
    sample.commit()
    done = reconciler("diff", "HEAD~1..", cwd=sample.path)
    assert done.returncode == Exit.ERROR
    assert "shop/web.yaml:" in done.stderr
    assert done.stdout == ""


def test_the_commit_that_corrects_problems_can_be_looked_at(sample: Repo) -> None:
    sample.replace("shop/web.yaml", "network: web", "network: wab")
    sample.commit()
    sample.replace("shop/web.yaml", "network: wab", "network: web")
    sample.commit()
    done = reconciler("diff", "HEAD~1..", cwd=sample.path)
    assert done.returncode == Exit.OK
    assert "The older commit has problems" in done.stdout
    assert "validate --rev" in done.stderr


def test_a_change_of_vni_is_shown_as_a_replacement(sample: Repo) -> None:
    sample.replace("shop/network.yaml", "vni: 4097", "vni: 5000")
    sample.commit()
    done = reconciler("diff", "HEAD~1..", cwd=sample.path)
    assert "~ VPC shop/shop: spec.vni 4097 -> 5000  (replaced: spec.vni)" in done.stdout


def test_a_remote_is_compared_without_a_clone(sample: Repo, tmp_path: Path) -> None:
    add_endpoint(sample)
    done = reconciler(
        *("diff", "main~1..main", "--repo", f"file://{sample.path}"),
        cwd=tmp_path,
        env={"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert "+ Endpoint shop/web-4" in done.stdout, done.stderr


def test_markdown_is_a_comment_with_a_table_of_hosts(sample: Repo) -> None:
    add_endpoint(sample)
    made = reconciler("diff", "HEAD~1..", "-o", "markdown", cwd=sample.path).stdout
    assert made.startswith("### Commits ")
    assert "\n| edge-2 | " in made
    assert "\n+ Endpoint shop/web-4\n" in made
    assert made.count("<details>") == made.count("</details>") == 2
