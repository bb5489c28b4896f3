"""SourceError: the repository cannot be read; what is deployed stays as it is."""

from __future__ import annotations


class SourceError(Exception):
    """`again`: whether the same may work later without anybody's help."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


def not_ours(repository: object) -> SourceError:
    """libgit2's ownership check failed (git calls it safe.directory)."""
    return SourceError(
        f"{repository} belongs to another user, who could change what it means; "
        "name it as trusted, or as git's safe.directory",
        again=False,
    )
