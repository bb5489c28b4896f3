"""What the agent says of itself after rounds, as document and as metrics."""

import shutil
from dataclasses import asdict
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from reconciler.agent.metrics import exposition
from reconciler.agent.outcome import Outcome, describe, outcome
from reconciler.agent.report import RoundReport
from reconciler.agent.server import Answers, Server
from reconciler.agent.status import HISTORY, Status
from reconciler.datapath.protocol import Count, Lost
from tests.agent.fake import Machine
from tests.agent.network import git
from tests.cli.command import reconciler

IDENTITY = {"host": "edge-1", "release": "0", "pid": 1, "startedAt": "2026-01-01T00:00:00+00:00"}


def said(*reports: RoundReport, retry_in: float | None = None) -> dict[str, str]:
    """The status of each condition after the reports."""
    status = Status(IDENTITY)
    for report in reports:
        status.add(report, retry_in)
    return {each["type"]: each["status"] for each in status.document()["conditions"]}


def message(report: RoundReport, kind: str, retry_in: float | None = None) -> str:
    status = Status(IDENTITY)
    status.add(report, retry_in)
    (found,) = [each for each in status.document()["conditions"] if each["type"] == kind]
    return str(found["message"])


def test_a_converged_host_is_ready(machine: Machine) -> None:
    assert said(machine.round()) == {
        "Ready": "True",
        "Converged": "True",
        "Held": "False",
        "Invalid": "False",
        "Stalled": "False",
        "Waiting": "False",
    }


def test_before_the_first_round_nothing_is_said_of_conditions() -> None:
    assert Status(IDENTITY).document()["conditions"] == []


def test_an_invalid_commit_makes_a_converged_host_unready(machine: Machine) -> None:
    machine.round()
    machine.network.write("endpoints.yaml", "kind: Endpoint")
    machine.network.push()
    report = machine.round()
    found = said(report)
    assert (found["Ready"], found["Invalid"], found["Converged"]) == ("False", "True", "True")
    assert "endpoints.yaml" in message(report, "Invalid")
    assert outcome(report) is Outcome.INVALID


def test_a_held_commit_says_how_to_force_it(machine: Machine) -> None:
    machine.round()
    git("rm", "--quiet", "-r", ".", at=machine.network.clone)
    machine.network.push()
    report = machine.round()
    found = said(report)
    assert (found["Ready"], found["Held"], found["Stalled"]) == ("False", "True", "False")
    assert f"--force {report.newest.digest}" in message(report, "Held")
    assert outcome(report) is Outcome.HELD


def test_a_repository_that_is_gone_stalls_and_leaves_the_commits_conditions_unknown(
    machine: Machine,
) -> None:
    machine.round()
    shutil.rmtree(machine.network.bare)
    report = machine.round()
    found = said(report)
    assert (found["Stalled"], found["Held"], found["Invalid"]) == ("True", "Unknown", "Unknown")
    assert found["Converged"] == "True"
    assert "next try in 2.5 s" in message(report, "Stalled", retry_in=2.5)
    assert outcome(report) is Outcome.UNREADABLE


def test_waiting_is_said_and_does_not_make_a_host_unready(machine: Machine) -> None:
    machine.datapath.around.next_hops.clear()
    report = machine.round()
    found = said(report)
    assert (found["Waiting"], found["Ready"]) == ("True", "True")
    assert message(report, "Waiting") == "Host far-1 for next hop"


def test_a_condition_keeps_the_time_of_its_last_change(machine: Machine) -> None:
    status = Status(IDENTITY)
    status.add(machine.round())
    machine.clock.now += 60
    status.add(machine.round())
    document = status.document()
    assert document["conditions"][0]["since"] < document["at"]


def test_history_has_the_last_commits_the_newest_first(machine: Machine) -> None:
    status = Status(IDENTITY)
    status.add(machine.round())
    pushed = [machine.network.first]
    for count in range(3, 10):
        machine.network.endpoints(count)
        pushed.append(machine.network.push())
        status.add(machine.round())
        status.add(machine.round())
    history = status.document()["history"]
    assert [each["commit"] for each in history] == pushed[::-1][:HISTORY]
    assert all(each["outcome"] == "converged" for each in history)
    assert all(each["changes"]["add"] > 0 for each in history)


