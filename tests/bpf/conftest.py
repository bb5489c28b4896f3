"""One pair of loaded programs for all tests of this folder; empty maps for each."""

from collections.abc import Iterator

import pytest

from tests.bpf.harness import SELF, Bench, World


@pytest.fixture(scope="session", params=["xdp", "tc"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Both programs, loaded, as they are for XDP or for tc."""
    loaded = Bench(hook=request.param)
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
