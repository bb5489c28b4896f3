"""Bodies of documents -> findings: jsonschema decides what is valid, wording.py says it.

Validators are compiled once for each kind. accept.py stands before them, and only accepts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from reconciler.manifest.accept import Accepts, compile_acceptor
from reconciler.manifest.formats import FORMATS
from reconciler.manifest.problem import MAX_FINDINGS, Finding
from reconciler.manifest.scalars import ScalarRules
from reconciler.manifest.shapes import Called, Shapes
from reconciler.manifest.wording import findings_of

DEFAULT_NAMESPACE = "default"
Schemas = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind, ready to check documents."""

    name: str
    api_version: str
    has_namespace: bool
    schema: Mapping[str, Any]
    accepts: Accepts
    validator: Any

    def check(self, document: int, body: Mapping[str, Any]) -> list[Finding]:
        """Everything that is wrong with `body`."""
        return [] if self.accepts(body) else check(self.validator, document, body)


@dataclass(frozen=True, slots=True)
class Validators:
    """What loading needs, made once of the schemas and used for every file."""

    kinds: Mapping[str, Kind]
    scalars: ScalarRules
    shapes: Shapes


def compile_schemas(schemas: Schemas) -> Validators:
    """Validators of `schemas`, by kind, as source.package.schemas() returns them."""
    kinds = {}
    for kind, schema in schemas.items():
        properties = schema["properties"]
        kinds[kind] = Kind(
            name=kind,
            api_version=properties["apiVersion"]["const"],
            has_namespace="namespace" in properties["metadata"]["properties"],
            schema=schema,
            accepts=compile_acceptor(schema, FORMATS),
            validator=make_validator(schema),
        )
    rules = ScalarRules()
    return Validators(kinds, rules, Shapes(rules, schemas, FORMATS, _caller(kinds)))


def _caller(kinds: Mapping[str, Kind]) -> Callable[[Any], Called | None]:
    """What the body of a shape is called, as load.load_readings says of a body."""

    def called(body: Any) -> Called | None:
        name = body.get("kind") if type(body) is dict else None
        kind = kinds.get(name) if type(name) is str else None
        metadata = body.get("metadata") if kind else None
        if kind is None or type(metadata) is not dict or "name" not in metadata:
            return None
        namespace = metadata.get("namespace", DEFAULT_NAMESPACE) if kind.has_namespace else ""
        return kind.name, namespace, metadata["name"]

    return called


def make_validator(
    schema: Mapping[str, Any], formats: Mapping[str, Callable[[str], None]] = FORMATS
) -> Any:
    """Of any schema, of a kind or not; a format is a function that raises ValueError."""
    checker = FormatChecker(formats=())
    for name, test in formats.items():
        checker.checks(name, raises=ValueError)(_for_texts(test))
    validator = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {"uniqueItems": _unique_items, "reserved": _reserved},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
    )
    return validator(schema, format_checker=checker)


def check(validator: Any, document: int, body: Any) -> list[Finding]:
    """Everything that is wrong with `body`, in our words, as far as anybody would read."""
    errors: Iterator[ValidationError] = validator.iter_errors(body)
    findings = (finding for error in errors for finding in findings_of(error, document))
    return list(islice(findings, MAX_FINDINGS + 1))


def _for_texts(check: Callable[[str], None]) -> Callable[[object], bool]:
    """jsonschema's form of a format: it says nothing of values that are no texts."""

    def checks(value: object) -> bool:
        if isinstance(value, str):
            check(value)
        return True

    return checks


def _is_integer(_: Any, value: object) -> bool:
    """4097.0 is an integer to jsonschema, and a float to whoever uses it."""
    return isinstance(value, int) and not isinstance(value, bool)


def _reserved(validator: Any, words: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Our own keyword: the field does nothing yet, which is a warning."""
    yield ValidationError(words)


def _unique_items(
    validator: Any, unique: bool, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    """In linear time, and naming the item: jsonschema's own compares all pairs of mixed lists."""
    if not unique or not isinstance(instance, list):
        return
    seen = set()
    for index, item in enumerate(instance):
        text = json.dumps(item, sort_keys=True)
        if text in seen:
            yield ValidationError("repeated", path=(index,), instance=item)
        seen.add(text)
