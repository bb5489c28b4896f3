"""Rounds against real commits: what is enforced after each, and what is said of it."""

import random
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.agent.report import Cause, Result, Verdict
from reconciler.compile.facts import Device
from reconciler.datapath.errors import TransientError
from reconciler.plan.diff import diff
from reconciler.plan.guards import ANY_UPGRADE
from tests.agent.fake import HOST, Machine, damage, raising
from tests.agent.network import OTHER, VPC, git, manifest


def test_first_round_applies_the_newest_commit(machine: Machine) -> None:
    report = machine.round()
    assert (report.newest.verdict, report.newest.revision) == ("accepted", machine.network.first)
    assert (report.enforced.result, report.enforced.cause) == (Result.CONVERGED, Cause.PENDING)
    assert machine.endpoints == {"shop/web-1", "shop/web-2"}


def test_rows_that_need_a_new_interface_are_written_in_the_same_round(machine: Machine) -> None:
    report = machine.round()
    assert not report.enforced.waiting
    assert report.enforced.rows["interfaces"] == 2


def test_second_round_writes_nothing(machine: Machine) -> None:
    machine.round()
    report = machine.round()
    assert report.enforced.counts.total == 0
    assert report.enforced.cause is Cause.NONE


def test_drift_round_neither_reads_nor_compiles_the_commit_again(machine: Machine) -> None:
    assert {"snapshot", "validate", "compile"} <= machine.round().phases.keys()
    assert machine.round().phases.keys() == {"resolve", "facts", "read", "plan"}


def test_new_commit_is_applied_and_is_the_measure_from_then_on(machine: Machine) -> None:
    machine.round()
    machine.network.endpoints(3)
    commit = machine.network.push()
    report = machine.round()
    assert (report.enforced.revision, report.enforced.cause) == (commit, Cause.PENDING)
    assert "shop/web-3" in machine.endpoints
    good = machine.store.load()
    assert good is not None
    assert good.revision == commit


def test_invalid_commit_leaves_the_last_good_one_in_force_and_heals_its_drift(
    machine: Machine,
) -> None:
    machine.round()
    machine.network.write("endpoints.yaml", "kind: Endpoint")
    commit = machine.network.push()
    rows = damage(machine)
    report = machine.round()
    assert (report.newest.verdict, report.newest.revision) == (Verdict.INVALID, commit)
    assert all(line.startswith("endpoints.yaml:") for line in report.newest.problems)
    assert report.enforced.revision == machine.network.first
    assert (report.enforced.cause, report.enforced.drift) == (Cause.DRIFT, rows)
    assert machine.endpoints == {"shop/web-1", "shop/web-2"}


def test_any_problem_of_the_commit_prevents_every_plan(machine: Machine) -> None:
    """Also one that has nothing to do with this host."""
    machine.round()
    machine.network.endpoints(3)
    machine.network.write("other.yaml", "not: [a manifest")
    machine.network.push()
    machine.round()
    assert "shop/web-3" not in machine.endpoints


def test_empty_commit_is_held_and_drift_from_the_last_good_one_is_healed(machine: Machine) -> None:
    machine.round()
    git("rm", "--quiet", "-r", ".", at=machine.network.clone)
    machine.network.push()
    rows = damage(machine)
    report = machine.round()
    assert report.newest.verdict is Verdict.HELD
    assert "no manifests" in report.newest.refusals[0]
    assert report.newest.digest in report.newest.remedy
    assert (report.enforced.cause, report.enforced.drift) == (Cause.DRIFT, rows)
    assert machine.endpoints == {"shop/web-1", "shop/web-2"}


def test_rows_that_a_commit_takes_away_count_as_deleted_and_not_as_drift(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)
    machine.round()
    rows = sum(map(len, machine.datapath.read().tables.values()))
    git("rm", "--quiet", "-r", ".", at=machine.network.clone)
    machine.network.push()
    refusals = machine.round().newest.refusals
    assert any(f"deletes {rows} of {rows} rows of this host" in each for each in refusals)


