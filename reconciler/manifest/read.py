"""The bytes of a file -> readings: decodes, refuses what is no text, and picks YAML or JSON."""

from __future__ import annotations

from collections.abc import Container

from reconciler.manifest.jsontext import read_json
from reconciler.manifest.problem import Finding
from reconciler.manifest.reading import Reading
from reconciler.manifest.scalars import FORBIDDEN, ScalarRules
from reconciler.manifest.yamltext import read_yaml

_BOM = "\ufeff"


def read(
    data: bytes, rules: ScalarRules, *, is_json: bool, places: Container[int] = ()
) -> tuple[list[Reading], list[Finding]]:
    """The documents, with places for those that `places` names; and what is wrong with the file."""
    try:
        text = data.decode("utf-8").removeprefix(_BOM)
    except UnicodeDecodeError as error:
        return [], [_not_utf8(data, error.start)]
    forbidden = FORBIDDEN.search(text)
    if forbidden:
        return [], [_not_text(data, text, forbidden.start())]
    return (
        read_json(text, places=0 in places) if is_json else read_yaml(text, rules, places=places)
    ), []


def _not_utf8(data: bytes, offset: int) -> Finding:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Finding("", -1, "", "YAML1001", "the file is UTF-16; save it as UTF-8")
    if b"\0" in data:
        return Finding("", -1, "", "YAML1002", "the file is binary; keep only manifests here")
    line = data.count(b"\n", 0, offset) + 1
    before = data[data.rfind(b"\n", 0, offset) + 1 : offset].decode("utf-8")
    message = f"byte 0x{data[offset]:02x} is not UTF-8; save the file as UTF-8"
    return Finding("", -1, "", "YAML1001", message, line=line, column=len(before) + 1)


def _not_text(data: bytes, text: str, offset: int) -> Finding:
    if "\0" in text:
        if b"\0" in (data[:1], data[1:2]):
            return Finding("", -1, "", "YAML1001", "the file looks like UTF-16; save it as UTF-8")
        return Finding("", -1, "", "YAML1002", "the file is binary; keep only manifests here")
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    message = f"character U+{ord(text[offset]):04X} is not allowed in manifests; remove it"
    return Finding("", -1, "", "YAML1002", message, line=line, column=column)
