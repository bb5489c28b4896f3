"""The real agent on the real kernel: pushes, drift, crashes, and what the verbs say of them."""

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pyroute2 import IPRoute

from reconciler.agent import client
from reconciler.compile import serial
from reconciler.plan.diff import diff
from tests.agent.network import git
from tests.agent.process import Host, condition, ready, somewhere
from tests.cli.command import reconciler
from tests.datapath.place import NETNS, entered


def delete_interface(host: Host, endpoint: str) -> None:
    """As a stranger would."""
    with IPRoute() as route:
        for link in route.get_links():
            if (link.get("IFLA_IFALIAS") or "").endswith(f":{endpoint}"):
                route.link("del", index=link["index"])


def test_with_polling_off_a_push_wakes_the_agent(host: Host) -> None:
    host.start().applied(host.network.first)
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    host.network.endpoints(3)
    found = host.applied(host.network.push())
    assert found["lastRound"]["wakes"] == ["ref"]
    assert host.interfaces() == {"shop/web-1", "shop/web-2", "shop/web-3"}


def test_a_push_wakes_after_refs_were_packed(host: Host) -> None:
    host.start().applied(host.network.first)
    git("pack-refs", "--all", at=host.network.bare)
    host.network.endpoints(3)
    assert host.applied(host.network.push())["lastRound"]["wakes"] == ["ref"]


def test_a_push_to_a_remote_on_this_machine_wakes_too(host: Host) -> None:
    host.configure(repository=f"file://{host.network.bare}")
    host.start().applied(host.network.first)
    host.network.endpoints(3)
    host.applied(host.network.push())
    assert "shop/web-3" in host.interfaces()


def test_live_is_byte_for_byte_what_was_applied(host: Host) -> None:
    host.start().applied(host.network.first)
    shown = serial.load(host.run("show").stdout)
    assert len(shown.tables["endpoints"]) == 3
    assert host.run("drift").returncode == 0
    again = serial.load(host.run("show").stdout)
    assert not diff(shown, again)


def test_a_second_agent_is_refused_and_names_the_first(host: Host) -> None:
    host.start().applied(host.network.first)
    assert host.process
    second = host.run("agent")
    assert second.returncode == 1
    assert f"process {host.process.pid}" in second.stderr
    assert ready(host.status())


def test_an_invalid_commit_keeps_the_last_good_one_and_names_every_problem(host: Host) -> None:
    host.start().applied(host.network.first)
    host.network.write("endpoints.yaml", host.network.endpoint(1).replace("10.1.0.11", "10.9.9.9"))
    host.network.write("more.yaml", "kind: Nonsense")
    commit = host.network.push()
    found = host.wait(lambda found: found["lastAttempted"] == commit)
    assert condition(found, "Invalid") == "True"
    assert found["problems"]["count"] >= 2
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    assert found["enforced"] == host.network.first


def test_an_empty_commit_is_held_until_it_is_forced(host: Host) -> None:
    host.start().applied(host.network.first)
    git("rm", "--quiet", "-r", ".", at=host.network.clone)
    commit = host.network.push()
    found = host.wait(lambda found: condition(found, "Held") == "True")
    assert host.run("apply").returncode == 3
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    stale = host.run("apply", "--force", "0123456789abcdef")
    assert stale.returncode == 4
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    done = host.run("apply", "--force", found["held"]["digest"])
    assert done.returncode == 0, done.stderr
    host.applied(commit)
    assert not host.interfaces()


def test_drift_is_found_healed_and_counted(host: Host) -> None:
    host.configure(drift=0.3)
    host.start().applied(host.network.first)
    pin = host.place.bpffs / "reconciler" / host.place.host / "set" / "maps" / "hosts"
    damage_rows(pin)
    found = host.wait(lambda found: found["drift"]["found"] > 0)
    assert found["drift"]["healed"] == found["drift"]["found"] == 2
    assert host.run("drift").returncode == 0


def damage_rows(pin: Path) -> None:
    """Delete all rows of a pinned map with bpftool."""
    dump = subprocess.run(
        ["bpftool", "-j", "map", "dump", "pinned", pin], check=True, capture_output=True
    )
    for row in json.loads(dump.stdout):
        subprocess.run(
            ["bpftool", "map", "delete", "pinned", pin, "key", *row["key"]],
            check=True,
            capture_output=True,
        )


def test_the_verb_drift_finds_what_differs_and_writes_nothing(host: Host) -> None:
    host.start().applied(host.network.first)
    host.end()
    damage_rows(host.place.bpffs / "reconciler" / host.place.host / "set" / "maps" / "hosts")
    delete_interface(host, "shop/web-1")
    before = host.run("show").stdout
    found = host.run("drift")
    assert found.returncode == 2
    assert "hosts" in found.stdout
    assert "shop/web-1" in found.stdout
    assert host.run("show").stdout == before
    assert host.run("drift").returncode == 2


def test_a_deleted_interface_wakes_the_agent_and_is_made_again(host: Host) -> None:
    host.start().applied(host.network.first)
    rounds = sum(host.status()["rounds"].values())
    delete_interface(host, "shop/web-1")
    host.wait(lambda found: sum(found["rounds"].values()) > rounds)
    host.wait(lambda found: ready(found) and host.interfaces() == {"shop/web-1", "shop/web-2"})
    assert host.run("drift").returncode == 0


def test_an_interface_that_appears_is_taken_up(host: Host) -> None:
    host.network.write("tap.yaml", host.network.endpoint(9, attach={"interface": "tap9"}))
    commit = host.network.push()
    host.start().applied(commit)
    assert any("tap9" in each["fact"] for each in host.status()["waiting"]["first"])
    with IPRoute() as route:
        route.link("add", ifname="tap9", kind="veth", peer={"ifname": "tap9peer"})
    host.wait(lambda found: not any("tap9" in w["fact"] for w in found["waiting"]["first"]))
    assert "link tap9" in host.run("show", "-o", "text").stdout


