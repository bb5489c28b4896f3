"""`reconciler validate`: every problem of a commit, or of a folder before it is committed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.common import (
    emit,
    emit_json,
    output_option,
    progress,
    repository_options,
    revision_option,
)
from reconciler.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from reconciler.model.commit import Commit

FORMAT, VERSION = "reconciler problems", 1
SUFFIXES = "files that end in .yaml, .yml or .json"
SHOWN = 200  # problems in a comment


@click.command(name="validate")
@click.argument("path", required=False, metavar="[FOLDER|REPO]")
@repository_options
@revision_option
@output_option("text", "json", "markdown")
def command(path: str | None, repo: str, branch: str, folder: str, rev: str, output: str) -> Exit:
    """Check the manifests of a commit or a folder.

    A FOLDER is checked as it stands on disk, committed or not; without any argument it is the
    current one. With --rev, --branch or --repo, or of a bare repository or a URL, a commit is.
    All problems come at once, on standard error; the exit code is 1 if one is an error.

    \b
    Example:
      reconciler validate sample-repo
      reconciler validate --rev HEAD~1 -o json
    """
    from reconciler.cli.commits import count_problems, open_repository, read_revision, show_problems
    from reconciler.plan.lines import short

    if path and repo:
        raise click.UsageError("name the repository once, as argument or with --repo")
    place = path or repo
    if repo or rev or branch or _is_commit_only(place):
        commit = read_revision(open_repository(place, branch, folder), rev)
        subject = f"commit {short(commit.id)}"
    else:
        chosen = Path(place or ".") / folder
        commit = _read_folder(chosen)
        subject = f"folder {chosen}"
    if not commit.documents and not commit.problems:
        raise Failure(f"{subject} has no manifests; name the folder that has them ({SUFFIXES})")
    noun = "manifests" if commit.topology is not None else "valid manifests"
    result = f"{subject}: {len(commit.documents)} {noun}, {count_problems(commit.problems)}"
    if output == "json":
        emit_json(_as_json(commit, subject))
    elif output == "markdown":
        emit(_markdown(commit, result))
    else:
        show_problems(commit.problems)
        emit(result)
    return Exit.OK if commit.topology is not None else Exit.ERROR


def _is_commit_only(place: str) -> bool:
    """A URL, or a repository without a work tree."""
    if "://" in place or ("@" in place and ":" in place and not Path(place).exists()):
        return True
    return (Path(place) / "objects").is_dir() and (Path(place) / "HEAD").is_file()


def _read_folder(folder: Path) -> Commit:
    from reconciler.model.commit import read_commit
    from reconciler.source.errors import SourceError
    from reconciler.source.folder import read_folder
    from reconciler.source.package import schemas

    try:
        with progress(f"reading {folder}"):
            return read_commit(read_folder(folder), schemas())
    except (SourceError, OSError) as error:
        raise Failure(str(error)) from None


def _as_json(commit: Commit, subject: str) -> dict[str, Any]:
    kinds = [each.kind for each in commit.documents]
    severities = [str(each.severity) for each in commit.problems]
    return {
        "format": FORMAT,
        "version": VERSION,
        "subject": subject,
        "commit": commit.id or None,
        "valid": commit.topology is not None,
        "manifests": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "summary": {name: severities.count(name) for name in ("error", "warning")},
        "problems": [
            {
                "path": each.path,
                "line": each.line,
                "column": each.column,
                "code": each.code,
                "severity": str(each.severity),
                "message": each.message,
            }
            for each in commit.problems
        ],
    }


def _markdown(commit: Commit, result: str) -> str:
    from reconciler.plan.comment import bounded, folded

    problems: Sequence[str] = [str(each) for each in commit.problems]

    def render(shown: int) -> str:
        lines = list(problems[:shown])
        if len(problems) > len(lines):
            lines.append(f"{len(problems) - len(lines)} more")
        body = folded("Problems", lines, "text") if lines else []
        return "\n".join([f"### {result}", *body, ""])

    return bounded(render, result)
