"""Shapes: documents that differ in plain values alone are read and checked by filling them in.

The text without its values is the shape. The plain reader has read one document of that shape, with
marks in place of the values; the schema has been gone through once, and what remains is a check
for each value. Like both of those this only accepts: what is not accepted is for the real parsers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.manifest.document import Document
from reconciler.manifest.partial import Hole, Rest, partial
from reconciler.manifest.scalars import FORBIDDEN, ScalarRules
from reconciler.manifest.simple import MAX_LENGTH, UnclearError, read_simple

# A value on one line, plain or quoted, after what makes it one and before what ends it. A subset of
# what simple.py takes, so that a text in its place is one token there too, whatever it is.
_CHARACTER = r"[A-Za-z0-9_./-]"
_PLAIN = rf"[A-Za-z0-9](?:{_CHARACTER}|:+(?={_CHARACTER}))*"
_VALUE = re.compile(
    r"([:,-] |\[)(?<!kind: )(?<!apiVersion: )"
    r"(?!(?:[0-9]+|true|false|null)[\n,\]}])"  # those stay in the shape, with what they mean
    rf"({_PLAIN}|'{_PLAIN}'|\"{_PLAIN}\")(?=[\n,\]}}])"
)
_MOST = 1024  # shapes that are remembered, good and bad
_LONGEST = 4096  # characters of a shape
_HOLES = 64

Called = tuple[str, Any, Any]  # kind, namespace and name, of which the latter may be holes


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """`body` has a Hole where each value goes; `rest` is what remains to be checked."""

    kind: str
    namespace: str | Hole
    name: str | Hole
    body: Mapping[str, Any]
    rest: Rest


@dataclass(frozen=True, slots=True)
class Filled:
    """A valid document: a shape and the texts of its values."""

    shape: Shape
    values: tuple[str, ...]
    index: int

    @property
    def kind(self) -> str:
        """Of the document."""
        return self.shape.kind

    def of(self, part: Any) -> Any:
        """A part of the shape's body with its values."""
        if type(part) is Hole:
            return self.values[part.number]
        if type(part) is dict:
            return {key: self.of(each) for key, each in part.items()}
        return [self.of(each) for each in part] if type(part) is list else part

    def document(self) -> Document:
        """The same as the slow readers give."""
        shape = self.shape
        namespace, name = self.of(shape.namespace), self.of(shape.name)
        return Document(shape.kind, namespace, name, "", self.index, self.of(shape.body))


@dataclass(slots=True, eq=False)
class Shapes:
    """Remembers the shapes that it has seen. `identify` says what a body is called, None if it is
    of no kind; `schemas` are by kind."""

    rules: ScalarRules
    schemas: Mapping[str, Mapping[str, Any]]
    formats: Mapping[str, Callable[[str], None]]
    identify: Callable[[Any], Called | None]
    known: dict[str, Shape | None] = field(default_factory=dict)

    def fill(self, piece: str, index: int) -> Filled | None:
        """The document of a text without its marker, if it is plainly valid."""
        parts = _VALUE.split(piece)
        values = parts[2::3]
        text = "\0".join(parts[0::3]) + "\0".join(parts[1::3])
        shape = self.known.get(text, _NEW)
        if shape is _NEW:
            shape = self._learn(parts, text)
        if shape is None or len(piece) > MAX_LENGTH:
            return None
        texts = tuple(map(self._text, values)) if values else ()
        if None in texts or not shape.rest.accepts(texts):
            return None
        return Filled(shape, texts, index)  # type: ignore[arg-type]

    def _text(self, value: str) -> str | None:
        """What is written, if it is a text for every reader."""
        if value[0] in "'\"":
            return value[1:-1]
        found = self.rules.read(value)
        return value if type(found.value) is str and not found.code else None

    def _learn(self, parts: Sequence[str], text: str) -> Shape | None:
        if len(self.known) >= _MOST:
            self.known.clear()
        shape = None
        if len(text) <= _LONGEST and len(parts) <= 3 * _HOLES:
            shape = self._read(parts)
            self.known[text] = shape
        return shape

    def _read(self, parts: Sequence[str]) -> Shape | None:
        marks = [f"Zq{number}qZ" for number in range(len(parts) // 3)]
        quotes = ["" if value[0] not in "'\"" else value[0] for value in parts[2::3]]
        written = [f"{quote}{mark}{quote}" for quote, mark in zip(quotes, marks, strict=True)]
        around = zip(parts[0::3], [*parts[1::3], ""], [*written, ""], strict=True)
        text = "".join(each for three in around for each in three)
        if FORBIDDEN.search(text) or "Zq" in "".join(parts[0::3]):
            return None
        try:
            body = read_simple(text, self.rules)
        except UnclearError:
            return None
        holes = {mark: Hole(number) for number, mark in enumerate(marks)}
        seen: list[int] = []
        body = _marked(body, holes, seen)
        if sorted(seen) != list(range(len(marks))):  # a value was a key, or a part of a text
            return None
        called = self.identify(body)
        rest = None
        if called is not None:
            rest = partial(self.schemas[called[0]], self.formats, body)
        return None if called is None or rest is None else Shape(*called, body, rest)


_NEW: Any = object()


def _marked(body: Any, holes: Mapping[str, Hole], seen: list[int]) -> Any:
    """The body with holes for marks; `seen` are their numbers."""
    if type(body) is str and body in holes:
        seen.append(holes[body].number)
        return holes[body]
    if type(body) is dict:
        return {key: _marked(each, holes, seen) for key, each in body.items()}
    return [_marked(each, holes, seen) for each in body] if type(body) is list else body


def whole(document: Document | Filled) -> Document:
    """As a Document."""
    return document.document() if isinstance(document, Filled) else document
