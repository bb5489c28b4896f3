"""Address: where a repository is, told apart from what people write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reconciler.source.errors import SourceError

_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)(?P<host>[^/:]+):(?P<path>.+)")  # git@host:path
_DEFAULT_USER = "git"


@dataclass(frozen=True, slots=True)
class Address:
    """`url` is what libgit2 takes; `path` is set for what is on this machine."""

    url: str
    scheme: str  # "" for a plain path
    user: str = ""
    path: Path | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it is fetched into a copy; a plain path is read where it is."""
        return bool(self.scheme)

    def __str__(self) -> str:
        return self.url


def parse_address(text: str) -> Address:
    """Raises SourceError for what is neither a path nor a file, https or ssh address."""
    if not text or any(ord(each) < 32 for each in text):
        raise SourceError("no repository is named; give a path or an address", again=False)
    scp = _SCP.fullmatch(text)
    if scp and "://" not in text:
        text = f"ssh://{scp['user']}@{scp['host']}/{scp['path'].removeprefix('/')}"
    if "://" not in text:
        return Address(text, "", path=Path(text).absolute())
    parts = urlsplit(text)
    if parts.password is not None:
        # the address appears in messages and logs
        shown = text.replace(f":{parts.password}@", ":...@")
        raise SourceError(f"{shown} holds a password; name a token's file instead", again=False)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise SourceError(f"{text} names another machine; write file:///PATH", again=False)
        return Address(text, "file", path=Path(unquote(parts.path)))
    if parts.scheme in ("https", "ssh") and parts.hostname:
        user = parts.username or (_DEFAULT_USER if parts.scheme == "ssh" else "")
        return Address(text, parts.scheme, unquote(user))
    raise SourceError(
        f"{text} cannot be read; give a path, or an address that begins with file://, https:// or "
        "ssh:// (http:// and git:// cannot tell whom they talk to)",
        again=False,
    )
