"""Rounds over a real repository and the datapath in memory, and a clock that a test turns."""

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from reconciler.agent.report import RoundReport
from reconciler.agent.round import Ask, Rounds
from reconciler.agent.store import Store
from reconciler.agent.wanted import RepositorySource
from reconciler.compile.facts import Device, NextHop
from reconciler.compile.state import HostName
from reconciler.datapath.memory import MemoryDatapath, Surroundings
from reconciler.plan.guards import Limits
from reconciler.source.git import GitSource
from tests.agent.network import Network

HOST = HostName("edge-1")


class FakeClock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.spent = 0.0  # by the processors

    def monotonic(self) -> float:
        return self.now

    def cpu(self) -> float:
        return self.spent

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now


def surroundings() -> Surroundings:
    """An underlay interface, the way to the other host, and no namespace of any endpoint."""
    return Surroundings(
        devices={"eth0": Device(2, b"\2\0\0\0\0\2", 1500, True)},
        next_hops={IPv4Address("192.0.2.2"): NextHop(b"\2\0\0\0\0\3", "eth0")},
    )


class Machine:
    """One host: everything that outlives an agent, and the agent's rounds, which can be restarted.

    `named` is the repository's name for it; `grace` the period of what other hosts may use.
    """

    def __init__(
        self, folder: Path, endpoints: int = 2, named: str = HOST, grace: float = 0.0
    ) -> None:
        self.network = Network(folder, named, endpoints)
        self.datapath = MemoryDatapath(HOST, surroundings(), create_netns=True)
        self.clock = FakeClock()
        self.store = Store(folder / "state")
        self.grace = grace
        self._stopping: Callable[[], bool] = lambda: False
        self.restart()

    def restart(self) -> str:
        """A new agent on the same host; what it has to say of what the last one left."""
        git = GitSource(str(self.network.bare), branch="main")
        self.rounds = Rounds(
            RepositorySource(git, HOST),
            self.datapath,
            self.store,
            Limits(),
            self.clock,
            self._stop_asked,
            self.grace,
        )
        return self.rounds.load()

    def stop_when(self, asked: Callable[[], bool]) -> None:
        """What a signal does."""
        self._stopping = asked

    def _stop_asked(self) -> bool:
        return self._stopping()

    def round(self, force: str = "") -> RoundReport:
        """One round."""
        return self.rounds.run(("drift",), Ask(force, shown=bool(force)))

    @property
    def endpoints(self) -> set[str]:
        """The endpoints that have interfaces now."""
        return {each.endpoint for each in self.datapath.read().interfaces}


def damage(machine: Machine) -> int:
    """Take all rows out of a table, as a stranger would; how many."""
    table = machine.datapath.read().tables["endpoints"]
    machine.datapath.delete(table)
    return len(table)


def raising(error: Exception) -> Callable[..., None]:
    """A function that raises."""

    def fail(*_: object) -> None:
        raise error

    return fail
