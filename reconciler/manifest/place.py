"""Findings -> problems with lines and columns, by a second reading of the documents with any."""

from __future__ import annotations

from collections.abc import Container, Iterable

from reconciler.manifest.problem import Finding, Problem
from reconciler.manifest.read import read
from reconciler.manifest.reading import Place
from reconciler.manifest.scalars import ScalarRules
from reconciler.source.files import SourceFile

Places = dict[tuple[int, str], Place]


def place(findings: Iterable[Finding], files: Iterable[SourceFile]) -> tuple[Problem, ...]:
    """All findings as problems, sorted by place."""
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        by_path.setdefault(finding.path, []).append(finding)
    known = {file.path: file for file in files if file.path in by_path}
    rules = ScalarRules()
    problems = []
    for path, found in by_path.items():
        unplaced = {each.document for each in found if not each.line and each.document >= 0}
        file = known.get(path)
        places = _places(file, rules, unplaced) if unplaced and file else {}
        problems += [_problem(finding, places) for finding in found]
    return tuple(sorted(set(problems)))


def _places(file: SourceFile, rules: ScalarRules, documents: Container[int]) -> Places:
    is_json = file.path.lower().endswith(".json")
    readings, _ = read(file.content, rules, is_json=is_json, places=documents)
    return {
        (reading.document, pointer): found
        for reading in readings
        for pointer, found in reading.places.items()
    }


def _problem(finding: Finding, places: Places) -> Problem:
    line, column = finding.line, finding.column
    found = None if line else _nearest(finding, places)
    if found:
        on_key = finding.on_key
        line, column = (found.key_line, found.key_column) if on_key else (found.line, found.column)
    return Problem(finding.path, line, column, finding.code, finding.message, finding.severity)


def _nearest(finding: Finding, places: Places) -> Place | None:
    """The place of the finding's value, or of the innermost thing around it that is written."""
    pointer = finding.pointer
    while True:
        found = places.get((finding.document, pointer))
        if found or not pointer:
            return found
        pointer = pointer.rpartition("/")[0]
