"""Rows that other hosts may still use: kept for a while, healed, ended; also by killed agents."""

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest

from reconciler.abi.generated import EndpointFlag, VniMark
from reconciler.abi.table import Table
from reconciler.agent import client
from reconciler.agent.config import configure
from reconciler.agent.loop import Pace
from reconciler.agent.report import Cause, Result, RoundReport, Verdict
from reconciler.agent.wakes import Wake
from reconciler.datapath.errors import HostError
from reconciler.plan.diff import diff
from tests.agent.fake import Machine, raising
from tests.agent.network import OTHER, VPC, manifest
from tests.agent.process import Host
from tests.agent.test_loop import At, run
from tests.agent.test_process import compile_to

GRACE = 60.0
AFTER = 2 * GRACE
SETS = ("bouncers", "dividers")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A host that bounces a network of two endpoints of its own and three of another host."""
    made = Machine(tmp_path, grace=GRACE)
    far(made, 3, 4, 5)
    made.network.push()
    made.round()
    return made


def far(machine: Machine, *numbers: int) -> None:
    """The endpoints of the other host; not pushed yet."""
    network = machine.network
    network.write("far.yaml", *(network.endpoint(number, host=OTHER) for number in numbers))


def push(machine: Machine, *numbers: int) -> RoundReport:
    """A commit with these endpoints of the other host, taken up."""
    far(machine, *numbers)
    machine.network.push()
    return machine.round()


def addresses(machine: Machine) -> set[int]:
    """The last octets of the endpoints' rows that are live, but for gateways."""
    return {int(each[-1]) for each in live(machine, "endpoints").keys["address"]} - {1}


def live(machine: Machine, name: str) -> Table:
    return machine.datapath.read().tables[name]


def quiet(machine: Machine) -> RoundReport:
    """A round that must have nothing to do."""
    report = machine.round()
    assert (report.enforced.result, report.enforced.counts.total) == (Result.CONVERGED, 0)
    return report


def test_a_row_of_a_former_commit_goes_when_its_time_is_over(machine: Machine) -> None:
    report = push(machine, 3, 4)
    assert report.enforced.stay is not None
    assert (report.enforced.stay.rows, report.enforced.counts.delete) == (1, 0)
    assert addresses(machine) == {11, 12, 13, 14, 15}
    machine.clock.now += AFTER - 1
    quiet(machine)
    machine.clock.now += 1
    report = machine.round()
    assert (report.enforced.cause, report.enforced.drift) == (Cause.ENDED, 0)
    assert report.enforced.counts.delete == 1
    assert report.enforced.stay is None
    assert addresses(machine) == {11, 12, 13, 14}
    quiet(machine)


def test_a_commit_alone_is_looked_at_and_keeps_rows_too(machine: Machine) -> None:
    far(machine, 3)
    machine.network.push()
    report = machine.rounds.run(("ref",))
    assert "glance" in report.phases
    assert addresses(machine) == {11, 12, 13, 14, 15}
    quiet(machine)
    machine.clock.now += AFTER
    machine.round()
    assert addresses(machine) == {11, 12, 13}


def test_own_endpoints_go_at_once(machine: Machine) -> None:
    machine.network.endpoints(1)
    machine.network.push()
    assert machine.round().enforced.stay is None
    assert addresses(machine) == {11, 13, 14, 15}


def test_without_a_period_rows_go_at_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    push(machine, 3, 4)
    report = push(machine, 3)
    assert (report.enforced.stay, report.enforced.counts.delete) == (None, 1)


def test_a_kept_row_heals_like_others_and_a_strangers_row_goes_at_once(machine: Machine) -> None:
    push(machine, 3)
    before = live(machine, "endpoints")
    machine.datapath.delete(before)
    stranger = before.take(np.array([0]))
    keys = stranger.keys.copy()
    keys["vni"] = 9
    machine.datapath.write(Table(before.spec, keys, stranger.values, stranger.origins))
    report = machine.round()
    assert (report.enforced.cause, report.enforced.drift) == (Cause.DRIFT, len(before) + 1)
    assert live(machine, "endpoints") == before


