"""The detector against simulated hosts: how soon, how surely, and what is forgotten."""

from collections.abc import Callable
from ipaddress import IPv4Address

import numpy as np
import pytest
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS, Liveness
from reconciler.agent.detector import LEARNED, Detector, Pace, State, Step
from reconciler.compile.neighbours import Neighbours

ROUND_TRIP = 0.002  # seconds
UNIT = 2**Liveness.SHIFT / 1e9


def neighbours(count: int, first: int = 1, *, named: bool = True) -> Neighbours:
    """Hosts of the slots from `first` on; addresses go with slots."""
    slots = np.arange(first, first + count, dtype=np.uint16)
    names = tuple(f"host-{each}" for each in slots.tolist())
    addresses = slots.astype(np.uint32) + np.uint32(0x0A000000)
    return Neighbours(IPv4Address("10.0.0.0"), slots, addresses, names, np.full(count, named))


class Simulation:
    """Hosts that answer if `alive`, unless a probe or its answer is lost; time is simulated."""

    def __init__(self, count: int, loss: float = 0.0, seed: int = 1) -> None:
        self.chance, self.loss, self.now = np.random.default_rng(seed), loss, 1000.0
        self.health = np.zeros(1024, MAPS["health"].value.dtype)
        self.alive = np.ones(count, np.bool_)
        self.delay: Callable[[], float] = lambda: 0.0  # of each step
        self.sent = self.steps = 0
        self.restart(count)

    def restart(self, count: int) -> None:
        """Another agent takes over."""
        self.detector = Detector(self.health)
        self.detector.follow(neighbours(count), self.unit)

    @property
    def unit(self) -> int:
        return int(self.now / UNIT)

    def run(self, seconds: float) -> list[tuple[float, str, list[int]]]:
        """What was found, and when."""
        found, end = [], self.now + seconds
        while self.now < end:
            step = self.detector.step(self.now, self.unit)
            self._answer(step)
            for what, rows in (("dead", step.dead), ("alive", step.alive)):
                if len(rows):
                    found.append((self.now, what, rows.tolist()))
            self.now += max(self.detector.wait(self.now), 0.001) + self.delay()
        return found

    def _answer(self, step: Step) -> None:
        self.sent += len(step.probe)
        self.steps += 1
        arrives = self.chance.random(len(step.probe)) >= self.loss
        answering: NDArray[np.intp] = step.probe[arrives & self.alive[step.probe]]
        self.health["heard"][self.detector.slots[answering]] = int((self.now + ROUND_TRIP) / UNIT)

    def state(self, row: int) -> State:
        return State(int(self.detector.state[row]))


def test_a_host_that_dies_is_found_within_a_second_wherever_in_the_cycle_it_dies() -> None:
    worst = 0.0
    for phase in np.arange(0, 0.4, 0.01):
        simulation = Simulation(3)
        simulation.run(2 + float(phase))
        died, simulation.alive[1] = simulation.now, False
        [(at, what, rows)] = simulation.run(3)
        assert (what, rows) == ("dead", [1])
        worst = max(worst, at - died)
    print(f"found within {worst:.2f} s")
    assert worst < 0.8


@pytest.mark.parametrize("loss", [0.2, 0.36], ids=["of probes", "of probes and of answers"])
def test_a_fifth_of_the_probes_lost_makes_nobody_dead(loss: float) -> None:
    """200 hosts for five minutes; on average it would take 160 years (40 hours) of such loss."""
    simulation = Simulation(200, loss)
    assert simulation.run(300) == []
    assert simulation.state(0) is State.ALIVE


def test_a_host_that_dies_while_probes_are_lost_is_found_as_soon() -> None:
    simulation = Simulation(200, 0.2)
    simulation.run(5)
    died, simulation.alive[7] = simulation.now, False
    [(at, what, rows)] = simulation.run(10)
    assert (what, rows) == ("dead", [7])
    assert at - died < 0.8


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_host_that_returns_is_alive_again(loss: float) -> None:
    simulation = Simulation(3, loss)
    simulation.run(1)
    simulation.alive[2] = False
    simulation.run(2)
    assert simulation.health["dead"][3] != 0
    returned, simulation.alive[2] = simulation.now, True
    [(at, what, rows)] = simulation.run(10)
    assert (what, rows) == ("alive", [2])
    assert at - returned < (1 if not loss else 5)
    assert simulation.health["dead"][3] == 0


