"""What a commit means for a host, followed from commit to commit and checked now and then."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.agent.clock import SystemClock
from reconciler.agent.report import Phases
from reconciler.agent.wanted import Invalid, RepositorySource, Wanted
from reconciler.compile.host import compile_host
from reconciler.compile.state import HostName, HostState
from reconciler.model.commit import read_commit
from reconciler.source.git import GitSource, Repository
from reconciler.source.package import schemas
from tests.agent.network import Network

HOST = HostName("edge-1")


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path, HOST)


def source(network: Network, check_after: int = 100) -> RepositorySource:
    return RepositorySource(GitSource(str(network.bare)), HOST, check_after=check_after)


def read(source: RepositorySource) -> tuple[Wanted | Invalid, set[str]]:
    """What the newest commit means, and the phases that it took."""
    phases = Phases(SystemClock())
    return source.read(source.newest(), phases), set(phases.milliseconds)


def whole(network: Network) -> HostState:
    """The newest commit, read and compiled whole."""
    repository = Repository.open(GitSource(str(network.bare)))
    commit = read_commit(repository.snapshot(repository.resolve()), schemas())
    assert commit.topology is not None
    return compile_host(commit.topology, HOST)


def test_commits_are_followed_also_over_a_broken_one(network: Network) -> None:
    follower = source(network)
    read(follower)
    for count in (3, 5, 4):
        network.endpoints(count)
        network.push()
        found, _ = read(follower)
        assert isinstance(found, Wanted)
        assert found.state == whole(network)
        assert found.names is not None
        assert len(found.names["Endpoint"]) == count
        network.write("broken.yaml", "kind: [")
        network.push()
        assert isinstance(read(follower)[0], Invalid)
        (network.clone / "broken.yaml").unlink()


def test_whole_commit_is_compiled_for_comparison_in_a_quiet_round(network: Network) -> None:
    follower = source(network, check_after=2)
    read(follower)
    for count in (3, 4):
        assert "check" not in read(follower)[1]
        network.endpoints(count)
        network.push()
        assert "check" not in read(follower)[1]
    assert "check" in read(follower)[1]
    assert "check" not in read(follower)[1]
    assert follower.differences == 0


def test_whole_commit_wins_over_a_wrong_update(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    follower = source(network, check_after=1)
    read(follower)
    network.endpoints(3)
    network.push()
    read(follower)
    assert follower._followed is not None
    follower._followed = replace(follower._followed, state=HostState.empty(HOST))
    with caplog.at_level(logging.ERROR):
        found, _ = read(follower)
    assert isinstance(found, Wanted)
    assert found.state == whole(network)
    assert follower.differences == 1
    assert "please report it" in caplog.text
