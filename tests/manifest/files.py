"""Files as a commit would give them, loaded with the real schemas."""

from collections.abc import Mapping

from reconciler.manifest.load import Loaded, load
from reconciler.manifest.place import place
from reconciler.source.files import SourceFile
from reconciler.source.package import schemas

HEAD = "apiVersion: reconciler/v1alpha1\nkind: Host\nmetadata: {name: edge-1}\n"
HOST = HEAD + "spec:\n  underlay: 192.0.2.11\n"
SCHEMAS = schemas()


def files_of(texts: Mapping[str, str | bytes]) -> tuple[SourceFile, ...]:
    """Files, in the order given."""
    return tuple(
        SourceFile(path, f"{number:040x}", text if isinstance(text, bytes) else text.encode())
        for number, (path, text) in enumerate(texts.items())
    )


def loaded(text: str | bytes, path: str = "a.yaml") -> Loaded:
    """One file."""
    return load(files_of({path: text}), SCHEMAS)


def problems(text: str | bytes, path: str = "a.yaml") -> list[str]:
    """The lines that an author would read about one file."""
    files = files_of({path: text})
    return [str(problem) for problem in place(load(files, SCHEMAS).findings, files)]


def codes(text: str | bytes, path: str = "a.yaml") -> list[str]:
    """Place and code of each problem of one file: "5:3 SCHEMA1003"."""
    files = files_of({path: text})
    return [
        f"{each.line}:{each.column} {each.code}"
        for each in place(load(files, SCHEMAS).findings, files)
    ]
