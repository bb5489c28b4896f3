"""ruamel.yaml's syntax errors in our words: what is wrong; what would be right."""

from __future__ import annotations

import re

from ruamel.yaml.error import MarkedYAMLError

# The first that matches. What is not here is said in ruamel.yaml's own words.
_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"found character '\\t' that cannot start", "a tab indents this line; use spaces"),
        (
            r"found character '(.)' that cannot start",
            "`{0}` cannot begin an unquoted text; quote the text",
        ),
        (
            r"could not find expected ':'",
            "a line is neither `key: value` nor part of a text; add a colon and a space, or quotes",
        ),
        (
            r"mapping values are not allowed here",
            "`: ` where no mapping can begin; correct the indentation, or quote the text",
        ),
        (
            r"expected <block end>, but found '(?:<block mapping start>|<scalar>|-|\?|<block .*)'",
            "the indentation does not fit that of the lines above; align it with its neighbours",
        ),
        (r"expected <block end>, but found '([\]},])'", "`{0}` closes nothing; remove it"),
        (
            r"expected ',' or '([\]}])'",
            "a bracket is not closed, or a comma is missing; add `{0}` or a comma",
        ),
        (
            r"found unexpected end of stream|found unexpected document (?:separator|indicator)",
            "a quote is not closed; close it",
        ),
        (
            r"found unknown escape character '(.)'",
            "`\\{0}` is no escape; write `\\\\`, or use single quotes",
        ),
        (
            r"did not find expected <document start>",
            "a second document begins; write `---` before it",
        ),
    )
)


def explain_syntax(error: MarkedYAMLError) -> str:
    """One line for the author of the text."""
    problem = str(error.problem or "this is not YAML")
    for pattern, words in _WORDS:
        match = pattern.search(problem)
        if match:
            return f"syntax error: {words.format(*match.groups())}"
    context = f", {error.context}" if error.context else ""
    return f"syntax error: {' '.join(f'{problem}{context}'.split())[:200]}; correct the text"
