"""The text of a YAML file -> one Reading per document, at 1.2 rules.

The text is cut at the document markers first, so that one broken document hides no other. A
parser in C reads each part; what it refuses is decided by ruamel.yaml's own parser, because the C
parser keeps to YAML 1.1's syntax, which has, for one, no `[2001:db8::1, a]`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator

from ruamel.yaml import YAML
from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined]
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from reconciler.manifest.reading import Builder, LimitError, Reading, failed
from reconciler.manifest.scalars import Scalar, ScalarRules
from reconciler.manifest.simple import UnclearError, read_simple
from reconciler.manifest.syntax import explain_syntax

MAX_DOCUMENTS = 20_000  # of one file
MAX_DOCUMENT = 256 << 10  # characters of one document

# A line that begins so is a marker wherever it stands (YAML 1.2.2, rule 206, c-forbidden).
_MARKER = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_DIRECTIVES = re.compile(r"(?:[ \t]*(?:#.*)?\r?\n|%.*\r?\n)*%.*\r?\n?")
_DIRECTIVE = re.compile(r"^%.*$", re.MULTILINE)
_VERSION = re.compile(r"%YAML[ \t]+1\.2[ \t]*(#.*)?")


def read_yaml(text: str, rules: ScalarRules, *, places: Container[int] = ()) -> list[Reading]:
    """All documents of `text`, empty ones included, in order; ends early at a limit.

    `places` are the documents whose values are wanted with their places.
    """
    readings: list[Reading] = []
    line = 1
    for part in cut(text):
        if len(readings) >= MAX_DOCUMENTS:
            message = f"more than {MAX_DOCUMENTS:,} documents in one file; split it"
            readings.append(failed(len(readings), "YAML1010", message, line, 1))
            break
        readings += _read_part(part, line, len(readings), rules, places)
        line += part.count("\n")
    return readings


def cut(text: str) -> Iterator[str]:
    """`text` cut before every document marker; directives before the first stay with it."""
    starts = [match.start() for match in _MARKER.finditer(text)]
    if not starts:
        yield text
        return
    head = text[: starts[0]]
    if head.strip() and _DIRECTIVES.fullmatch(head):
        starts[0] = 0
    elif head:
        yield head
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield text[start:end]


def _read_part(
    part: str, line: int, first: int, rules: ScalarRules, places: Container[int]
) -> list[Reading]:
    if len(part) > MAX_DOCUMENT:
        message = f"this document is larger than {MAX_DOCUMENT >> 10} KiB; split it"
        return [failed(first, "YAML1010", message, line, 1)]
    refused = [each for each in _leading_directives(part) if not _VERSION.fullmatch(each.rstrip())]
    if refused:
        message = f"directive `{refused[0].rstrip()[:60]}` is not supported; remove it"
        return [failed(first, "YAML1007", message, line, 1)]
    if first not in places:
        try:
            return [Reading(first, read_simple(part, rules))]
        except UnclearError:
            pass  # most often a comment or a text over several lines
    build = _Documents(rules, first, line, len(part), places)
    try:
        return build.read(_events_in_c(part))
    except MarkedYAMLError:
        return build.read_to_the_error(_events(part))


def _leading_directives(part: str) -> list[str]:
    match = _DIRECTIVES.match(part) if part.startswith(("%", "#", " ", "\t", "\r", "\n")) else None
    return _DIRECTIVE.findall(match[0]) if match else []


class _Documents:
    """Makes readings of the events of one part; usually it is one document."""

    def __init__(
        self, rules: ScalarRules, first: int, line: int, length: int, places: Container[int]
    ) -> None:
        self._length = length
        self._rules = rules
        self._first = first
        self._line = line
        self._places = places

    def read(self, events: Iterable[Event]) -> list[Reading]:
        """Raises MarkedYAMLError."""
        return self._read(events, [])

    def read_to_the_error(self, events: Iterable[Event]) -> list[Reading]:
        """The error becomes a finding of the document that it is in."""
        builders: list[Builder] = []
        try:
            return self._read(events, builders)
        except MarkedYAMLError as error:
            mark = error.problem_mark
            if error.context_mark and (mark is None or mark.index >= self._length):
                mark = error.context_mark  # where the part ends says nothing; what began it does
            line = self._line + (mark.line if mark else 0)
            column = mark.column + 1 if mark else 1
            readings = [builder.reading for builder in builders]
            inside = bool(builders) and not builders[-1].complete
            number = self._first + len(readings) - inside
            error_reading = failed(number, "YAML1003", explain_syntax(error), line, column)
            if not inside:
                return [*readings, error_reading]
            readings[-1].broken = True
            readings[-1].findings += error_reading.findings
            return readings

    def _read(self, events: Iterable[Event], builders: list[Builder]) -> list[Reading]:
        try:
            for event in events:
                if isinstance(event, DocumentStartEvent):
                    number = self._first + len(builders)
                    wanted = number in self._places
                    builders.append(Builder(number, self._line, places=wanted))
                elif isinstance(event, DocumentEndEvent):
                    builders[-1].complete = True
                elif not isinstance(event, StreamStartEvent | StreamEndEvent):
                    self._feed(builders[-1], event)
        except LimitError:
            builders[-1].reading.broken = True
        return [builder.reading for builder in builders]

    def _feed(self, builder: Builder, event: Event) -> None:
        mark = event.start_mark
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = str(tag).replace("tag:yaml.org,2002:", "!!")[:60]
            message = f"tag `{shown}` is not supported; remove it, and quote a text"
            builder.report(mark, "YAML1007", message)
        if isinstance(event, ScalarEvent):
            text = event.value
            scalar = self._rules.read(text) if event.implicit[0] else Scalar(text)
            builder.scalar(scalar, text, mark, event.anchor)
        elif isinstance(event, AliasEvent):
            builder.alias(event.anchor, mark)
        elif isinstance(event, MappingStartEvent):
            builder.begin({}, mark, event.anchor)
        elif isinstance(event, SequenceStartEvent):
            builder.begin([], mark, event.anchor)
        else:
            builder.end()


def _events_in_c(text: str) -> Iterator[Event]:
    parser = CParser(text)
    while parser.check_event():
        yield parser.get_event()


def _events(text: str) -> Iterator[Event]:
    return iter(YAML(typ="safe", pure=True).parse(text))
