"""What the agent's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.fake import Machine
from tests.agent.process import Host, somewhere


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A host with two endpoints wanted, on which nothing was applied yet."""
    return Machine(tmp_path)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """One host; the test runs in its namespace."""
    with somewhere(tmp_path) as made:
        yield made
