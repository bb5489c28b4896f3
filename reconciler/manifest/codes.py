"""CODES: every code a problem can have, with what `reconciler explain` says about it.

A code is never reused and never changes its meaning; a new finding takes the next free number.
SRC is about files, YAML about their text, SCHEMA about single documents, REF about references
between documents, NET about addresses and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Code:
    """`example` is a manifest, or part of one, that has the problem; '' where none would help."""

    title: str
    explanation: str
    remedy: str
    example: str = ""


CODES: Mapping[str, Code] = MappingProxyType(
    {
        "SRC1001": Code(
            "File not read",
            "The entry of the commit is not a plain file of a reasonable size: a symbolic link, a "
            "submodule, a file larger than the limit, or a path that is not UTF-8. Manifests are "
            "read from the commit's own objects, so that a commit means the same everywhere.",
            "Commit a plain file in its place, split it, or move it out of the manifests' folder.",
        ),
        "YAML1001": Code(
            "Not UTF-8",
            "Manifests are UTF-8 text, with or without a byte order mark.",
            "Save the file as UTF-8.",
        ),
        "YAML1002": Code(
            "Forbidden character",
            "The file holds a control character, half of a surrogate pair, or a line separator "
            "that YAML 1.1 and 1.2 count differently; a file with NUL bytes is not a text at all.",
            "Remove the character, or move a binary file out of the manifests' folder.",
            'name: "web\\0"',
        ),
        "YAML1003": Code(
            "Syntax error",
            "The text is not YAML 1.2, or not JSON in a file named .json. The documents before and "
            "after the broken one are checked all the same.",
            "Correct the text; often it is the indentation, a missing quote or an open bracket.",
            "cidrs: [10.1.0.0/24",
        ),
        "YAML1004": Code(
            "Key given twice",
            "A mapping has the same key twice; readers disagree about which of the two counts.",
            "Keep one of them.",
            "spec:\n  host: edge-1\n  host: edge-2",
        ),
        "YAML1005": Code(
            "Ambiguous value",
            "An unquoted value means one thing in YAML 1.2 and another in YAML 1.1, which many "
            "tools still read: there, `no` is false, `010` is 8, `12:34:56:12:34:56` is a number.",
            "Quote it if it is a text; write true, false or a plain decimal number otherwise.",
            "mac: 12:34:56:12:34:56",
        ),
        "YAML1006": Code(
            "Key is not a text",
            "The keys of a mapping are texts here, as in JSON.",
            "Quote the key.",
            "labels: {1: one}",
        ),
        "YAML1007": Code(
            "Tag or directive",
            "Tags such as `!!binary` or `!mine`, and the directives `%TAG` and `%YAML 1.1`, change "
            "what a text means; manifests do without.",
            "Remove it; quote a value that must be a text.",
            "port: !!str 80",
        ),
        "YAML1008": Code(
            "Aliases too large",
            "The aliases of a document expand to more than a manifest can be, or to themselves.",
            "Write the values out.",
            "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        ),
        "YAML1009": Code(
            "Nested too deeply",
            "No manifest needs as many levels.",
            "Flatten the document.",
        ),
        "YAML1010": Code(
            "Too large",
            "The file has more documents, or one document more values, than the limit.",
            "Split the file.",
        ),
        "YAML1011": Code(
            "Not a usable number",
            "NaN, infinities and integers beyond 64 bits mean different things to different tools.",
            "Write a number within 64 bits, or quote a text.",
            "vni: .inf",
        ),
        "YAML1012": Code(
            "Merge key",
            "`<<` merges mappings in YAML 1.1 only.",
            "Write the fields out.",
            "spec: {<<: *base}",
        ),
        "SCHEMA1001": Code(
            "Not a manifest",
            "A document is a mapping with `apiVersion`, `kind`, `metadata` and `spec`; this one is "
            "not, or does not say its kind.",
            "Add what is missing, or keep other files outside of the manifests' folder.",
        ),
        "SCHEMA1002": Code(
            "Unknown kind",
            "No kind of this name, or not in this version.",
            "Use one of the kinds that `reconciler explain` lists, with its `apiVersion`.",
            "kind: Netwrok",
        ),
        "SCHEMA1003": Code(
            "Unknown field",
            "The kind has no such field. Nothing is ignored silently, so that a misspelt field "
            "cannot go unnoticed.",
            "Correct or remove it; `reconciler explain KIND` lists the fields.",
            "spec:\n  adresses: [10.1.0.11]",
        ),
        "SCHEMA1004": Code(
            "Missing field",
            "A field that the kind requires is not there.",
            "Add it; `reconciler explain KIND` shows an example.",
        ),
        "SCHEMA1005": Code(
            "Wrong type",
            "The value is a text where a number belongs, a list where a mapping belongs, or such.",
            "Write the value in the form that the message names.",
            "vni: '4097'",
        ),
        "SCHEMA1006": Code(
            "Value not allowed",
            "The value is none of those that the field takes.",
            "Use one of those that the message lists.",
            "zones: everywhere",
        ),
        "SCHEMA1007": Code(
            "Out of range",
            "The number is too small or too large.",
            "Choose one within the range.",
            "vni: 16777216",
        ),
        "SCHEMA1008": Code(
            "Malformed value",
            "The text is not what the field holds: an address, a CIDR, a MAC, a name, a label.",
            "Write it in the form that the message shows.",
            "cidrs: [10.1.0.5/24]",
        ),
        "SCHEMA1009": Code(
            "Too few or too many",
            "The list or mapping has fewer or more members than the field takes.",
            "Add or remove members.",
            "cidrs: []",
        ),
        "SCHEMA1010": Code(
            "Given twice",
            "The same value stands in the list twice.",
            "Remove one of them.",
            "addresses: [10.1.0.11, 10.1.0.11]",
        ),
        "SCHEMA1011": Code(
            "Not enforced yet",
            "The field is checked and kept, but this release does nothing with it.",
            "None needed; do not rely on the field.",
            "bandwidth: {egress: 100M}",
        ),
        "SCHEMA1099": Code(
            "Further problems",
            "The file has more problems than are shown at once.",
            "Correct those that are shown first.",
        ),
        "NET1012": Code(
            "Address outside its network",
            "The addresses of an endpoint lie inside the CIDRs of its network.",
            "Choose an address inside, or widen the network.",
            "addresses: [10.1.9.4]  # in a network of 10.1.0.0/24",
        ),
    }
)
