"""The expected host states of sample-repo. Run as a program, it writes them anew.

    .venv/bin/python -m tests.compile.golden

Read the difference before committing it: it is what a release changes on every host.
"""

from pathlib import Path

from reconciler.abi.generated import ABI
from reconciler.compile.host import compile_all
from reconciler.compile.serial import dump
from reconciler.model.commit import Commit, read_commit
from reconciler.source.files import SUFFIXES, Snapshot, SourceFile
from reconciler.source.package import schemas

ROOT = Path(__file__).parent.parent.parent
SAMPLE, GOLDEN = ROOT / "sample-repo", ROOT / "tests" / "golden" / "sample-repo"


def sample(folder: Path = SAMPLE) -> Commit:
    """The commit whose files are those of a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    files = (SourceFile(str(path.relative_to(folder)), "", path.read_bytes()) for path in paths)
    return read_commit(Snapshot("0" * 40, tuple(files)), schemas())


def states(commit: Commit) -> dict[str, str]:
    """The text of every host's state. The ABI's digest is left out: it changes with every reason
    for a drop, and what it stands for is in the rows."""
    assert commit.topology is not None, [str(each) for each in commit.problems]
    return {
        f"{name}.json": dump(state).replace(f'"abi": "{ABI}"', '"abi": ""')
        for name, state in compile_all(commit.topology).items()
    }


def main() -> None:
    """Write them."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for path in GOLDEN.glob("*.json"):
        path.unlink()
    for name, text in states(sample()).items():
        (GOLDEN / name).write_text(text)


if __name__ == "__main__":
    main()
