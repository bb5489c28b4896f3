"""`reconciler explain`: what a problem's or guard's code means; which fields a kind has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from reconciler.cli.common import emit, emit_json, output_option
from reconciler.cli.exits import Exit, Failure


class Topic(click.ParamType[str]):
    """A code or a kind; the shell completes both."""

    name = "topic"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """All that begin so."""
        known = [*_kinds(), *_codes()]
        return [
            CompletionItem(each) for each in known if each.lower().startswith(incomplete.lower())
        ]


@click.command(name="explain")
@click.argument("topic", required=False, type=Topic(), metavar="[CODE|KIND[.FIELD]]")
@output_option("text", "json")
def command(topic: str | None, output: str) -> Exit:
    """Explain a problem's code or a kind of manifest.

    CODE is what stands in a message, such as NET1012; KIND a kind of manifest, or a field of it.
    Without either, all of them are listed.

    \b
    Example:
      reconciler explain NET1012
      reconciler explain Endpoint
      reconciler explain endpoint.spec.attach
    """
    codes, kinds = _codes(), _kinds()
    if topic is None:
        emit_json(_everything(codes, kinds)) if output == "json" else emit(_list(codes, kinds))
        return Exit.OK
    code = codes.get(topic.upper())
    if code is not None:
        emit_json(_code_json(topic.upper(), code)) if output == "json" else emit(
            _code_text(topic.upper(), code)
        )
        return Exit.OK
    return _explain_kind(topic, codes, kinds, output)


def _explain_kind(topic: str, codes: Mapping[str, Any], kinds: Any, output: str) -> Exit:
    from reconciler.cli.commits import suggest
    from reconciler.cli.schema_view import inner, kind_text

    kind, *path = topic.split(".")
    found = next((each for each in kinds if each.lower() == kind.lower()), None)
    if found is None:
        near = suggest(topic.upper(), codes)
        if not near and not topic[-1:].isdigit():
            near = suggest(topic.capitalize(), kinds)
        hint = near or "; run `reconciler explain` without argument for all of them"
        raise Failure(f"{topic} is neither a code nor a kind{hint}")
    here: Any = kinds[found]
    for number, name in enumerate(path):
        members = inner(here).get("properties", {})
        if name not in members:
            parent = ".".join((found, *path[:number]))
            raise Failure(f"{parent} has no field {name}{suggest(name, members)}")
        here = members[name]
    if output == "json":
        emit_json(here)
    else:
        emit(kind_text(found, kinds[found], tuple(path)))
    return Exit.OK


def _codes() -> dict[str, Any]:
    from reconciler.manifest.codes import CODES
    from reconciler.plan.codes import GUARDS

    return {**CODES, **GUARDS}


def _kinds() -> Mapping[str, Mapping[str, Any]]:
    from reconciler.source.package import schemas

    return schemas()


def _list(codes: Mapping[str, Any], kinds: Mapping[str, Mapping[str, Any]]) -> str:
    wide = max(map(len, [*codes, *kinds]))
    lines = [
        "Kinds:",
        *(f"  {name:{wide}}  {kinds[name]['description']}" for name in sorted(kinds)),
    ]
    lines += ["", "Codes:", *(f"  {name:{wide}}  {codes[name].title}" for name in codes)]
    return "\n".join(lines)


def _code_text(name: str, code: Any) -> str:
    from reconciler.cli.schema_view import wrapped

    blocks = [[f"{name}: {code.title}"], wrapped(code.explanation, 2)]
    if code.example:
        blocks.append(["Example:", *(f"  {line}" for line in code.example.split("\n"))])
    blocks.append(["What to do:", *wrapped(code.remedy, 2)])
    return "\n\n".join("\n".join(block) for block in blocks)


def _code_json(name: str, code: Any) -> dict[str, str]:
    return {
        "code": name,
        "title": code.title,
        "explanation": code.explanation,
        "remedy": code.remedy,
        "example": code.example,
    }


def _everything(codes: Mapping[str, Any], kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "kinds": {name: kinds[name]["description"] for name in sorted(kinds)},
        "codes": {name: codes[name].title for name in codes},
    }
