"""Probing: what it follows, writes and says; time is a test's, and hosts answer in memory."""

import logging
import threading
from dataclasses import asdict
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from reconciler.agent.metrics import exposition
from reconciler.agent.probing import Probing, with_hosts
from reconciler.agent.status import Status
from reconciler.compile.neighbours import Neighbours, neighbours
from reconciler.datapath.errors import TransientError
from reconciler.datapath.protocol import Prober
from tests.agent.fake import Machine
from tests.agent.network import OTHER

FAR = IPv4Address("192.0.2.2")


class Probed:
    """A machine that has converged, and its probing, turned by hand."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder)
        self.machine.network.write("far.yaml", self.machine.network.endpoint(9, host=OTHER))
        self.machine.network.push()
        self.report = self.machine.round()
        self.probing = Probing(self.machine.datapath.prober, self.machine.clock)
        self.probing.follow(self.neighbours)

    @property
    def neighbours(self) -> Neighbours:
        assert self.machine.rounds.bound is not None
        found = neighbours(self.machine.rounds.bound)
        assert found is not None
        return found

    def run(self, seconds: float) -> None:
        end = self.machine.clock.now + seconds
        while self.machine.clock.now < end:
            wait = max(self.probing.turn(), 0.001)
            self.machine.clock.now += wait
            self.machine.datapath.around.unit = int(self.machine.clock.now * 1e9) >> 26

    @property
    def condition(self) -> tuple[str, str, str]:
        found = self.probing.reach.condition
        return found.status, found.reason, found.message


@pytest.fixture
def probed(tmp_path: Path) -> Probed:
    return Probed(tmp_path)


def test_before_the_first_probe_nothing_is_known(tmp_path: Path) -> None:
    probing = Probing(lambda _: pytest.fail("opened"), Machine(tmp_path).clock)
    probing.turn()
    assert probing.reach.condition.status == "Unknown"


def test_a_host_that_answers_is_reachable(probed: Probed) -> None:
    probed.run(2)
    assert probed.condition == ("True", "Alive", "1 answer")
    assert probed.probing.probes >= 6


def test_a_host_that_falls_silent_is_told_and_written(
    probed: Probed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    probed.run(2)
    [slot] = probed.neighbours.slots.tolist()
    probed.machine.datapath.around.silent.add(FAR)
    probed.run(1)
    assert probed.condition == ("False", "Dead", f"1 of 1 do not answer: {OTHER}")
    assert probed.machine.datapath.health["dead"][slot] != 0
    probed.machine.datapath.around.silent.clear()
    probed.run(1)
    assert probed.condition[0] == "True"
    assert probed.machine.datapath.health["dead"][slot] == 0
    assert dict(probed.probing.reach.verdicts) == {"alive": 1, "dead": 1}
    assert [each.message for each in caplog.records] == [
        f"hosts that no longer answer and are avoided: {OTHER}",
        f"hosts that answer again: {OTHER}",
    ]


def test_the_next_hop_of_a_host_that_died_is_looked_up_anew_once(probed: Probed) -> None:
    probed.run(2)
    assert not probed.machine.datapath.around.doubted
    probed.machine.datapath.around.silent.add(FAR)
    probed.run(5)
    assert probed.machine.datapath.around.doubted == [FAR]


def test_a_condition_says_since_when(probed: Probed) -> None:
    probed.run(2)
    since = probed.probing.reach.condition.since
    probed.run(2)
    assert probed.probing.reach.condition.since == since
    probed.machine.datapath.around.silent.add(FAR)
    probed.run(2)
    assert probed.probing.reach.condition.since > since


def test_without_its_map_it_says_so_and_tries_again(probed: Probed) -> None:
    opened = probed.machine.datapath.prober

    def refuse(own: IPv4Address) -> Prober:
        raise TransientError("map health: is not there yet")

    probed.probing = Probing(refuse, probed.machine.clock)
    probed.probing.follow(probed.neighbours)
    probed.run(3)
    assert probed.condition == ("Unknown", "NotProbed", "map health: is not there yet")
    probed.probing._open = opened
    probed.run(3)
    assert probed.condition[0] == "True"


def test_a_map_that_was_replaced_is_opened_again(probed: Probed) -> None:
    probed.run(2)
    before = probed.machine.datapath.health
    probed.machine.datapath.health = before.copy()
    probed.machine.datapath.around.silent.add(FAR)
    probed.run(5)
    [slot] = probed.neighbours.slots.tolist()
    assert probed.machine.datapath.health["dead"][slot] != 0
    assert before["dead"][slot] == 0


def test_status_and_metrics_have_it(probed: Probed) -> None:
    probed.run(2)
    status = Status({"host": "edge-1", "release": "1"})
    status.add(probed.report)
    document = with_hosts(status.document(), probed.probing)
    assert document["conditions"][-1] == asdict(probed.probing.reach.condition)
    page = exposition(document, None).decode()
    assert 'reconciler_hosts{state="alive"} 1.0' in page
    assert 'reconciler_host_verdicts_total{verdict="dead"} 0.0' in page
    assert 'reconciler_condition{type="HostsReachable"} 1.0' in page
    assert OTHER not in page


def test_the_thread_survives_an_error_that_nobody_foresaw(
    probed: Probed, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    def fail(own: IPv4Address) -> Prober:
        failed.set()
        raise ValueError("unforeseen")

    probing = Probing(fail, probed.machine.clock)
    probing.follow(probed.neighbours)
    probing.start()
    assert failed.wait(30)
    probing.stop()
    assert "please report it" in caplog.text