def test_a_namespace_that_appears_gets_its_endpoint(host: Host) -> None:
    host.configure(createNetns=False)
    host.start().wait(lambda found: found["waiting"]["count"] >= 2)
    assert not host.interfaces()
    host.place.netns("web-1")
    host.wait(lambda _: host.interfaces() == {"shop/web-1"})


def test_without_its_repository_the_agent_heals_from_the_last_good_state(host: Host) -> None:
    host.start().applied(host.network.first)
    host.end()
    shutil.rmtree(host.network.bare)
    delete_interface(host, "shop/web-1")
    host.start().wait(lambda found: condition(found, "Converged") == "True")
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    found = host.status()
    assert condition(found, "Stalled") == "True"
    assert str(host.network.bare) in json.dumps(found["conditions"])


def test_a_repository_that_appears_later_is_followed(host: Host) -> None:
    away = host.network.bare.with_name("away.git")
    host.network.bare.rename(away)
    host.configure(drift=0.3)
    host.start().wait(lambda found: condition(found, "Stalled") == "True")
    away.rename(host.network.bare)
    host.applied(host.network.first)


def test_sighup_looks_at_once(host: Host) -> None:
    host.start().applied(host.network.first)
    assert host.process
    host.process.send_signal(signal.SIGHUP)
    host.wait(lambda found: "hangup" in found["lastRound"]["wakes"])


def test_sigterm_ends_it_with_success_and_leaves_everything_running(host: Host) -> None:
    host.start().applied(host.network.first)
    before = host.run("show").stdout
    assert host.end() == 0
    assert host.run("show").stdout == before


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_the_next_start_completes_it(host: Host, seed: int) -> None:
    """Pushes go on while agents are killed; the last one has to reach the last commit."""
    moments = random.Random(seed)
    commit = host.network.first
    for _ in range(5):
        host.network.endpoints(moments.randint(2, 9))
        commit = host.network.push()
        host.start()
        time.sleep(moments.uniform(0.0, 1.6))
        host.end(signal.SIGKILL)
    host.start().applied(commit)
    assert host.run("drift").returncode == 0
    plan = host.run("plan", "--detailed-exitcode")
    assert plan.returncode == 0, plan.stdout


def test_status_without_an_agent_shows_the_last_one_and_its_age(host: Host) -> None:
    nothing = host.run("status")
    assert nothing.returncode == 1
    assert "no agent answers" in nothing.stderr
    host.start().applied(host.network.first)
    assert host.run("status").returncode == 0
    host.end()
    left = host.run("status")
    assert left.returncode == 1
    assert host.network.first[:12] in left.stdout
    assert "ago" in left.stderr


def test_metrics_are_what_prometheus_reads(host: Host) -> None:
    host.start().applied(host.network.first)
    page = client.request(host.run_dir, "GET", "/metrics", None, 10).decode()
    found = {family.name: family for family in text_string_to_metric_families(page)}
    rows = {s.labels["table"]: s.value for s in found["reconciler_table_rows"].samples}
    assert rows["endpoints"] == 3
    names = {s.labels["endpoint"] for s in found["reconciler_endpoint_packets"].samples}
    assert names == {"shop/web-1", "shop/web-2"}


def test_apply_without_an_agent_runs_one_round_itself(host: Host) -> None:
    plan = host.run("plan", "--detailed-exitcode")
    assert plan.returncode == 2
    assert not host.interfaces()
    assert host.run("apply").returncode == 0
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    again = host.run("apply")
    assert again.returncode == 0
    assert "No changes" in again.stdout
    assert host.run("plan", "--detailed-exitcode").returncode == 0


def compile_to(path: Path, host: Host, name: str) -> None:
    """What the verb `compile` says a host should hold."""
    repo = ("--repo", str(host.network.bare), "--host", name)
    path.write_text(reconciler("compile", *repo, cwd=path.parent).stdout)


def test_a_state_from_a_file_is_applied_as_a_commit_is(host: Host, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    compile_to(state, host, host.place.host)
    done = host.run("apply", "--from", state)
    assert done.returncode == 0, done.stderr
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    assert host.run("plan", "--detailed-exitcode").returncode == 0
    assert host.run("drift").returncode == 0


def test_a_state_of_another_host_is_refused(host: Host, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    compile_to(state, host, "far-1")
    done = host.run("apply", "--from", state)
    assert done.returncode == 1
    assert "far-1" in done.stderr
    assert not host.interfaces()


def test_removing_a_host_takes_everything_off(host: Host) -> None:
    host.start().applied(host.network.first)
    refused = host.run("host remove", "--yes")
    assert refused.returncode == 1
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    host.end()
    assert host.run("host remove", "--yes").returncode == 0
    assert not host.interfaces()
    assert not (host.place.bpffs / "reconciler").exists()
    assert not host.state_dir.exists()
    assert host.run("host remove", "--yes").returncode == 0


def test_two_hosts_share_a_kernel(host: Host, tmp_path: Path) -> None:
    """Pins, lock, state and socket are each host's own."""
    (tmp_path / "other").mkdir()
    with somewhere(tmp_path / "other") as other:
        other.start().applied(other.network.first)
        assert other.interfaces() == {"shop/web-1", "shop/web-2"}
        with entered(NETNS / host.place.name("host")):
            host.start().applied(host.network.first)
        assert other.end() == 0
        assert other.run("host remove", "--yes").returncode == 0
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    assert host.run("drift").returncode == 0