def test_what_is_kept_and_until_when_outlives_the_agent(machine: Machine) -> None:
    push(machine, 3)
    machine.clock.now += 100
    assert machine.restart() == ""
    report = quiet(machine)
    assert report.enforced.stay is not None
    assert report.enforced.stay.rows == 2
    machine.clock.now += 20
    machine.restart()
    assert machine.round().enforced.counts.delete == 2
    assert addresses(machine) == {11, 12, 13}


def test_commits_within_one_period_end_one_by_one(machine: Machine) -> None:
    push(machine, 3, 4)
    machine.clock.now += 30
    push(machine, 3)
    machine.clock.now += 30
    push(machine)
    assert addresses(machine) == {11, 12, 13, 14, 15}
    for gone, wait in ((15, 60), (14, 30), (13, 30)):
        machine.clock.now += wait
        machine.round()
        assert gone not in addresses(machine)
        assert addresses(machine) == {each for each in (11, 12, 13, 14) if each < gone}


def test_a_revert_ends_in_exactly_what_was_before(machine: Machine) -> None:
    before = machine.datapath.read()
    push(machine, 3, 8)
    machine.clock.now += 10
    push(machine, 3, 4, 5)
    assert addresses(machine) == {11, 12, 13, 14, 15, 18}
    machine.clock.now += AFTER
    machine.round()
    assert not diff(machine.datapath.read(), before)


def test_the_end_comes_though_the_newest_commit_is_broken(machine: Machine) -> None:
    push(machine, 3)
    machine.network.write("far.yaml", "kind: Endpoint")
    machine.network.push()
    assert machine.round().newest.verdict is Verdict.INVALID
    assert addresses(machine) == {11, 12, 13, 14, 15}
    machine.clock.now += AFTER
    assert machine.round().newest.verdict is Verdict.INVALID
    assert addresses(machine) == {11, 12, 13}


def test_a_clock_that_is_put_back_keeps_nothing_for_ever(machine: Machine) -> None:
    push(machine, 3)
    machine.clock.now -= 1_000_000
    quiet(machine)
    machine.restart()
    machine.clock.now += AFTER
    machine.round()
    assert addresses(machine) == {11, 12, 13}


def test_a_host_that_was_rebooted_holds_what_is_kept_again(machine: Machine) -> None:
    push(machine, 3)
    machine.datapath.remove()
    machine.restart()
    assert machine.round().enforced.cause is Cause.RESTORED
    assert addresses(machine) == {11, 12, 13, 14, 15}


def place(machine: Machine, number: int) -> int:
    """The host that the row of an endpoint's address names."""
    rows = live(machine, "endpoints")
    mine = (rows.keys["vni"] & VniMark.FORMER == 0) & (rows.keys["address"][:, -1] == number + 10)
    (found,) = rows.values["host"][mine].tolist()
    return int(found)


def former_places(machine: Machine) -> set[int]:
    """Last octets of endpoints of which it is known where they were."""
    keys = live(machine, "endpoints").keys
    return {int(each[-1]) for each in keys["address"][keys["vni"] & VniMark.FORMER != 0]}


THERE, THIRD = (int(IPv4Address(each)) for each in ("192.0.2.2", "192.0.2.3"))


def three_hosts(tmp_path: Path) -> Machine:
    """The host, and another that has endpoints 3 and 4, and a third that has none yet."""
    machine = Machine(tmp_path, grace=GRACE)
    spec = {"underlay": "192.0.2.3", "interface": "eth0", "bounce": False, "divide": False}
    machine.network.write("third.yaml", manifest("Host", "far-2", spec))
    push(machine, 3, 4)
    return machine