def test_one_answer_of_many_does_not_bring_a_dead_host_back() -> None:
    simulation = Simulation(1)
    simulation.run(1)
    simulation.alive[0], simulation.loss = False, 0.0
    simulation.run(2)
    simulation.alive[0], simulation.loss = True, 0.8
    assert len(simulation.run(10)) <= 2


def test_a_host_that_was_never_heard_has_its_chance_first() -> None:
    simulation = Simulation(2)
    simulation.alive[1] = False
    assert simulation.run(Pace().chance - 0.1) == []
    assert simulation.state(1) is State.NEW
    [(_, what, rows)] = simulation.run(1)
    assert (what, rows) == ("dead", [1])


def test_an_agent_that_stood_still_blames_nobody() -> None:
    """It was stopped for a minute: no probe was sent, so none is unanswered."""
    simulation = Simulation(50)
    simulation.run(2.1)
    simulation.now += 60
    assert simulation.run(5) == []


def test_steps_that_come_late_blame_nobody_at_much_loss() -> None:
    """A machine too busy to probe often has fewer unanswered probes, not less patience."""
    simulation = Simulation(200, 0.2)
    simulation.delay = lambda: 0.25
    assert simulation.run(600) == []


def test_verdicts_are_renewed_long_before_they_expire() -> None:
    simulation = Simulation(1)
    simulation.alive[0] = False
    simulation.run(60)
    assert simulation.unit - int(simulation.health["dead"][1]) < Liveness.LASTS / 10


def test_a_new_agent_keeps_the_verdicts_of_the_last_one() -> None:
    simulation = Simulation(2)
    simulation.run(1)
    simulation.alive[1] = False
    simulation.run(2)
    simulation.now += 3
    simulation.restart(2)
    assert simulation.run(3) == []
    assert (simulation.state(0), simulation.state(1)) == (State.ALIVE, State.DEAD)


def test_old_verdicts_and_those_about_others_are_not_taken_over() -> None:
    simulation = Simulation(2)
    simulation.health["dead"][[2, 9]] = simulation.unit - Liveness.LASTS - 1, simulation.unit
    simulation.restart(2)
    assert simulation.state(1) is State.NEW
    assert simulation.health["dead"][9] == 0


def test_a_slot_that_another_host_gets_starts_anew() -> None:
    simulation = Simulation(2)
    simulation.alive[1] = False
    simulation.run(5)
    assert simulation.health["dead"][2] != 0
    changed = neighbours(2)
    changed.addresses[1] += 77
    assert simulation.detector.follow(changed, simulation.unit)
    assert simulation.health["dead"][2] == 0
    assert simulation.state(1) is State.NEW
    assert simulation.state(0) is State.ALIVE


def test_a_host_that_no_table_names_any_more_is_no_longer_dead() -> None:
    simulation = Simulation(3)
    simulation.alive[2] = False
    simulation.run(5)
    assert simulation.health["dead"][3] != 0
    simulation.detector.follow(neighbours(2), simulation.unit)
    assert simulation.health["dead"][3] == 0


def test_who_stays_keeps_its_state_when_others_come_and_go() -> None:
    simulation = Simulation(3)
    simulation.alive[2] = False
    simulation.run(5)
    assert simulation.detector.follow(neighbours(9, first=3), simulation.unit)
    assert simulation.detector.names[0] == "host-3"
    assert simulation.state(0) is State.DEAD
    assert simulation.health["dead"][3] != 0


def test_a_host_is_probed_while_a_path_to_it_is_in_use() -> None:
    simulation = Simulation(0)
    others = neighbours(5, named=False)
    assert not simulation.detector.follow(others, simulation.unit)
    simulation.health["learned"][4] = simulation.unit
    assert simulation.detector.follow(others, simulation.unit)
    assert simulation.detector.names == ("host-4",)
    assert not simulation.detector.follow(others, simulation.unit + LEARNED)
    assert simulation.detector.follow(others, simulation.unit + LEARNED + 1)
    assert simulation.detector.names == ()


def test_hosts_that_answer_are_probed_three_times_a_second() -> None:
    simulation = Simulation(200)
    simulation.run(10)
    assert simulation.sent == pytest.approx(200 * 10 / 0.33, rel=0.05)
    assert simulation.steps <= 75