def test_commit_that_forgets_this_host_is_held_and_says_so(machine: Machine) -> None:
    machine.round()
    text = (machine.network.clone / "base.yaml").read_text()
    machine.network.write("base.yaml", *[t for t in text.split("\n---\n") if HOST not in t])
    (machine.network.clone / "endpoints.yaml").unlink()
    machine.network.push()
    report = machine.round()
    assert report.newest.verdict is Verdict.HELD
    assert any(HOST in line for line in report.newest.refusals)
    assert machine.endpoints == {"shop/web-1", "shop/web-2"}


def test_host_that_no_commit_knows_is_held_from_the_start(tmp_path: Path) -> None:
    machine = Machine(tmp_path, named="edge-7")
    report = machine.round()
    assert report.newest.verdict is Verdict.HELD
    assert (
        report.newest.refusals[0] == "GRD1002: the commit has no Host edge-1; it has 2 other hosts"
    )
    assert report.enforced.result is Result.NOTHING


def test_mass_deletion_elsewhere_holds_no_host_that_it_does_not_touch(machine: Machine) -> None:
    network = machine.network
    network.base(bounce=False, divide=False)
    far = manifest("Network", "far", {"vpc": VPC, "cidrs": ["10.1.9.0/24"]})
    network.write("far.yaml", far, *(network.endpoint(n, "far", OTHER) for n in range(20)))
    network.push()
    machine.round()
    network.write("far.yaml", far)
    network.push()
    report = machine.round()
    assert (report.newest.verdict, report.enforced.counts.total) == (Verdict.ACCEPTED, 0)


def test_host_that_is_declared_foreign_is_not_emptied_unasked(machine: Machine) -> None:
    machine.round()
    machine.network.base(managed=False)
    (machine.network.clone / "endpoints.yaml").unlink()
    machine.network.push()
    report = machine.round()
    assert report.newest.verdict is Verdict.HELD
    assert any("managed: false" in line for line in report.newest.refusals)


def test_many_deletions_are_held_until_their_digest_is_forced(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)
    machine.round()
    machine.network.endpoints(4)
    commit = machine.network.push()
    held = machine.round()
    assert held.newest.verdict is Verdict.HELD
    assert len(machine.endpoints) == 12
    done = machine.round(force=held.newest.digest)
    assert (done.newest.verdict, done.enforced.revision) == (Verdict.ACCEPTED, commit)
    assert len(machine.endpoints) == 4


def test_force_of_another_digest_is_stale_and_writes_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)
    machine.round()
    machine.network.endpoints(4)
    machine.network.push()
    held = machine.round(force="0123456789abcdef")
    assert held.newest.verdict is Verdict.HELD
    assert held.newest.stale
    assert len(machine.endpoints) == 12


def test_force_of_another_digest_is_stale_also_where_no_guard_refuses(machine: Machine) -> None:
    report = machine.round(force="0123456789abcdef")
    assert report.newest.stale
    assert not machine.endpoints
    assert machine.round().enforced.result is Result.CONVERGED


def test_force_of_a_plan_that_no_guard_refuses_is_carried_out(machine: Machine) -> None:
    digest = machine.round(force="0123456789abcdef").newest.digest
    assert machine.round(force=digest).enforced.result is Result.CONVERGED
    assert machine.endpoints


def test_force_where_nothing_is_to_be_done_is_no_error(machine: Machine) -> None:
    machine.round()
    report = machine.round(force="0123456789abcdef")
    assert (report.newest.verdict, report.newest.stale) == (Verdict.ACCEPTED, False)


def test_held_commit_is_not_tried_again_when_its_guard_would_let_it_pass(tmp_path: Path) -> None:
    """Held is an end state: it takes another commit or a force, not a change of what is live."""
    machine = Machine(tmp_path, endpoints=12)
    machine.round()
    machine.network.endpoints(4)
    machine.network.push()
    assert machine.round().newest.verdict is Verdict.HELD
    for each in machine.datapath.read().interfaces[:6]:
        machine.datapath.drop(each)
    assert machine.round().newest.verdict is Verdict.HELD
    assert len(machine.endpoints) == 12


def test_commit_that_undoes_a_held_one_is_applied(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)
    machine.round()
    machine.network.endpoints(4)
    machine.network.push()
    machine.round()
    machine.network.endpoints(13)
    machine.network.push()
    assert machine.round().newest.verdict is Verdict.ACCEPTED
    assert len(machine.endpoints) == 13


