"""What the agent's tests share."""

from pathlib import Path

import pytest

from tests.agent.fake import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A host with two endpoints wanted, on which nothing was applied yet."""
    return Machine(tmp_path)
