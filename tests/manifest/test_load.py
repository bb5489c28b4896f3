"""Loading: what does not matter, what is kept apart, and what others need to know about it."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifest.load import load, load_bytes, load_file
from reconciler.manifest.place import place
from reconciler.manifest.problem import Finding, Severity, pointer
from reconciler.manifest.schema import compile_schemas
from reconciler.source.files import SourceFile
from tests.manifest.corpus import TEXTS
from tests.manifest.files import HOST, SCHEMAS, files_of, loaded, problems

VALIDATORS = compile_schemas(SCHEMAS)
GOOD = [
    HOST.replace("edge-1", f"edge-{number}").replace("192.0.2.11", f"192.0.2.{number}")
    for number in range(1, 20)
]
WRONG = [
    *(text.replace("underlay", "underlie") for text in GOOD[:4]),
    *TEXTS[:40],
    "a: [\n",
    "\tx\n",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(GOOD + WRONG), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(texts: list[str], chance: random.Random) -> None:
    files = list(files_of({f"{number}.yaml": text for number, text in enumerate(texts)}))
    first = load(files, SCHEMAS)
    shuffled = list(files)
    chance.shuffle(shuffled)
    second = load(shuffled, SCHEMAS)
    assert place(first.findings, files) == place(second.findings, shuffled)
    assert first.invalid == second.invalid
    order = sorted(first.documents, key=lambda document: (document.path, document.index))
    assert order == sorted(second.documents, key=lambda document: (document.path, document.index))


@settings(max_examples=20, deadline=None)
@given(st.permutations(GOOD[:5] + [text for text in WRONG if not text.startswith("%")][:6]))
def test_the_order_of_documents_does_not_matter(texts: list[str]) -> None:
    together = loaded("---\n".join(["", *texts]))
    alone = [loaded(text) for text in texts]
    assert {document.name for document in together.documents} == {
        document.name for each in alone for document in each.documents
    }
    assert sorted(finding.message for finding in together.findings) == sorted(
        finding.message for each in alone for finding in each.findings
    )


def test_the_result_of_a_blob_depends_on_its_bytes_alone() -> None:
    data = "---\n".join(GOOD + WRONG).encode()
    first = load_file(SourceFile("a.yaml", "1", data), VALIDATORS)
    second = load_file(SourceFile("b/c.yml", "2", data), VALIDATORS)
    without = load_bytes(data, False, VALIDATORS)
    assert second == without.at("b/c.yml")
    assert first == second.at("a.yaml")
    assert {document.path for document in first.documents} == {"a.yaml"}
    assert {finding.path for finding in second.findings} == {"b/c.yml"}


def test_a_manifest_with_errors_is_no_document_but_known_by_name() -> None:
    result = loaded(HOST + "  weight: 0\n---\n" + GOOD[4])
    assert [document.name for document in result.documents] == ["edge-5"]
    assert result.invalid == {("Host", "", "edge-1")}


def test_a_warning_does_not_make_a_manifest_invalid() -> None:
    text = (
        "apiVersion: reconciler/v1alpha1\nkind: Endpoint\nmetadata: {name: a}\n"
        "spec: {network: web, host: edge-1, bandwidth: {egress: 1M}}\n"
    )
    result = loaded(text)
    assert [finding.severity for finding in result.findings] == [Severity.WARNING]
    assert len(result.documents) == 1
    assert not result.invalid


def test_the_namespace_is_default_where_absent_and_empty_for_the_cluster() -> None:
    text = (
        "apiVersion: reconciler/v1alpha1\nkind: VPC\nmetadata: {name: a}\n"
        "spec: {vni: 1, cidrs: [10.0.0.0/8]}\n---\n"
    )
    result = loaded(text + HOST + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    assert not result.findings
    assert [(each.kind, each.namespace) for each in result.documents] == [
        ("VPC", "default"),
        ("Host", ""),
        ("Namespace", ""),
    ]


def test_a_namespace_is_accepted_as_kubernetes_writes_it() -> None:
    text = """\
apiVersion: v1
kind: Namespace
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"v1","kind":"Namespace","metadata":{"annotations":{},"name":"shop"}}
  creationTimestamp: "2026-01-31T12:00:00Z"
  labels:
    kubernetes.io/metadata.name: shop
    team: shop
  name: shop
  resourceVersion: "42"
  uid: 1f0e3dad-9990-4345-b743-9f8ffabdffc4
spec:
  finalizers:
  - kubernetes
status:
  phase: Active
"""
    assert not problems(text)
    generated = "metadata:\n  creationTimestamp: null\n  name: a\nspec: {}\nstatus: {}\n"
    assert not problems(f"apiVersion: v1\nkind: Namespace\n{generated}")


def test_a_commit_full_of_mistakes_is_summed_up_and_still_read_to_its_end() -> None:
    wrong = "---\n".join(["a: b\n"] * 200)
    texts = {f"{number:03}.yaml": wrong for number in range(60)} | {"z.yaml": GOOD[0]}
    result = load(files_of(texts), SCHEMAS)
    assert len(result.findings) == 10_001
    assert result.findings[-1].message.startswith("only the first 10,000 problems")
    assert [document.name for document in result.documents] == ["edge-1"]


def test_a_file_that_was_not_read_is_a_problem() -> None:
    file = SourceFile("a.yaml", "1", b"", "is a symbolic link; commit the file itself")
    (problem,) = place(load([file], SCHEMAS).findings, [file])
    assert str(problem) == (
        "a.yaml: SRC1001 error: this is a symbolic link; commit the file itself"
    )


def test_a_finding_about_a_value_that_is_absent_is_placed_where_it_would_be() -> None:
    files = files_of({"a.yaml": HOST})
    finding = Finding("a.yaml", 0, pointer("spec", "weight"), "SCHEMA1004", "x; y")
    (problem,) = place([finding], files)
    assert (problem.line, problem.column) == (5, 3)
    (problem,) = place([Finding("a.yaml", 0, "/spec", "X", "x; y", on_key=True)], files)
    assert (problem.line, problem.column) == (4, 1)


def test_a_finding_about_an_unknown_file_keeps_its_path() -> None:
    (problem,) = place([Finding("gone.yaml", 0, "/spec", "X1000", "x; y")], ())
    assert str(problem) == "gone.yaml: X1000 error: x; y"


def test_a_pointer_escapes_slashes() -> None:
    assert pointer("metadata", "labels", "a/b~c", 0) == "/metadata/labels/a~1b~0c/0"