def test_forced_plan_that_was_killed_is_completed_by_the_next_agent(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)
    machine.round()
    machine.network.endpoints(4)
    commit = machine.network.push()
    digest = machine.round().newest.digest
    apply = machine.datapath.apply
    machine.datapath.apply = _dies  # type: ignore[method-assign, assignment]
    with suppress(KeyboardInterrupt):
        machine.round(force=digest)
    machine.datapath.apply = apply  # type: ignore[method-assign]
    machine.restart()
    report = machine.round()
    assert (report.enforced.revision, report.enforced.result) == (commit, Result.CONVERGED)
    assert len(machine.endpoints) == 4


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_force_is_for_once_and_not_for_the_same_commit_later(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)
    machine.round()
    machine.network.endpoints(4)
    commit = machine.network.push()
    machine.round(force=machine.round().newest.digest)
    machine.network.endpoints(12)
    machine.network.push()
    machine.round()
    git("reset", "--quiet", "--hard", commit, at=machine.network.clone)
    git("push", "--quiet", "--force", "origin", "main", at=machine.network.clone)
    assert machine.round().newest.verdict is Verdict.HELD
    assert len(machine.endpoints) == 12


def test_repository_that_is_gone_stops_no_healing(machine: Machine) -> None:
    machine.round()
    shutil.rmtree(machine.network.bare)
    rows = damage(machine)
    report = machine.round()
    assert report.newest.verdict is Verdict.UNREADABLE
    assert str(machine.network.bare) in report.newest.error
    assert report.failed
    assert (report.enforced.result, report.enforced.drift) == (Result.CONVERGED, rows)


def test_agent_that_starts_without_its_repository_enforces_the_last_good_state(
    machine: Machine,
) -> None:
    machine.round()
    shutil.rmtree(machine.network.bare)
    rows = damage(machine)
    assert machine.restart() == ""
    report = machine.round()
    assert report.enforced.revision == machine.network.first
    assert (report.enforced.cause, report.enforced.drift) == (Cause.DRIFT, rows)


def test_agent_without_any_good_state_writes_nothing(machine: Machine) -> None:
    shutil.rmtree(machine.network.bare)
    report = machine.round()
    assert report.enforced.result is Result.NOTHING
    assert not diff(machine.datapath.read(), machine.datapath.read())
    assert not machine.endpoints


def test_last_good_state_that_cannot_be_read_is_said_and_replaced(
    machine: Machine, tmp_path: Path
) -> None:
    machine.round()
    head = tmp_path / "state" / "last-good.json"
    head.write_bytes(head.read_bytes()[:20])
    assert "last-good.json" in machine.restart()
    assert machine.round().enforced.result is Result.CONVERGED
    assert machine.restart() == ""


def test_restart_takes_over_what_is_live_without_a_write(machine: Machine) -> None:
    machine.round()
    machine.restart()
    assert machine.round().enforced.counts.total == 0


def test_host_that_lost_everything_is_restored_and_that_is_no_drift(machine: Machine) -> None:
    machine.round()
    machine.datapath.remove()
    machine.restart()
    report = machine.round()
    assert (report.enforced.cause, report.enforced.drift) == (Cause.RESTORED, 0)
    assert machine.endpoints == {"shop/web-1", "shop/web-2"}


def test_next_hop_with_another_mac_is_followed_and_is_no_drift(machine: Machine) -> None:
    machine.round()
    around = machine.datapath.around
    around.next_hops = {
        to: replace(hop, mac=b"\2\0\0\0\0\x77") for to, hop in around.next_hops.items()
    }
    assert machine.rounds.facts_moved()
    report = machine.round()
    assert (report.enforced.cause, report.enforced.drift) == (Cause.FACTS, 0)
    assert report.enforced.changed["table next_hops"].change == 1
    assert not machine.rounds.facts_moved()


