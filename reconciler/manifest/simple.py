"""The plain part of YAML, read fast: block mappings and lists of values that fit on one line.

It only accepts: `read_simple` gives the body of a document that it understands completely, and
raises UnclearError for all others, good or bad, which are for the real parsers. A differential
test holds it to them.
"""

from __future__ import annotations

import re
from typing import Any

from reconciler.manifest.scalars import ScalarRules, is_text

MAX_LENGTH = 50_000  # characters: fewer than reading.MAX_NODES values
_MAX_DEPTH = 16
_MAX_KEY = 1000  # characters; YAML allows 1024 for a key without `?`

# A colon belongs to a plain text while something follows that can belong to one (YAML 1.2.2, rule
# 130). Far fewer characters than YAML allows, and only single spaces between words.
_CHARACTER = r"[A-Za-z0-9_./@+=-]"
_WORD = rf"(?:{_CHARACTER}|:+(?={_CHARACTER}))+"
_PLAIN = rf"[A-Za-z0-9_./+](?:{_CHARACTER}|:+(?={_CHARACTER}))*(?: {_WORD})*"
_QUOTED = r'"[^"\\]*"|' r"'[^']*'"
_LINE = re.compile(r"( *)(- +)?(?:([A-Za-z_][A-Za-z0-9_./-]*):(?: +|\Z))?(.*)", re.DOTALL)
_SCALAR = re.compile(rf"({_PLAIN})|{_QUOTED}")
_TOKEN = re.compile(rf" *(?:([\[\]{{}},])|(({_PLAIN})|{_QUOTED})(: +)?)")

Line = tuple[int, int, str | None, str]  # indent, width of the dash, key, what follows


class UnclearError(Exception):
    """Not for this parser."""


def read_simple(part: str, rules: ScalarRules) -> Any:
    """The body of the one document of `part`; raises UnclearError."""
    if len(part) > MAX_LENGTH:
        raise UnclearError
    lines = _lines(part)
    if lines:
        return _Reader(lines, rules).document()
    if part.startswith("---"):
        return None
    raise UnclearError  # comments before the first document are none


def _lines(part: str) -> list[Line]:
    """The lines that are neither empty nor comments, after the document's marker."""
    lines: list[Line] = []
    texts = part.split("\n")
    if texts[0].startswith("---"):
        if texts[0].rstrip(" ") != "---":
            raise UnclearError
        del texts[0]
    for text in texts:
        indent, dash, key, rest = _LINE.match(text).groups()  # type: ignore[union-attr]
        if "#" in rest and '"' not in rest and "'" not in rest:
            rest = f" {rest}".partition(" #")[0][1:]
        rest = rest.rstrip(" ")
        if rest or key or dash:
            lines.append((len(indent), len(dash or ""), key, rest))
    return lines


class _Reader:
    """Goes through the lines once."""

    def __init__(self, lines: list[Line], rules: ScalarRules) -> None:
        self._lines = lines
        self._at = 0
        self._rules = rules

    def document(self) -> Any:
        """All lines as one value."""
        body = self._block(self._lines[0][0], 0)
        if self._at < len(self._lines):
            raise UnclearError
        return body

    def _block(self, indent: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise UnclearError
        if self._lines[self._at][1]:
            return self._list(indent, depth)
        return self._mapping(indent, depth)

    def _list(self, indent: int, depth: int) -> list[Any]:
        result = []
        while self._at < len(self._lines):
            here, dash, key, rest = self._lines[self._at]
            if here < indent or (here == indent and not dash):
                break
            if here > indent:
                raise UnclearError
            if key is not None:
                self._lines[self._at] = (here + dash, 0, key, rest)
                result.append(self._mapping(here + dash, depth + 1))
            else:
                self._at += 1
                result.append(self._value(rest, depth))
        return result

    def _mapping(self, indent: int, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while self._at < len(self._lines):
            here, dash, key, rest = self._lines[self._at]
            if here < indent:
                break
            if here > indent or dash or key is None or key in result:
                raise UnclearError
            self._at += 1
            self._key(key)
            result[key] = self._value(rest, depth) if rest else self._below(indent, depth)
        return result

    def _below(self, indent: int, depth: int) -> Any:
        """The value of a key that has none on its line."""
        if self._at == len(self._lines):
            return None
        here, dash, _, _ = self._lines[self._at]
        if here > indent or (here == indent and dash):
            return self._block(here, depth + 1)
        return None

    def _value(self, text: str, depth: int) -> Any:
        scalar = _SCALAR.fullmatch(text)
        if scalar:
            return self._scalar(scalar[0], scalar[1] is not None)
        if text[:1] not in ("[", "{"):
            raise UnclearError
        value, end = self._flow(text, 0, depth)
        if end != len(text):
            raise UnclearError
        return value

    def _scalar(self, text: str, plain: bool) -> Any:
        if not plain:
            return text[1:-1]
        if is_text(text):
            return text
        found = self._rules.read(text)
        if found.code:
            raise UnclearError
        return found.value

    def _key(self, text: str) -> None:
        """Unclear if it may be anything but this text."""
        if len(text) > _MAX_KEY or not isinstance(self._scalar(text, True), str):
            raise UnclearError

    def _flow(self, text: str, start: int, depth: int) -> tuple[Any, int]:
        """The value that begins at `start`, and where it ends."""
        token = _TOKEN.match(text, start)
        if token is None or depth > _MAX_DEPTH or token[4]:
            raise UnclearError
        if token[1] == "[":
            return self._flow_list(text, token.end(), depth + 1)
        if token[1] == "{":
            return self._flow_mapping(text, token.end(), depth + 1)
        if token[2] is None:
            raise UnclearError
        return self._scalar(token[2], token[3] is not None), token.end()

    def _flow_list(self, text: str, at: int, depth: int) -> tuple[list[Any], int]:
        result: list[Any] = []
        token = _TOKEN.match(text, at)
        if token and token[1] == "]":
            return result, token.end()
        while True:
            value, at = self._flow(text, at, depth)
            result.append(value)
            more, at = _after_item(text, at, "]")
            if not more:
                return result, at

    def _flow_mapping(self, text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
        result: dict[str, Any] = {}
        token = _TOKEN.match(text, at)
        if token and token[1] == "}":
            return result, token.end()
        while True:
            token = _TOKEN.match(text, at)
            if token is None or not token[4]:
                raise UnclearError
            key = token[2] if token[3] is not None else token[2][1:-1]
            if token[3] is not None:
                self._key(key)
            if key in result or len(key) > _MAX_KEY:
                raise UnclearError
            result[key], at = self._flow(text, token.end(), depth)
            more, at = _after_item(text, at, "}")
            if not more:
                return result, at


def _after_item(text: str, at: int, closing: str) -> tuple[bool, int]:
    """Whether another item follows, and where."""
    token = _TOKEN.match(text, at)
    if token is None or token[1] not in (",", closing):
        raise UnclearError
    return token[1] == ",", token.end()
