"""The text of a JSON file -> its one Reading.

Python's own parser reads what is ordinary; everything else, and all positions, come from a
tokenizer that feeds the same Builder as YAML does, so that both have the same limits.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple, NoReturn

from reconciler.manifest.reading import MAX_DEPTH, MAX_NODES, Builder, LimitError, Reading, failed
from reconciler.manifest.scalars import Scalar

_TOKEN = re.compile(r'[{}\[\]:,]|"(?:[^"\\]|\\.)*"|[^\s{}\[\]:,"]+|\S')
_LARGEST = 1 << 64


class _Mark(NamedTuple):
    line: int
    column: int


class _UnusualError(ValueError):
    """The ordinary parser must not decide this."""


def read_json(text: str, *, places: bool = False) -> list[Reading]:
    """The document of `text`; none if the file is empty."""
    if not text.strip():
        return []
    try:
        if not places:
            return [Reading(0, _ordinary(text))]
    except (_UnusualError, RecursionError, json.JSONDecodeError):
        pass
    try:
        json.loads(text, parse_int=str)
    except json.JSONDecodeError as error:
        message = f"syntax error: {error.msg[:1].lower()}{error.msg[1:]}; correct the JSON"
        return [failed(0, "YAML1003", message, error.lineno, error.colno)]
    except RecursionError:
        pass  # deeper than the tokenizer goes
    return [_read(text, places)]


def _ordinary(text: str) -> Any:
    """The value, if nothing about it needs a finding."""

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise _UnusualError
        return result

    body = json.loads(
        text,
        object_pairs_hook=mapping,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=_unusual,
    )
    many = text.count("{") + text.count("[") > MAX_DEPTH or text.count(",") > MAX_NODES // 2
    if many or "\\u" in text:
        raise _UnusualError
    return body


def _unusual(_: str) -> NoReturn:
    raise _UnusualError


def _integer(text: str) -> int:
    return int(text) if len(text) < 19 else _unusual(text)


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _unusual(text)


def _read(text: str, places: bool) -> Reading:
    """Token by token. The text is JSON, or too deep for the ordinary parser to say."""
    builder = Builder(0, 1, places=places)
    line, line_start, scanned = 0, 0, 0
    try:
        for match in _TOKEN.finditer(text):
            token, start = match[0], match.start()
            newlines = text.count("\n", scanned, start)
            if newlines:
                line += newlines
                line_start = text.rfind("\n", scanned, start) + 1
            scanned = start
            mark = _Mark(line, start - line_start)
            if token in "{[":
                builder.begin({} if token == "{" else [], mark, None)
            elif token in "}]":
                builder.end()
            elif token not in ":,":
                builder.scalar(_scalar(token), token, mark)
    except LimitError:
        builder.reading.broken = True
    return builder.reading


def _scalar(token: str) -> Scalar:
    if token.startswith('"'):
        return Scalar(json.loads(token))
    if token in ("NaN", "Infinity", "-Infinity"):
        return Scalar(0, "YAML1011", f"`{token}` is not a finite number; write a number")
    if len(token) > 40:
        return Scalar(0, "YAML1011", f"{token[:40]}... is too long a number; quote a text")
    value = json.loads(token)
    if isinstance(value, float) and not math.isfinite(value):
        return Scalar(0, "YAML1011", f"`{token}` is not a finite number; write a number")
    if isinstance(value, int) and not -(_LARGEST >> 1) <= value < _LARGEST:
        return Scalar(0, "YAML1011", f"`{token}` does not fit 64 bits; write a smaller number")
    return Scalar(value)