def test_missing_underlay_interface_is_waited_for_and_taken_up(machine: Machine) -> None:
    device = machine.datapath.around.devices.pop("eth0")
    report = machine.round()
    assert report.enforced.result is Result.CONVERGED
    assert any("eth0" in each.fact for each in report.enforced.waiting)
    machine.datapath.around.devices["eth0"] = device
    assert machine.rounds.facts_moved()
    assert not machine.round().enforced.waiting


def test_missing_namespace_makes_its_endpoint_wait_and_the_others_not(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.datapath._create_netns = False
    machine.datapath.around.namespaces.add("shop.web-1")
    report = machine.round()
    assert report.enforced.result is Result.CONVERGED
    assert machine.endpoints == {"shop/web-1"}
    assert {each.origin for each in report.enforced.waiting} == {"Endpoint shop/web-2"}
    machine.datapath.around.namespaces.add("shop.web-2")
    assert machine.rounds.facts_moved()
    assert not machine.round().enforced.waiting
    assert machine.endpoints == {"shop/web-1", "shop/web-2"}


def test_interface_that_somebody_deleted_is_made_again(machine: Machine) -> None:
    machine.round()
    name = machine.datapath.read().interfaces[0].name
    machine.datapath.around.devices.pop(name)
    assert machine.rounds.facts_moved()
    report = machine.round()
    assert (report.enforced.result, report.enforced.cause) == (Result.CONVERGED, Cause.DRIFT)
    assert machine.endpoints == {"shop/web-1", "shop/web-2"}


def test_interface_of_a_stranger_fails_that_step_and_says_which(machine: Machine) -> None:
    machine.round()
    taken = machine.datapath.read().interfaces[0]
    machine.datapath.remove()
    machine.datapath.around.devices[taken.name] = Device(9, b"\2\0\0\0\0\x09", 1500, True)
    report = machine.round()
    assert report.enforced.result is Result.PARTLY
    assert taken.name in report.enforced.error
    assert report.enforced.hopeless


def test_a_stop_is_heard_between_two_steps_and_the_next_round_completes_it(
    machine: Machine,
) -> None:
    asked = iter([False, False, True])
    machine.stop_when(lambda: next(asked, True))
    report = machine.round()
    assert report.enforced.result is Result.STOPPED
    assert report.enforced.counts.total == 2
    machine.stop_when(lambda: False)
    assert machine.round().enforced.result is Result.CONVERGED


def test_moved_tells_of_another_commit_and_of_nothing_else(machine: Machine) -> None:
    machine.round()
    assert not machine.rounds.moved()
    machine.network.push()
    assert machine.rounds.moved()
    machine.round()
    assert not machine.rounds.moved()


def test_tables_moved_tells_of_a_stranger_and_of_nothing_else(machine: Machine) -> None:
    assert not machine.rounds.tables_moved(), "nobody knows"
    machine.round()
    machine.round()
    assert not machine.rounds.tables_moved()
    damage(machine)
    assert machine.rounds.tables_moved()
    machine.round()
    assert not machine.rounds.tables_moved()
    machine.datapath.fingerprint = raising(TransientError("not now"))  # type: ignore[method-assign]
    assert not machine.rounds.tables_moved()


def test_what_a_round_itself_writes_is_no_strangers(machine: Machine) -> None:
    machine.round()
    machine.network.endpoints(1)
    machine.network.push()
    machine.rounds.run(("ref",))
    assert not machine.rounds.tables_moved()


def test_a_commit_alone_that_writes_nothing_here_hides_no_stranger(machine: Machine) -> None:
    machine.round()
    machine.round()
    damage(machine)
    machine.network.push()
    report = machine.rounds.run(("ref",))
    assert "glance" in report.phases
    assert machine.rounds.tables_moved()


def test_a_commit_that_changes_nothing_here_writes_nothing_and_is_the_last_good(
    machine: Machine,
) -> None:
    machine.round()
    commit = machine.network.push()
    report = machine.round()
    assert report.enforced.counts.total == 0
    good = machine.store.load()
    assert good is not None
    assert good.revision == commit


COMMIT = ("ref",)  # what wakes the loop when a commit came and nothing else


def test_commit_after_a_converged_round_reads_only_what_it_changes(machine: Machine) -> None:
    machine.round()
    machine.network.endpoints(3)
    machine.network.push()
    report = machine.rounds.run(COMMIT)
    assert report.enforced.result is Result.CONVERGED
    assert report.enforced.cause is Cause.PENDING
    assert not {"facts", "read"} & report.phases.keys()
    assert "glance" in report.phases
    assert machine.endpoints == {"shop/web-1", "shop/web-2", "shop/web-3"}
    assert machine.round().enforced.counts.total == 0


def test_commit_goes_by_what_is_there_after_a_round_that_failed(machine: Machine) -> None:
    machine.round()
    apply = machine.datapath.apply
    machine.datapath.apply = raising(TransientError("busy"))  # type: ignore[method-assign]
    machine.network.endpoints(3)
    machine.network.push()
    assert machine.rounds.run(COMMIT).enforced.result is Result.FAILED
    machine.datapath.apply = apply  # type: ignore[method-assign]
    machine.network.endpoints(4)
    machine.network.push()
    report = machine.rounds.run(COMMIT)
    assert {"facts", "read"} <= report.phases.keys()
    assert len(machine.endpoints) == 4


def test_what_others_wrote_meanwhile_is_found_by_the_next_full_look(machine: Machine) -> None:
    machine.round()
    rows = damage(machine)
    machine.network.endpoints(3)
    machine.network.push()
    assert machine.rounds.run(COMMIT).enforced.drift == 0
    report = machine.round()
    assert (report.enforced.cause, report.enforced.drift) == (Cause.DRIFT, rows)
    assert machine.round().enforced.counts.total == 0


def test_commit_that_deletes_much_is_judged_by_what_is_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path, endpoints=12)
    machine.round()
    machine.network.endpoints(2)
    machine.network.push()
    report = machine.rounds.run(COMMIT)
    assert report.newest.verdict is Verdict.HELD
    assert "read" in report.phases
    assert len(machine.endpoints) == 12


