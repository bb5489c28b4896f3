"""A host's own network namespace and folder of pins, for one test; nothing outlives it."""

from collections.abc import Iterator

import pytest

from tests.datapath.place import Place, entered


@pytest.fixture
def place() -> Iterator[Place]:
    """A fresh host, whose namespace the test runs in."""
    made = Place()
    try:
        with entered(made.netns("host")):
            yield made
    finally:
        made.clear()