def test_a_bouncer_knows_where_an_endpoint_was_until_its_time_is_over(tmp_path: Path) -> None:
    machine = three_hosts(tmp_path)
    assert place(machine, 3) == THERE
    network = machine.network
    network.write("far.yaml", network.endpoint(3, host="far-2"), network.endpoint(4, host=OTHER))
    network.push()
    report = machine.round()
    assert report.newest.verdict is Verdict.ACCEPTED
    assert (place(machine, 3), former_places(machine)) == (THIRD, {13})
    assert machine.restart() == ""
    quiet(machine)
    assert former_places(machine) == {13}
    machine.clock.now += AFTER
    report = machine.round()
    assert (report.enforced.cause, report.enforced.counts.delete) == (Cause.ENDED, 1)
    assert (place(machine, 3), former_places(machine)) == (THIRD, set())
    quiet(machine)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_host_that_gave_an_endpoint_up_leads_there_also_if_its_agent_did_not_run(
    tmp_path: Path, restarted: bool
) -> None:
    """What it did last is on disk."""
    machine = Machine(tmp_path, grace=GRACE)
    network = machine.network
    network.base(bounce=False)
    network.push()
    machine.round()
    network.endpoints(1)
    far(machine, 2)
    network.push()
    if restarted:
        assert machine.restart() == ""
    assert machine.round().enforced.result is Result.CONVERGED
    assert place(machine, 2) == THERE
    rows = live(machine, "endpoints")
    leads = rows.values["flags"][rows.keys["address"][:, -1] == 12]
    assert leads.tolist() == [EndpointFlag.LEAVING]
    machine.clock.now += AFTER
    machine.round()
    assert addresses(machine) == {11}


def test_a_host_leads_to_what_it_gave_up_with_a_commit_that_it_could_not_carry_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by the next commit, which says nothing of it."""
    machine = Machine(tmp_path, grace=GRACE)
    network = machine.network
    network.base(bounce=False)
    network.push()
    machine.round()
    with monkeypatch.context() as broken:
        broken.setattr(machine.datapath, "apply", raising(HostError("no memory")))
        network.endpoints(1)
        far(machine, 2)
        network.push()
        assert machine.round().enforced.result is Result.FAILED
        far(machine, 2, 3)
        network.push()
        assert machine.round().enforced.result is Result.FAILED
    assert machine.round().enforced.result is Result.CONVERGED
    rows = live(machine, "endpoints")
    leads = rows.values["flags"][rows.keys["address"][:, -1] == 12]
    assert leads.tolist() == [EndpointFlag.LEAVING]


# Guards


def many(tmp_path: Path) -> Machine:
    """A host that bounces for thirty endpoints of another."""
    machine = Machine(tmp_path, grace=GRACE)
    push(machine, *range(3, 33))
    return machine


def test_too_much_is_refused_when_the_commit_comes_and_not_when_it_ends(tmp_path: Path) -> None:
    machine = many(tmp_path)
    rows = len(live(machine, "endpoints"))
    held = push(machine, 3)
    assert held.newest.verdict is Verdict.HELD
    assert any("deletes 29 of" in each for each in held.newest.refusals)
    assert any(each.startswith("GRD1004") for each in held.newest.refusals)
    assert machine.round(force="0123456789abcdef").newest.stale
    done = machine.round(force=held.newest.digest)
    assert done.newest.verdict is Verdict.ACCEPTED
    assert len(live(machine, "endpoints")) == rows
    machine.clock.now += AFTER
    ended = machine.round()
    assert (ended.newest.verdict, ended.enforced.counts.delete) == (Verdict.ACCEPTED, 29)
    assert ended.enforced.cause is Cause.ENDED


def test_what_is_kept_is_no_part_of_the_whole(tmp_path: Path) -> None:
    """A tenth and a tenth of the rest may go, though more than that is going."""
    machine = many(tmp_path)
    for left in (27, 24, 21):
        assert push(machine, *range(3, 3 + left)).newest.verdict is Verdict.ACCEPTED
    assert push(machine, *range(3, 12)).newest.verdict is Verdict.HELD


def test_a_role_that_moves_to_another_host_is_no_deletion(tmp_path: Path) -> None:
    machine = many(tmp_path)
    machine.network.base(bounce=False, divide=False)
    network = manifest("Network", "own", {"vpc": VPC, "cidrs": ["10.1.9.0/24"]})
    text = (machine.network.clone / "base.yaml").read_text()
    machine.network.write("base.yaml", text, network)
    machine.network.endpoints(0)
    machine.network.write("own.yaml", machine.network.endpoint(1, "own"))
    machine.network.push()
    report = machine.round()
    assert report.newest.verdict is Verdict.ACCEPTED, report.newest.refusals
    assert report.enforced.stay is not None
    assert report.enforced.stay.rows > 30
    machine.clock.now += AFTER
    assert machine.round().newest.verdict is Verdict.ACCEPTED
    assert len(live(machine, "endpoints")) == 2


# Cut short


class Killed(BaseException):
    """As by SIGKILL: nobody catches it."""


@contextmanager
def dying(machine: Machine, after: int) -> Iterator[list[str]]:
    """The datapath's writes, and saving, until so many were done; what was done then."""
    done: list[str] = []
    datapath, store = machine.datapath, machine.store

    def limited(name: str, call: object) -> object:
        def wrapped(*given: object, **more: object) -> object:
            if len(done) >= after:
                raise Killed
            done.append(name)
            return call(*given, **more)  # type: ignore[operator]

        return wrapped

    saved = {(datapath, "write"), (datapath, "delete"), (store, "save")}
    before = {(each, name): getattr(each, name) for each, name in saved}
    try:
        for (each, name), call in before.items():
            setattr(each, name, limited(name, call))
        yield done
    finally:
        for (each, name), call in before.items():
            setattr(each, name, call)


