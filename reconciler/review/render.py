"""Review -> text for people, markdown for comments, JSON for programs.

Stable and sorted; counts first, deletions before other changes; the last line counts the writes on
all hosts together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reconciler.plan.comment import bounded, counts_table, folded
from reconciler.plan.diff import Change, Counts
from reconciler.plan.lines import SIGNS, amounts, cell, kind_lines, last_line, short
from reconciler.plan.render import json_counts
from reconciler.review.manifests import Field, ManifestChange
from reconciler.review.review import HostChange, Refused, Review

FORMAT, VERSION = "reconciler review", 1
SHOWN = 100  # manifests, and hosts, that a text shows
UNKNOWN = "The older commit has problems: what its hosts hold is not known, and not compared."
HOST_NOTES = {Change.CREATE: " (new)", Change.UPDATE: "", Change.DELETE: " (gone)"}


def text(review: Review, shown: int | None = SHOWN) -> str:
    """What `diff` prints; `shown` manifests and hosts, None for all."""
    blocks = [[_title(review)]]
    if review.empty:
        blocks.append(["No changes. The manifests are equal."])
    if not review.compared:
        blocks.append([UNKNOWN])
    if review.cautions:
        blocks.append(["Caution:", *_indented(review.cautions)])
    if review.manifests:
        blocks.append([_manifests_title(review), *_indented(manifest_lines(review, shown))])
    if review.compared and not review.empty:
        blocks.append([_hosts_title(review), *_indented(host_lines(review, shown))])
    if review.refused:
        refused = map(refused_line, review.refused)
        blocks.append(["Guards will refuse it, until it is forced:", *_indented(refused)])
    blocks.append([last_line(review.counts)])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def markdown(review: Review) -> str:
    """The same for a comment, in less than 65,536 characters: longer ones show less."""
    return bounded(lambda shown: _markdown(review, shown), last_line(review.counts))


def as_json(review: Review) -> dict[str, Any]:
    """The whole review."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "before": review.before,
        "after": review.after,
        "compared": review.compared,
        "summary": {
            "manifests": json_counts(review.manifest_counts),
            "writes": json_counts(review.counts),
            "namespaces": list(review.namespaces),
            "hosts": len(review.hosts),
            "total_hosts": review.total_hosts,
        },
        "manifests": [_json_manifest(each) for each in review.manifests],
        "hosts": [_json_host(each) for each in review.hosts],
        "refused": [
            {"code": each.code, "message": each.message, "hosts": list(each.hosts)}
            for each in review.refused
        ],
        "cautions": list(review.cautions),
    }


def manifest_lines(review: Review, shown: int | None) -> list[str]:
    """`~ Endpoint shop/web-1: spec.host edge-1 -> edge-2`."""
    return _cut([_manifest_line(each) for each in review.manifests], shown)


def host_lines(review: Review, shown: int | None) -> list[str]:
    """Each host with its rows, and the counts of what differs there."""
    chosen = review.hosts if shown is None else review.hosts[:shown]
    lines = []
    for each in chosen:
        note = HOST_NOTES[each.change]
        lines.append(f"{each.host}{note}: {each.rows_before} rows -> {each.rows_after}")
        lines += _indented(kind_lines(each.kinds))
    more = len(review.hosts) - len(chosen)
    return [*lines, f"{more} more hosts"] if more else lines


def refused_line(refused: Refused) -> str:
    """`GRD1003: deletes 12 of 20 manifests ... (on edge-1, edge-2)`."""
    names = ", ".join(refused.hosts[:3]) + (", ..." if len(refused.hosts) > 3 else "")
    return f"{refused.code}: {refused.message} (on {names})"


def _title(review: Review) -> str:
    return f"Commits {short(review.before)}..{short(review.after)}"


def _manifests_title(review: Review) -> str:
    spaces = f", in {_some(review.namespaces)}" if review.namespaces else ""
    return f"Manifests: {amounts(review.manifest_counts)}{spaces}"


def _hosts_title(review: Review) -> str:
    return f"Hosts: {len(review.hosts)} of {review.total_hosts} change"


def _manifest_line(each: ManifestChange) -> str:
    line = f"{SIGNS[each.change]} {each.identity}"
    if each.fields:
        line += ": " + ", ".join(map(_field, each.fields))
    return f"{line}  (replaced: {', '.join(each.replaced)})" if each.replaced else line


def _field(field: Field) -> str:
    if field.old is None:
        return f"{field.path} + {cell(field.new)}"
    if field.new is None:
        return f"{field.path} - {cell(field.old)}"
    return f"{field.path} {cell(field.old)} -> {cell(field.new)}"


def _markdown(review: Review, shown: int) -> str:
    parts = [f"### {_title(review)}"]
    if review.empty:
        parts += ["", "No changes. The manifests are equal."]
    if not review.compared:
        parts += ["", UNKNOWN]
    parts += [line for each in review.cautions for line in ("", f"> **Caution** {each}")]
    parts += [line for each in review.refused for line in ("", f"> **Guard** {refused_line(each)}")]
    if review.manifests:
        parts += ["", _manifests_title(review)]
        parts += folded("Manifests", manifest_lines(review, shown), "diff")
    if review.hosts:
        parts += ["", _hosts_title(review)]
        parts += counts_table("host", {each.host: each.counts for each in review.hosts[:shown]})
        parts += folded("Rows by host and table", host_lines(review, shown), "text")
    return "\n".join([*parts, "", last_line(review.counts), ""])


def _json_manifest(each: ManifestChange) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "change": str(each.change),
        "kind": each.kind,
        "namespace": each.namespace,
        "name": each.name,
        "path": each.path,
    }
    if each.fields:
        shown["replaced"] = bool(each.replaced)
        shown["fields"] = [{"path": f.path, "old": f.old, "new": f.new} for f in each.fields]
    return shown


def _json_host(each: HostChange) -> dict[str, Any]:
    kinds: dict[str, Counts] = dict(each.kinds)
    return {
        "host": each.host,
        "change": str(each.change),
        "rows_before": each.rows_before,
        "rows_after": each.rows_after,
        "writes": json_counts(each.counts),
        "kinds": {name: json_counts(counts) for name, counts in kinds.items()},
    }


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _cut(lines: list[str], shown: int | None) -> list[str]:
    if shown is None or len(lines) <= shown:
        return lines
    return [*lines[:shown], f"{len(lines) - shown} more manifests"]
