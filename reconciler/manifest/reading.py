"""Reading: one document as a parser gives it, with what is wrong with its text.

Builder makes it piece by piece, without recursion, so that neither the depth nor the aliases of a
hostile document cost more than the limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from reconciler.manifest.problem import Finding, pointer
from reconciler.manifest.scalars import Scalar, forbidden

MAX_DEPTH = 32
MAX_NODES = 50_000  # values of one document, aliases expanded


class Mark(Protocol):
    """A position in a text, counted from 0, as YAML parsers state it."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column of a value and of its key, from 1; an item of a list is its own key."""

    line: int
    column: int
    key_line: int
    key_column: int


@dataclass(slots=True)
class Reading:
    """A `broken` document holds what was read before the error: enough to tell which one it is."""

    document: int
    body: Any = None
    broken: bool = False
    findings: list[Finding] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)


def failed(document: int, code: str, message: str, line: int, column: int) -> Reading:
    """A document of which nothing could be read."""
    finding = Finding("", document, "", code, message, line=line, column=column)
    return Reading(document, broken=True, findings=[finding])


class LimitError(Exception):
    """The document exceeds a limit and has a finding that says so; no more of it is read."""


@dataclass(slots=True)
class _Level:
    """A mapping or list that is being filled; `step` is its own place in its parent."""

    container: Any
    step: str | int | None
    anchor: str | None
    first_node: int
    key: str | None = None  # of the value that comes next in a mapping
    key_place: tuple[int, int] = (0, 0)
    ignored: bool = False  # that key was reported; its value is read, and dropped


class Builder:
    """Tell it what the text holds, in order; `reading` is the result. All raise LimitError."""

    def __init__(self, document: int, first_line: int, *, places: bool = False) -> None:
        self.reading = Reading(document)
        self.complete = False
        self._first_line = first_line  # that marks count from, from 1
        self._places = places
        self._levels: list[_Level] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def scalar(self, scalar: Scalar, text: str, mark: Mark, anchor: str | None = None) -> None:
        """A value that is no container, written as `text`, or the key of a mapping."""
        self._count(mark, 1)
        value, code, message = scalar.value, scalar.code, scalar.message
        if not code and isinstance(value, str) and forbidden(value):
            code, message = "YAML1002", "this text holds a control character; remove it"
        is_key = self._expects_key()
        if is_key:
            value = text if code else value
            self._key(value, mark)
        if code:  # after the key, so that the finding names the key's own member
            self.report(mark, code, message, on_key=is_key)
        if not is_key:
            self._add(value, mark)
        if anchor:
            self._anchors[anchor] = (value, 1)

    def alias(self, name: str, mark: Mark) -> None:
        """The value of an anchor once more."""
        value, nodes = self._anchors.get(name, (None, 0))
        if not nodes:
            message = f"`*{name[:60]}` stands for nothing complete before it; write the value out"
            self.report(mark, "YAML1008", message)
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            message = f"aliases expand this document beyond {MAX_NODES:,} values; write them out"
            self.report(mark, "YAML1008", message)
            raise LimitError
        self._add(value, mark)

    def begin(self, container: dict[str, Any] | list[Any], mark: Mark, anchor: str | None) -> None:
        """An empty mapping or list that is filled until `end`."""
        self._count(mark, 1)
        if len(self._levels) >= MAX_DEPTH:
            self.report(mark, "YAML1009", f"nested more than {MAX_DEPTH} levels deep; flatten it")
            raise LimitError
        step = self._step()
        self._add(container, mark)
        self._levels.append(_Level(container, step, anchor, self._nodes - 1))

    def end(self) -> None:
        """The innermost container is complete."""
        level = self._levels.pop()
        if level.anchor:
            self._anchors[level.anchor] = (level.container, self._nodes - level.first_node)

    def report(self, mark: Mark, code: str, message: str, *, on_key: bool = False) -> None:
        """Add a finding about the value that comes next, or the key that came last."""
        line, column = self._position(mark)
        place = self.reading.document, self._pointer()
        self.reading.findings.append(
            Finding("", *place, code, message, on_key=on_key, line=line, column=column)
        )

    def _position(self, mark: Mark) -> tuple[int, int]:
        return mark.line + self._first_line, mark.column + 1

    def _count(self, mark: Mark, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            message = f"this document has more than {MAX_NODES:,} values; split it"
            self.report(mark, "YAML1010", message)
            raise LimitError

    def _step(self) -> str | int | None:
        """Where the next value goes, in the innermost container."""
        if not self._levels:
            return None
        level = self._levels[-1]
        return len(level.container) if isinstance(level.container, list) else level.key

    def _pointer(self) -> str:
        steps = [*(level.step for level in self._levels), self._step()]
        return pointer(*(step for step in steps if step is not None))

    def _expects_key(self) -> bool:
        if not self._levels:
            return False
        level = self._levels[-1]
        return level.key is None and isinstance(level.container, dict)

    def _add(self, value: Any, mark: Mark) -> None:
        """Put a value, or a key, where it belongs, and remember its place."""
        if self._expects_key():
            self._key(value, mark)
            return
        level = self._levels[-1] if self._levels else None
        if self._places and not (level and level.ignored):
            line, column = position = self._position(mark)
            key = level.key_place if level and level.key is not None else position
            self.reading.places[self._pointer()] = Place(line, column, *key)
        if level is None:
            self.reading.body = value
        elif isinstance(level.container, list):
            level.container.append(value)
        else:
            if not level.ignored:
                level.container[level.key] = value
            level.key = None

    def _key(self, value: Any, mark: Mark) -> None:
        """Begin a member of a mapping; a key that is wrong takes its value with it."""
        level = self._levels[-1]
        wrong = None
        if not isinstance(value, str):
            what = "this key" if isinstance(value, list | dict) else f"key `{value}`"
            wrong = "YAML1006", f"{what} is not a text; quote it"
        elif value in level.container:
            wrong = "YAML1004", f"key `{value[:60]}` is given twice; keep one of them"
        level.key = value if isinstance(value, str) else str(value)[:60]
        level.key_place = self._position(mark)
        level.ignored = wrong is not None
        if wrong:
            self.report(mark, *wrong, on_key=True)
