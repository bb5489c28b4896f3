"""Files -> documents and findings, file by file.

What a file gives depends on its bytes and on whether it is JSON, so it can be kept by blob id.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from reconciler.manifest.document import Document
from reconciler.manifest.mend import mend
from reconciler.manifest.problem import MAX_ALL_FINDINGS, MAX_FINDINGS, Finding, Severity
from reconciler.manifest.read import read
from reconciler.manifest.reading import Reading
from reconciler.manifest.schema import DEFAULT_NAMESPACE, Schemas, Validators, compile_schemas
from reconciler.manifest.wording import nearest
from reconciler.source.files import SourceFile


class Identity(NamedTuple):
    """What a manifest is called; `namespace` is '' for what belongs to the cluster.

    Of invalid ones `name` may be '': what they are to be called, nobody knows.
    """

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class FileResult:
    """What one file holds. `invalid` names the manifests that were recognised and have errors;
    `mended` are those of them of which enough is right to judge it."""

    documents: tuple[Document, ...] = ()
    findings: tuple[Finding, ...] = ()
    invalid: tuple[Identity, ...] = ()
    mended: tuple[Document, ...] = ()

    def at(self, path: str) -> FileResult:
        """The same result for a file at `path`."""
        return FileResult(
            tuple(replace(document, path=path) for document in self.documents),
            tuple(replace(finding, path=path) for finding in self.findings),
            self.invalid,
            tuple(replace(document, path=path) for document in self.mended),
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """All files together: valid documents in the order of files, and what is wrong with the rest.

    `invalid` are manifests that exist and cannot be used, so that nobody reports what refers to
    them as well; `mended` is what can be judged of them.
    """

    documents: tuple[Document, ...]
    findings: tuple[Finding, ...]
    invalid: frozenset[Identity]
    mended: tuple[Document, ...]


# Results by blob, and whether it is JSON: two commits have most of their files in common.
Kept = MutableMapping[tuple[str, bool], FileResult]


def load(files: Iterable[SourceFile], schemas: Schemas, kept: Kept | None = None) -> Loaded:
    """Read and check `files`; `schemas` by kind. What is in `kept` is not read again."""
    validators = compile_schemas(schemas)
    return collect(load_file(file, validators, kept) for file in files)


def collect(results: Iterable[FileResult]) -> Loaded:
    """The results of all files of a commit as one."""
    documents: list[Document] = []
    findings: list[Finding] = []
    invalid: set[Identity] = set()
    mended: list[Document] = []
    cut = False
    for result in results:
        documents += result.documents
        if len(findings) < MAX_ALL_FINDINGS:
            findings += result.findings
        elif result.findings:
            cut = True
        invalid.update(result.invalid)
        mended += result.mended
    if cut:
        message = f"only the first {MAX_ALL_FINDINGS:,} problems are shown; correct these first"
        findings.append(Finding(".", -1, "", "SCHEMA1099", message))
    return Loaded(tuple(documents), tuple(findings), frozenset(invalid), tuple(mended))


def load_file(file: SourceFile, validators: Validators, kept: Kept | None = None) -> FileResult:
    """What one file holds; never raises."""
    if file.refused:
        finding = Finding(file.path, -1, "", "SRC1001", f"this {file.refused}")
        return FileResult(findings=(finding,))
    key = (file.blob, file.path.lower().endswith(".json"))
    found = kept.get(key) if kept is not None else None
    if found is None:
        found = load_bytes(file.content, key[1], validators)
        if kept is not None:
            kept[key] = found
    return found.at(file.path)


def load_bytes(data: bytes, is_json: bool, validators: Validators) -> FileResult:
    """The result of a file's bytes, without its path."""
    return load_readings(*read(data, validators.scalars, is_json=is_json), validators)


def load_readings(
    readings: Iterable[Reading], wrong: Iterable[Finding], validators: Validators
) -> FileResult:
    """The same once the text is read; `wrong` are the findings about the file as a whole."""
    findings = list(wrong)
    documents: list[Document] = []
    invalid: list[Identity] = []
    mended: list[Document] = []
    for reading in readings:
        kind, found = _check(reading, validators)
        findings += found
        if not kind:
            continue
        identity = _identity(reading.body, kind, validators)
        document = Document(*identity, "", reading.document, reading.body)
        if not any(finding.severity is Severity.ERROR for finding in found):
            documents.append(document)
            continue
        intact = None if reading.broken else _mended(document, found, validators)
        if intact is None:
            invalid.append(identity)
        elif not intact.sure("metadata", "name"):
            invalid.append(Identity(kind, "", ""))
        elif intact.sure("metadata", "namespace"):
            invalid.append(identity)
            mended.append(intact)
    return FileResult(tuple(documents), _limited(findings), tuple(invalid), tuple(mended))


def _mended(
    document: Document, found: Iterable[Finding], validators: Validators
) -> Document | None:
    made = mend(validators.kinds[document.kind], document.body, found)
    return replace(document, body=made[0], unsure=made[1]) if made else None


def _check(reading: Reading, validators: Validators) -> tuple[str, list[Finding]]:
    """The kind, '' if it is none of ours, and all findings of one document."""
    body, number = reading.body, reading.document
    found = list(reading.findings)
    kind = body.get("kind") if isinstance(body, dict) else None
    known = validators.kinds.get(kind) if isinstance(kind, str) else None
    if reading.broken or (body is None and not found):
        return known.name if known else "", found
    if known is None:
        return "", found or [_no_kind(body, number, validators)]
    # what the text got wrong is reported once, not again as a value of the wrong type
    wrong = {(finding.pointer, finding.on_key) for finding in found}
    errors = known.check(number, body)
    found += [each for each in errors if (each.pointer, each.on_key) not in wrong]
    return known.name, found


def _no_kind(body: Any, number: int, validators: Validators) -> Finding:
    kinds = ", ".join(sorted(validators.kinds))
    if not isinstance(body, dict):
        message = "this is no manifest, but a list or a single value; write a mapping"
        return Finding("", number, "", "SCHEMA1001", message)
    if "kind" not in body:
        message = (
            f"this is no manifest, for it has no `kind`; add one ({kinds}), or move the file away"
        )
        return Finding("", number, "", "SCHEMA1001", message)
    kind = str(body["kind"])[:64]
    right = nearest(kind, validators.kinds)
    hint = f"did you mean `{right}`?" if right else f"the kinds are {kinds}"
    message = f"unknown kind `{kind}`; {hint}"
    return Finding("", number, "/kind", "SCHEMA1002", message)


def _identity(body: Any, kind: str, validators: Validators) -> Identity:
    """What the document is called, as far as it says so."""
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        return Identity(kind, "", "")
    namespace = metadata.get("namespace", DEFAULT_NAMESPACE)
    if not validators.kinds[kind].has_namespace or not isinstance(namespace, str):
        namespace = ""
    return Identity(kind, namespace, name)


def _limited(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    if len(findings) <= MAX_FINDINGS:
        return tuple(findings)
    message = f"only {MAX_FINDINGS} problems of this file are shown; correct these first"
    return (*findings[:MAX_FINDINGS], Finding("", -1, "", "SCHEMA1099", message))
