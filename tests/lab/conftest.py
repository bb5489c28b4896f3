import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.lab import netns

NamespaceMaker = Callable[[str], Path]


@pytest.fixture
def namespace() -> Iterator[NamespaceMaker]:
    """Names of namespaces that nobody else uses; whatever was made under them goes afterwards."""
    suffix = secrets.token_hex(4)
    made: list[Path] = []

    def name(text: str) -> Path:
        made.append(Path("/run/netns", f"t-{suffix}:{text}"))
        return made[-1]

    yield name
    for path in made:
        netns.remove(path)
