"""`reconciler init`: a starter repository that validates, compiles and runs in the lab."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.common import emit
from reconciler.cli.exits import Exit, Failure

BRANCH = "main"


@click.command(name="init")
@click.argument("folder", default=".", metavar="[FOLDER]", type=click.Path(path_type=Path))
def command(folder: Path) -> Exit:
    """Make a starter repository.

    FOLDER must be new or empty, or a repository without a commit; without one it is the current
    folder. The files are committed to the branch `main`.

    \b
    Example:
      reconciler init my-network
      cd my-network && reconciler validate
    """
    import pygit2

    from reconciler.cli.starter import FILES

    try:
        _check(folder)
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        _commit(folder, sorted(FILES))
    except OSError as error:
        raise Failure(
            f"{error.filename or folder}: {error.strerror}; name another folder"
        ) from None
    except pygit2.GitError as error:
        raise Failure(f"{folder}: {error}; name another folder") from None
    here = f" {folder}" if folder != Path() else ""
    emit(
        "\n".join(
            [
                f"{folder}: a repository of {len(FILES)} files, committed. Look at it with:",
                f"  reconciler validate{here}",
                f"  reconciler compile --host edge-1 -o text{f' --repo{here}' if here else ''}",
                f"  sudo reconciler lab up{here or ' .'}",
            ]
        )
    )
    return Exit.OK


def _check(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise Failure(f"{folder} is a file; name a new or empty folder")
    found = sorted(each.name for each in folder.iterdir()) if folder.exists() else []
    if found == [".git"]:
        import pygit2

        if pygit2.Repository(str(folder)).head_is_unborn:
            return
        raise Failure(f"{folder} has commits already; name a new or empty folder")
    others = [each for each in found if each != ".git"]
    if others:
        raise Failure(f"{folder} is not empty ({others[0]} is in it); name a new or empty folder")


def _commit(folder: Path, names: list[str]) -> None:
    import pygit2

    if (folder / ".git").exists():
        repository = pygit2.Repository(str(folder))
    else:
        repository = pygit2.init_repository(str(folder), initial_head=BRANCH)
    for name in names:
        repository.index.add(name)
    repository.index.write()
    try:
        author = repository.default_signature
    except KeyError:  # git does not know who the user is
        author = pygit2.Signature("reconciler init", "init@localhost")
    tree = repository.index.write_tree()
    head = str(repository.lookup_reference("HEAD").target)
    repository.create_commit(head, author, author, "Begin the network\n", tree, [])