@pytest.mark.parametrize("after", range(8))
def test_killed_at_any_write_of_a_commit_its_time_begins_again(
    tmp_path: Path, machine: Machine, after: int
) -> None:
    far(machine, 3, 6, 7)
    machine.network.push()
    killed = False
    with dying(machine, after) as done:
        try:
            machine.round()
        except Killed:
            killed = True
    assert killed or done[-1] == "save"
    machine.clock.now += 50
    machine.restart()
    assert machine.round().enforced.result is Result.CONVERGED
    assert addresses(machine) == {11, 12, 13, 14, 15, 16, 17}
    machine.clock.now += AFTER
    machine.round()
    assert addresses(machine) == {11, 12, 13, 16, 17}
    quiet(machine)


@pytest.mark.parametrize("after", range(5))
def test_killed_at_any_write_of_an_end_the_next_agent_completes_it(
    machine: Machine, after: int
) -> None:
    machine.network.base(bounce=False, divide=False)
    machine.network.push()
    machine.round()
    machine.clock.now += AFTER
    try:
        with dying(machine, after):
            machine.round()
    except Killed:
        pass
    machine.restart()
    report = machine.round()
    assert report.enforced.result is Result.CONVERGED
    assert report.newest.verdict is Verdict.ACCEPTED
    assert addresses(machine) == {11, 12}
    quiet(machine)
    good = machine.store.load()
    assert good is not None
    assert good.kept == ()


# The loop


def test_the_loop_wakes_when_something_ends(machine: Machine) -> None:
    pace = Pace(drift=100_000, poll=0, debounce=0.1)
    far(machine, 3)
    push_at = At(5, Wake.REF, machine.network.push)
    ran = run(machine, push_at, more=500, pace=pace)
    assert ran.rounds == [(0, ("start",)), (5, ("ref",)), (5 + AFTER, ("grace",))]
    assert addresses(machine) == {11, 12, 13}


def test_sets_change_after_one_period_and_rows_go_after_two(machine: Machine) -> None:
    pace = Pace(drift=100_000, poll=0, debounce=0.1)
    machine.network.base(bounce=False, divide=False)
    ran = run(machine, At(5, Wake.REF, machine.network.push), more=500, pace=pace)
    assert ran.rounds[1:] == [(5, ("ref",)), (5 + GRACE, ("grace",)), (5 + AFTER, ("grace",))]
    (settled,) = live(machine, "bouncers").values["settled"].tolist()
    assert settled == 0


# The process


def seconds_later(host: Host) -> None:
    """Until nothing is kept any more."""
    host.wait(lambda found: "kept" not in found)


def test_default_is_a_minute_and_is_said_why() -> None:
    assert configure({"host": "edge-1", "repository": "/srv/network.git"}).grace == 60
    assert configure({"host": "a", "repository": "/a", "gracePeriod": 0}).grace == 0


