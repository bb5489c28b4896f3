"""One pair of loaded programs for all tests of this folder; empty maps for each."""

from collections.abc import Iterator

import pytest

from tests.bpf.harness import SELF, Bench, World


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """Both programs, loaded."""
    loaded = Bench()
    yield loaded
    loaded.close()


@pytest.fixture
def world(bench: Bench) -> Iterator[World]:
    """A host that knows itself, three others, and its uplink; everything else is the test's."""
    made = World(bench)
    made.uplink().host(SELF)
    for other in (2, 3, 4):
        made.host(f"172.16.0.{other}")
    yield made
    made.clear()
