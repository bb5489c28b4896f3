"""One pair of loaded programs for all tests of this folder; empty maps for each."""

from collections.abc import Iterator

import pytest

from tests.bpf.harness import SELF, Bench, World


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Programs of tc are spared what the mark `xdp` names a reason for."""
    spared = [item for item in items if item.get_closest_marker("xdp") and hook(item) == "tc"]
    if spared:
        config.hook.pytest_deselected(items=spared)
        items[:] = [item for item in items if item not in spared]


def hook(item: pytest.Item) -> str:
    """Where the programs of a test are attached; "" where it has none."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return str(params.get("bench", ""))


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
