"""What a change does to manifests, hosts and rows, and how that is shown."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifest.document import Document
from reconciler.manifest.load import Kept
from reconciler.model.commit import Commit, read_commit
from reconciler.plan.diff import Change, Counts
from reconciler.plan.guards import Limits
from reconciler.review import render
from reconciler.review.manifests import Field, changed_fields, manifest_changes
from reconciler.review.review import Review, review
from reconciler.source.files import Snapshot, SourceFile
from reconciler.source.package import schemas

SCHEMAS = schemas()
API = "reconciler/v1alpha1"


def host(name: str, number: int, **spec: Any) -> dict[str, Any]:
    zone = {"zone": "ab"[number % 2]}
    return {
        "apiVersion": API,
        "kind": "Host",
        "metadata": {"name": name, "labels": zone},
        "spec": {"underlay": f"172.31.0.{number + 1}", **spec},
    }


def vpc(vni: int = 7, namespace: str = "shop") -> dict[str, Any]:
    return manifest("VPC", "shop", {"vni": vni, "cidrs": ["10.0.0.0/8"]}, namespace)


def network(name: str = "web", third: int = 1, namespace: str = "shop") -> dict[str, Any]:
    return manifest("Network", name, {"vpc": "shop", "cidrs": [f"10.1.{third}.0/24"]}, namespace)


def endpoint(number: int, on: str = "edge-0", namespace: str = "shop") -> dict[str, Any]:
    spec = {"network": "web", "host": on, "addresses": [f"10.1.1.{number + 10}"]}
    return manifest("Endpoint", f"web-{number}", spec, namespace)


def manifest(kind: str, name: str, spec: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def commit(bodies: Sequence[dict[str, Any]], name: str = "a" * 40, each: int = 1000) -> Commit:
    """The commit of these manifests, `each` in a file, as JSON (which is YAML)."""
    files = []
    for start in range(0, len(bodies), each):
        text = "\n---\n".join(json.dumps(body) for body in bodies[start : start + each])
        files.append(SourceFile(f"{start:06}.yaml", "", text.encode()))
    return read_commit(Snapshot(name, tuple(files)), SCHEMAS)


HOSTS = [host(f"edge-{number}", number) for number in range(4)]
BASE = [*HOSTS, vpc(), network(), *(endpoint(number) for number in range(4))]


def between(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> Review:
    old, new = commit(before), commit(after, "b" * 40)
    assert not old.problems
    assert not new.problems
    return review(old, new)


def names(found: Review) -> list[tuple[Change, str]]:
    return [(each.change, each.identity) for each in found.manifests]


def test_equal_commits_change_nothing() -> None:
    found = between(BASE, BASE)
    assert found.empty
    assert found.counts == Counts()


def test_the_order_and_the_files_of_manifests_do_not_matter() -> None:
    assert review(commit(BASE), commit(BASE[::-1], each=3)).empty


def test_an_added_a_changed_and_a_deleted_manifest_are_told_apart() -> None:
    after = [*BASE[:-1], endpoint(9)]
    after[6] = endpoint(0, "edge-1")
    found = between(BASE, after)
    assert names(found) == [
        (Change.DELETE, "Endpoint shop/web-3"),
        (Change.UPDATE, "Endpoint shop/web-0"),
        (Change.CREATE, "Endpoint shop/web-9"),
    ]
    assert found.manifests[1].fields == (Field("spec.host", "edge-0", "edge-1"),)
    assert found.manifest_counts == Counts(1, 1, 1)
    assert found.namespaces == ("shop",)


def test_a_manifest_of_another_namespace_is_another_manifest() -> None:
    other = [vpc(8, "mall"), network(namespace="mall"), endpoint(3, namespace="mall")]
    found = between(BASE, [*BASE[:-1], *other])
    assert (Change.DELETE, "Endpoint shop/web-3") in names(found)
    assert (Change.CREATE, "Endpoint mall/web-3") in names(found)


def test_only_hosts_that_change_are_listed_with_their_rows() -> None:
    found = between(BASE, [*BASE, endpoint(9)])
    assert 0 < len(found.hosts) < 4
    assert found.total_hosts == 4
    assert "edge-0" in {each.host for each in found.hosts}
    for each in found.hosts:
        assert each.kinds["table endpoints"] == Counts(add=1)
        assert each.rows_after == each.rows_before + 1


def test_a_new_host_and_one_that_is_gone_say_so() -> None:
    after = [*BASE, host("edge-9", 9)]
    assert {each.host: each.change for each in between(BASE, after).hosts}["edge-9"] is (
        Change.CREATE
    )
    gone = {each.host: each for each in between(after, BASE).hosts}["edge-9"]
    assert gone.change is Change.DELETE
    assert gone.rows_after == 0


def test_a_vpc_whose_vni_changes_is_replaced() -> None:
    found = between(BASE, [*HOSTS, vpc(99), *BASE[5:]])
    (changed,) = found.manifests
    assert changed.replaced == ("spec.vni",)
    assert all(
        each.kinds["table endpoints"].add == each.kinds["table endpoints"].delete > 0
        for each in found.hosts
        if "table endpoints" in each.kinds
    )
    assert "(replaced: spec.vni)" in render.text(found)


def test_a_vni_that_one_vpc_leaves_to_another_is_a_caution() -> None:
    hosts = [host("edge-0", 0), host("edge-1", 1)]
    before = [*hosts, vpc(7, "shop"), vpc(8, "bakery")]
    found = between(before, [*hosts, vpc(8, "shop"), vpc(7, "bakery")])
    assert [each.split(":")[0] for each in found.cautions] == [
        "VNI 7 goes from VPC shop/shop to VPC bakery/shop",
        "VNI 8 goes from VPC bakery/shop to VPC shop/shop",
    ]
    for shown in (render.text(found), render.markdown(found)):
        assert all(each in shown for each in found.cautions)
    assert render.as_json(found)["cautions"] == list(found.cautions)
    assert not between(before, [*hosts, vpc(7, "shop"), vpc(9, "bakery")]).cautions
    assert not between(before, [*hosts, vpc(7, "shop")]).cautions


def test_a_change_without_rows_touches_no_host() -> None:
    labelled = json.loads(json.dumps(BASE))
    labelled[-1]["metadata"]["annotations"] = {"owner": "shop"}
    found = between(BASE, labelled)
    assert names(found) == [(Change.UPDATE, "Endpoint shop/web-3")]
    assert found.hosts == ()
    assert "Hosts: 0 of 4 change" in render.text(found)
    assert render.text(found).endswith("Plan: 0 to add, 0 to change, 0 to delete\n")


def test_deleting_much_warns_of_the_guards_that_will_refuse_it() -> None:
    many = [*HOSTS, vpc(), network(), *(endpoint(number) for number in range(20))]
    found = between(many, many[:-10])
    codes = {each.code for each in found.refused}
    assert "GRD1003" in codes
    assert "Guards will refuse it" in render.text(found)
    assert "**Guard** GRD1003" in render.markdown(found)
    assert not between(many, many[:-2]).refused
    lenient = review(commit(many), commit(many[:-10]), Limits(percent=100))
    assert not lenient.refused


def test_an_older_commit_with_problems_leaves_hosts_out() -> None:
    broken = commit([*BASE, endpoint(9, on="nowhere")])
    assert broken.topology is None
    found = review(broken, commit(BASE))
    assert not found.compared
    assert found.hosts == ()
    assert "The older commit has problems" in render.text(found)
    assert "The older commit has problems" in render.markdown(found)
    assert render.as_json(found)["compared"] is False


def test_the_writes_are_those_of_the_hosts_together() -> None:
    found = between(BASE, [*BASE[:-2], endpoint(9, "edge-2")])
    assert found.counts == sum((each.counts for each in found.hosts), Counts())
    made = render.as_json(found)
    assert made["summary"]["writes"]["add"] == sum(each["writes"]["add"] for each in made["hosts"])
    last = render.text(found).rstrip("\n").split("\n")[-1]
    assert last == (
        f"Plan: {found.counts.add} to add, {found.counts.change} to change, "
        f"{found.counts.delete} to delete"
    )


def test_deletions_come_first_in_the_text() -> None:
    found = between(BASE, [*BASE[:-1], endpoint(9)])
    text = render.text(found)
    assert text.index("- Endpoint shop/web-3") < text.index("+ Endpoint shop/web-9")


def test_a_long_text_is_cut_and_json_is_not() -> None:
    found = between(BASE, [*BASE, *(endpoint(number) for number in range(10, 140))])
    text = render.text(found)
    assert text.count("+ Endpoint") == render.SHOWN
    assert f"  {130 - render.SHOWN} more manifests\n" in text
    assert len(render.as_json(found)["manifests"]) == 130


@pytest.mark.parametrize("count", [1, 240])
def test_a_comment_stays_within_the_limit_of_the_forge(count: int) -> None:
    added = [endpoint(number) for number in range(4, min(count, 240))]
    found = between(BASE, [*BASE, *added])
    wide = replace(
        found,
        hosts=tuple(
            replace(each, host=f"{each.host}-{number}")  # type: ignore[arg-type]
            for each in found.hosts
            for number in range(1000)
        ),
    )
    made = render.markdown(wide)
    assert len(made.encode()) < 65_536
    assert made.count("<details>") == made.count("</details>")
    assert made.rstrip("\n").split("\n")[-1].startswith("Plan: ")


def test_files_that_two_commits_share_mean_the_same_when_read_once() -> None:
    """Results are kept by blob: paths, and whether a file is JSON, are each file's own."""
    texts = {n: json.dumps(body).encode() for n, body in enumerate([*BASE, {"kind": "Nothing"}])}

    def snapshot(places: dict[int, str]) -> Snapshot:
        files = (SourceFile(path, f"blob-{n}", texts[n]) for n, path in places.items())
        return Snapshot("a" * 40, tuple(sorted(files, key=lambda each: each.path)))

    one = snapshot({n: f"{n:02}.yaml" for n in texts})
    two = snapshot({n: f"moved/{n:02}.json" for n in texts})
    kept: Kept = {}
    for each in (one, two, one):
        assert read_commit(each, SCHEMAS, kept) == read_commit(each, SCHEMAS)
    assert len(kept) == 2 * len(texts)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)
bodies = st.dictionaries(st.sampled_from("xyz"), values)


@given(bodies, bodies)
def test_bodies_have_changed_fields_exactly_if_they_differ(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert bool(list(changed_fields(one, other))) == (one != other)


@given(bodies, bodies)
def test_a_manifest_that_differs_is_a_change(one: dict[str, Any], other: dict[str, Any]) -> None:
    found = manifest_changes(
        [Document("Host", "", "a", "a.yaml", 0, one)],
        [Document("Host", "", "a", "b.yaml", 3, other)],
    )
    assert bool(found) == (one != other)


def test_fields_that_appear_or_go_are_shown_so() -> None:
    labelled = json.loads(json.dumps(BASE))
    labelled[-1]["metadata"]["labels"] = {"app": "web"}
    text = render.text(between(BASE, labelled))
    assert "~ Endpoint shop/web-3: metadata.labels + {app=web}" in text
    back = render.text(between(labelled, BASE))
    assert "~ Endpoint shop/web-3: metadata.labels - {app=web}" in back