def test_drift_and_writes_are_counted(machine: Machine) -> None:
    status = Status(IDENTITY)
    first = machine.round()
    status.add(first)
    rows = machine.datapath.read().tables["hosts"]
    machine.datapath.delete(rows)
    status.add(machine.round())
    document = status.document()
    assert (document["drift"]["found"], document["drift"]["healed"]) == (2, 2)
    assert document["writes"]["table hosts"]["add"] == 4
    assert document["rounds"] == {"converged": 2}


def test_what_was_applied_last_stays_when_newer_commits_are_bad(machine: Machine) -> None:
    status = Status(IDENTITY)
    status.add(machine.round())
    machine.network.write("endpoints.yaml", "kind: Endpoint")
    commit = machine.network.push()
    status.add(machine.round())
    document = status.document()
    assert (document["lastApplied"], document["lastAttempted"]) == (machine.network.first, commit)


def test_a_description_for_who_asked_names_outcome_and_changes(machine: Machine) -> None:
    found = describe(machine.round())
    assert found["outcome"] == "converged"
    assert found["commit"] == machine.network.first
    assert found["changed"]["add"] > 0


def test_metrics_can_be_parsed_and_count_what_the_status_counts(machine: Machine) -> None:
    status = Status(IDENTITY)
    status.add(machine.round())
    machine.datapath.reasons = {"delivered": Count(7, 700)}
    machine.datapath.lost = (Lost("up0", "", "queue_full", 3),)
    page = exposition(status.document(), machine.datapath.traffic()).decode()
    found = {family.name: family for family in text_string_to_metric_families(page)}

    def sample(name: str, **labels: str) -> float:
        (value,) = [s.value for s in found[name].samples if s.labels == labels]
        return float(value)

    assert sample("reconciler_condition", type="Ready") == 1
    assert sample("reconciler_table_rows", table="endpoints") == 3
    assert sample("reconciler_table_capacity", table="endpoints") == 1 << 20
    assert sample("reconciler_writes", what="table endpoints", change="add") == 3
    assert sample("reconciler_verdict_packets", reason="delivered") == 7
    dropped = {"interface": "up0", "endpoint": "", "reason": "queue_full"}
    assert sample("reconciler_kernel_drops", **dropped) == 3
    assert sample("reconciler_kernel_drops_counted") == 1
    assert sample("reconciler_endpoint_bytes", endpoint="shop/web-1", direction="rx") == 0


def test_metrics_before_the_first_round_and_without_counters_are_a_page(tmp_path: Path) -> None:
    page = exposition(Status(IDENTITY).document(), None).decode()
    assert "reconciler_failures 0.0" in page


def test_what_the_kernel_dropped_is_shown_with_the_endpoint_it_was_for(
    machine: Machine, tmp_path: Path
) -> None:
    status = Status({**IDENTITY, "repository": {"url": "here", "branch": ""}})
    status.add(machine.round())
    datapath, shown = machine.datapath, []
    for lost in ((), (Lost("rv1", "shop/web-1", "queue_full", 3), Lost("up0", "", "x", 12))):
        datapath.lost = lost
        document = {**status.document(), "traffic": asdict(datapath.traffic())}
        server = Server(tmp_path, None, Answers(lambda said=document: said, bytes, dict))
        server.start()
        try:
            done = reconciler("status", "--run-dir", str(tmp_path), cwd=tmp_path)
        finally:
            server.stop()
        shown.append(done.stdout)
    assert "Frames dropped by the kernel after the verdict: none" in shown[0]
    assert shown[1].endswith(
        "Frames dropped by the kernel after the verdict:\n"
        "  queue_full  rv1 (shop/web-1)  3\n"
        "  x           up0               12\n"
    )
