"""A host's own network namespace and folder of pins, for one test; nothing outlives it."""

from collections.abc import Iterator

import pytest

from tests.datapath.place import Place, entered
from tests.datapath.worlds import KernelWorld, MemoryWorld, World


@pytest.fixture
def place() -> Iterator[Place]:
    """A fresh host, whose namespace the test runs in."""
    made = Place()
    try:
        with entered(made.netns("host")):
            yield made
    finally:
        made.clear()


@pytest.fixture(params=[KernelWorld, MemoryWorld], ids=["kernel", "memory"])
def world(request: pytest.FixtureRequest, place: Place) -> World:
    """A host and its surroundings, once of the kernel and once of the fake."""
    made: World = request.param(place)
    return made
