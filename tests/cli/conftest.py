"""A repository for the verbs that read one."""

from pathlib import Path

import pytest

from tests.cli.command import Repo


@pytest.fixture
def sample(tmp_path: Path) -> Repo:
    """sample-repo as a repository of its own."""
    return Repo.sample(tmp_path / "network")
