"""From --repo, --branch, --folder and --rev to a commit that was read, for every verb that does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import click

from reconciler.cli.common import note, progress
from reconciler.cli.exits import Failure
from reconciler.manifest.load import Kept
from reconciler.manifest.problem import Problem, Severity
from reconciler.model.commit import Commit, read_commit
from reconciler.model.topology import Topology
from reconciler.plan.lines import short
from reconciler.source.errors import SourceError
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas


def open_repository(repo: str, branch: str = "", folder: str = "") -> Repository:
    """The repository, fetched if it is far away; '' is the one around the current folder."""
    url, folder = _place(repo, folder)
    try:
        repository = Repository.open(GitSource(url, branch, folder, cache=cache_folder()))
        if repository.is_remote:
            with progress(f"fetching {repo}"):
                repository.fetch()
    except SourceError as error:
        raise Failure(str(error)) from None
    return repository


def read_revision(repository: Repository, revision: str, kept: Kept | None = None) -> Commit:
    """The commit that a revision names, valid or not; '' is the head of the branch."""
    try:
        commit = repository.resolve(revision)
        with progress(f"reading commit {short(commit)}"):
            return read_commit(repository.snapshot(commit), schemas(), kept)
    except SourceError as error:
        raise Failure(str(error)) from None


def read_topology(
    repository: Repository, revision: str, kept: Kept | None = None
) -> tuple[Commit, Topology]:
    """The same for a commit that must be valid: its problems are printed, and end the verb."""
    commit = read_revision(repository, revision, kept)
    show_problems(commit.problems)
    if commit.topology is None:
        raise Failure(f"commit {short(commit.id)} has {count_problems(commit.problems)}")
    return commit, commit.topology


def split_range(commits: str) -> tuple[str, str, bool]:
    """A..B, or A...B, where True says that the older one is where B branched off from A."""
    dots = "..." if "..." in commits else ".."
    left, found, right = commits.partition(dots)
    if not found or ".." in right:
        raise click.UsageError(f"{commits!r} names no two commits; write A..B, as in HEAD~1..HEAD")
    return left, right, dots == "..."


def resolve_range(repository: Repository, left: str, right: str, fork: bool) -> tuple[str, str]:
    """The ids of both; an empty side is the head of the branch."""
    try:
        older, newer = repository.resolve(left), repository.resolve(right)
        return repository.merge_base(older, newer) if fork else older, newer
    except SourceError as error:
        raise Failure(str(error)) from None


def show_problems(problems: Iterable[Problem]) -> None:
    """One line each, on standard error."""
    for each in problems:
        colour = "red" if each.severity is Severity.ERROR else "yellow"
        before, code, after = str(each).partition(f"{each.code} {each.severity}")
        note(before + click.style(code, fg=colour) + after)


def count_problems(problems: Iterable[Problem]) -> str:
    """`2 errors, 1 warning`, or `no problems`."""
    seen = [each.severity for each in problems]
    counts = [(seen.count(each), str(each)) for each in (Severity.ERROR, Severity.WARNING)]
    parts = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count]
    return ", ".join(parts) or "no problems"


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean a or b?`, or all there are if they are few, or nothing."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(names)}" if 0 < len(names) <= 10 else ""


def cache_folder() -> Path:
    """Where copies of remotes are kept for this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "reconciler"


def _place(repo: str, folder: str) -> tuple[str, str]:
    """A path inside a work tree means that folder of it, unless another one is named."""
    path = Path(repo)
    if not repo or folder or not path.is_dir():
        return repo or ".", folder.strip("/")
    here = path.resolve()
    root = next((each for each in (here, *here.parents) if (each / ".git").exists()), here)
    bare = (here / "HEAD").is_file() and (here / "objects").is_dir()
    return repo, "" if bare or root == here else str(here.relative_to(root))