def test_a_real_agent_keeps_rows_in_the_kernel_and_deletes_them_in_time(host: Host) -> None:
    network = host.network
    network.write("far.yaml", *(network.endpoint(n, host=OTHER) for n in (3, 4)))
    commit = network.push()
    host.start().applied(commit)
    network.write("far.yaml", network.endpoint(3, host=OTHER))
    found = host.applied(network.push())
    assert found["kept"]["rows"] == 1
    page = client.request(host.run_dir, "GET", "/metrics", None, 10).decode()
    assert "\nreconciler_kept_rows 1.0\n" in page
    assert "Kept for other hosts until" in host.run("status").stdout
    rows = found["rows"]["endpoints"]
    assert host.run("drift").returncode == 0
    shown = host.run("plan", "--detailed-exitcode")
    assert shown.returncode == 0
    assert "1 row is kept" in shown.stderr
    host.end()
    host.start().wait(lambda found: found.get("kept", {}).get("rows") == 1)
    host.end()
    host.configure(gracePeriod=1)
    host.start()
    seconds_later(host)
    found = host.wait(lambda found: found["rows"]["endpoints"] == rows - 1)
    assert found["drift"]["found"] == 0
    assert "1 deleted (ended)" in host.log


@pytest.mark.parametrize("seed", range(2))
def test_agents_killed_at_any_moment_leave_what_the_last_commit_wants(
    host: Host, seed: int
) -> None:
    """Commits come and periods end while agents are killed."""
    host.configure(gracePeriod=1)
    moments, network, commit = random.Random(seed), host.network, host.network.first
    for _ in range(5):
        far = moments.sample(range(10, 20), 5)
        network.write("far.yaml", *(network.endpoint(n, host=OTHER) for n in far))
        commit = network.push()
        host.start()
        time.sleep(moments.uniform(0.3, 2.5))
        host.end(signal.SIGKILL)
    host.start().applied(commit)
    seconds_later(host)
    assert host.run("plan", "--detailed-exitcode").returncode == 0
    assert host.run("drift").returncode == 0


def test_one_apply_keeps_rows_says_so_and_the_next_deletes_them(host: Host) -> None:
    host.configure(gracePeriod=3)
    network = host.network
    network.write("far.yaml", *(network.endpoint(n, host=OTHER) for n in (3, 4)))
    network.push()
    assert host.run("apply").returncode == 0
    network.write("far.yaml", network.endpoint(3, host=OTHER))
    network.push()
    done = host.run("apply")
    assert done.returncode == 0
    assert "1 row is kept" in done.stderr
    assert "rows 1 to be kept a while for other hosts, then deleted" in done.stdout
    assert json.loads(host.run("apply", "-o", "json").stdout)["kept"]
    for _ in range(100):
        done = host.run("apply")
        if "1 deleted" in done.stdout:
            break
    assert "Applied: 0 added, 0 changed, 1 deleted" in done.stdout
    assert "kept" not in done.stderr


def test_a_state_from_a_file_keeps_rows_of_the_one_before(host: Host, tmp_path: Path) -> None:
    network, state = host.network, tmp_path / "state.json"
    for numbers, kept in (((3, 4), 0), ((3,), 1)):
        network.write("far.yaml", *(network.endpoint(n, host=OTHER) for n in numbers))
        network.push()
        compile_to(state, host, host.place.host)
        done = host.run("apply", "--from", state)
        assert done.returncode == 0
        assert ("1 row is kept" in done.stderr) == bool(kept)
    done = host.run("apply", "--from", state, "--grace-period", "0")
    assert "Applied: 0 added, 0 changed, 1 deleted" in done.stdout


def test_an_agent_keeps_to_its_own_period(host: Host) -> None:
    host.start().applied(host.network.first)
    done = host.run("apply", "--grace-period", "0")
    assert done.returncode == 1
    assert "change gracePeriod there" in done.stderr


def test_one_apply_without_a_period_deletes_at_once(host: Host) -> None:
    network = host.network
    network.write("far.yaml", *(network.endpoint(n, host=OTHER) for n in (3, 4)))
    network.push()
    assert host.run("apply").returncode == 0
    network.write("far.yaml", network.endpoint(3, host=OTHER))
    network.push()
    done = host.run("apply", "--grace-period", "0")
    assert "Applied: 0 added, 0 changed, 1 deleted" in done.stdout
