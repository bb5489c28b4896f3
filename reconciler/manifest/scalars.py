"""What an unquoted YAML scalar is.

ruamel.yaml's YAML 1.2 rules decide; where YAML 1.1, or the 1.2 specification's own core schema,
would read it differently, it is ambiguous and refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode

# Everything that some version reads as other than a text starts so, or is one of these words.
_SUSPECT = re.compile(
    r"[-+.0-9~<=]|(?:[yn]|yes|no|on|off|true|false|null|inf|nan)\Z", re.IGNORECASE
)
_DOTTED = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")  # has too many points for any number
# The number forms of the YAML 1.2 core schema (YAML 1.2.2, section 10.3.2), without radix
# prefixes for floats. ruamel.yaml also takes 1_000 and 0b11, which other 1.2 readers keep as texts.
_CORE_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_CORE_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# A float of YAML 1.1 has a point, and a sign in its exponent; ruamel.yaml is more lenient.
_NEW_EXPONENT = re.compile(r"[-+0-9_]*[eE]|.*[eE][0-9]")
_MAX_DIGITS = 40
_TAG = "tag:yaml.org,2002:"
# Control characters, halves of surrogate pairs, the byte order mark inside a text, non-characters,
# the line separators that YAML 1.1 knows and YAML 1.2 does not (NEL, LS, PS), and what reorders a
# line, so that it reads as another than it is.
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff"
    "\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def forbidden(text: str) -> bool:
    """Whether `text` holds a character that no manifest may hold."""
    return FORBIDDEN.search(text) is not None


def is_text(plain: str) -> bool:
    """Whether every version reads the plain scalar as the text that it is; False if in doubt."""
    return bool(plain) and (not _SUSPECT.match(plain) or _DOTTED.fullmatch(plain) is not None)


@dataclass(frozen=True, slots=True)
class Scalar:
    """`code` and `message` are '' where the value is fine."""

    value: Any
    code: str = ""
    message: str = ""


class ScalarRules:
    """Reads plain scalars; remembers what it has decided, so use one for many files."""

    def __init__(self) -> None:
        self._versions = tuple(_rules(version) for version in ((1, 2), (1, 1)))
        self._known: dict[str, Scalar] = {}

    def read(self, text: str) -> Scalar:
        """The value of the plain scalar `text`."""
        if is_text(text):
            return Scalar(text)
        found = self._known.get(text)
        if found is None:
            found = self._decide(text)
            if len(self._known) < 1 << 16 and len(text) < 64:
                self._known[text] = found
        return found

    def _decide(self, text: str) -> Scalar:
        new, old = (_kind(rules, text) for rules in self._versions)
        if old == "float" and _NEW_EXPONENT.match(text):
            old = "str"
        if new == "merge":
            return Scalar(
                text, "YAML1012", "`<<` is a merge key in YAML 1.1 only; write the fields out"
            )
        if new in ("int", "float") and len(text) > _MAX_DIGITS:
            return Scalar(
                0, "YAML1011", f"{text[:_MAX_DIGITS]}... is too long a number; quote a text"
            )
        core = {"int": _CORE_INT, "float": _CORE_FLOAT}.get(new)
        special = new == "float" and text.lower().lstrip("+-") in (".inf", ".nan")
        number = _CORE_INT.fullmatch(text) or _CORE_FLOAT.fullmatch(text)
        plain = special or (
            core.fullmatch(text) if core else new in ("str", "null", "bool") and not number
        )
        values = tuple(
            _construct(rules, kind, text)
            for rules, kind in zip(self._versions, (new, old), strict=True)
        )
        if not plain or new != old or repr(values[0]) != repr(values[1]):
            return Scalar(
                values[0] if plain else text,
                "YAML1005",
                f"`{text}` is ambiguous: {_reading(old, values[1])} in YAML 1.1"
                + (f", {_reading(new, values[0])} in YAML 1.2" if plain else "")
                + f"; {_remedy(text, new, old, values)}",
            )
        value = values[0]
        if isinstance(value, float) and not math.isfinite(value):
            return Scalar(0, "YAML1011", f"`{text}` is not a finite number; write a number")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
            return Scalar(0, "YAML1011", f"`{text}` does not fit 64 bits; write a smaller number")
        return Scalar(value)


def _rules(version: tuple[int, int]) -> YAML:
    rules = YAML(typ="safe", pure=True)
    rules.version = version
    return rules


def _kind(rules: YAML, text: str) -> str:
    return str(rules.resolver.resolve(ScalarNode, text, (True, False))).removeprefix(_TAG)


def _construct(rules: YAML, kind: str, text: str) -> Any:
    """The value, by ruamel.yaml's constructor of `kind`; the text itself for other kinds."""
    if kind not in ("int", "float", "bool", "null") or len(text) > _MAX_DIGITS:
        return text
    make = getattr(rules.constructor, f"construct_yaml_{kind}")
    try:
        return make(ScalarNode(_TAG + kind, text))
    except (ValueError, IndexError):  # `._` and `-_` look like numbers of YAML 1.1, and are none
        return text


def _reading(kind: str, value: Any) -> str:
    if kind == "bool":
        return "true" if value else "false"
    if kind in ("int", "float"):
        return f"the number {value}"
    return "a date" if kind == "timestamp" else "a text"


def _remedy(text: str, new: str, old: str, values: tuple[Any, ...]) -> str:
    if "bool" in (new, old):
        return f'write {"true" if values[1] else "false"}, or quote it: "{text}"'
    if new == "int":
        return f'write the decimal number, or quote it: "{text}"'
    return f'quote it: "{text}"'