@pytest.mark.parametrize("seed", range(6))
def test_commits_in_any_order_leave_what_one_look_at_everything_would(
    tmp_path: Path, seed: int
) -> None:
    """Endpoints, hosts and networks come, change and go; every round after the first glances."""
    machine, draw = Machine(tmp_path), random.Random(seed)
    machine.round()
    for _ in range(12):
        network = machine.network
        numbers = sorted(draw.sample(range(1, 9), draw.randint(4, 7)))
        if draw.random() < 0.3:
            network.base(**draw.choice([{}, {"cordon": True}, {"weight": 3}]))
        where = [draw.choice(["", "", OTHER]) for _ in numbers]
        network.write(
            "endpoints.yaml",
            *(network.endpoint(n, host=host) for n, host in zip(numbers, where, strict=True)),
        )
        commit = network.push()
        report = machine.rounds.run(COMMIT)
        if report.newest.verdict is Verdict.HELD:
            report = machine.round(report.newest.digest)
        assert (report.enforced.revision, report.enforced.result) == (commit, Result.CONVERGED)
        assert machine.round().enforced.counts.total == 0


def test_a_larger_map_is_made_anew_without_being_asked_for(machine: Machine) -> None:
    machine.round()
    machine.datapath.resize({"paths": 1 << 18})
    machine.restart()
    report = machine.round()
    assert report.enforced.result is Result.CONVERGED
    assert report.enforced.changed["maps"].change == 1
    assert machine.round().enforced.counts.total == 0


def test_an_upgrade_that_loses_what_was_learned_is_held_until_it_is_asked_for(
    machine: Machine,
) -> None:
    machine.round()
    machine.datapath.resize({"paths": 8})
    machine.restart()
    report = machine.round()
    assert report.newest.verdict is Verdict.HELD
    assert "GRD1007: map paths: capacity is 65536 in the kernel, 8" in report.newest.refusals[0]
    assert report.newest.remedy == "If that is meant: reconciler apply --upgrade"
    assert report.enforced.counts.total == 0
    assert machine.round().newest.verdict is Verdict.HELD
    asked = machine.round(force=ANY_UPGRADE)
    assert (asked.newest.verdict, asked.enforced.result) == ("accepted", Result.CONVERGED)
    assert machine.round().enforced.counts.total == 0
