"""What packets see of pushes, of agents that are gone, and of somebody who writes into the maps."""

import math
import os
import signal
import time
from collections.abc import Iterator

import pytest

from reconciler.datapath.netlink import netns_exists
from reconciler.lab import processes, reach, repository
from reconciler.lab.change import choose_change
from reconciler.lab.damage import damage_and_heal
from reconciler.lab.demo import push_change
from reconciler.lab.echo import Stream
from reconciler.lab.lab import Wanted
from tests.netns.conftest import Cloud, endpoint, host, temporary_lab, tenant

FILES = {
    "hosts.yaml": "---".join(
        [
            host("alpha", "192.168.1.1", "a", True),
            host("bravo", "192.168.1.2", "a", True),
            host("charlie", "192.168.2.1", "b", True),
        ]
    ),
    "red.yaml": "---".join(
        [
            tenant("red", 1001),
            endpoint("red", "l1", "left", 11, "alpha"),
            endpoint("red", "l2", "left", 12, "bravo"),
            endpoint("red", "l3", "left", 13, "charlie"),
            endpoint("red", "o1", "other", 11, "bravo"),
            endpoint("red", "o2", "other", 12, "charlie"),
        ]
    ),
}


BETWEEN_PINGS = 0.02  # seconds and no more than that


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Three hosts; every test leaves the lab converged, whatever it pushed."""
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("changing"), FILES)


def stream(cloud: Cloud, source: str, target: str) -> Stream:
    return Stream(cloud.member(source).netns, cloud.member(target).address(4), interval=0.005)


def lost(ping: Stream) -> int:
    return sum(each.answered is None for each in ping.samples)


def interfaces(cloud: Cloud, name: str) -> str:
    return cloud.run(name, "ip", "-o", "link", "show", "type", "veth").stdout


def test_a_push_that_adds_and_removes_an_endpoint_loses_no_packet_of_others(cloud: Cloud) -> None:
    with stream(cloud, "red.l1", "red.o1") as ping:
        cloud.push({"more.yaml": endpoint("red", "l9", "left", 99, "charlie")})
        assert cloud.ping("red.l1", "red.l9") == 3
        added = cloud.member("red.l9")
        cloud.push({"more.yaml": None})
    assert len(ping.samples) > 20
    assert lost(ping) == 0
    assert cloud.ping("red.l1", str(added.address(4)), count=1) == 0
    assert "red/l9" not in interfaces(cloud, "charlie")


def test_an_endpoint_keeps_its_namespace_when_it_moves(cloud: Cloud) -> None:
    """Its own processes and sockets, the namespace, outlive the move; the interface is another."""
    before = cloud.member("red.l2").netns.stat().st_ino
    assert cloud.ping("red.l1", "red.l2") == 3  # by now hosts have a direct path to the old place
    text = FILES["red.yaml"]
    moved = endpoint("red", "l2", "left", 12, "charlie")
    cloud.push({"red.yaml": text.replace(endpoint("red", "l2", "left", 12, "bravo"), moved)})
    assert cloud.member("red.l2").host == "charlie"
    assert cloud.member("red.l2").netns.stat().st_ino == before
    for source in ("red.l1", "red.l3", "red.o1"):
        assert cloud.ping(source, "red.l2") == 3
        assert cloud.ping(source, "red.l2", "-6") == 3
    assert "red/l2" not in interfaces(cloud, "bravo")
    cloud.push({"red.yaml": text})
    assert cloud.ping("red.l1", "red.l2") == 3


def test_a_commit_with_problems_changes_nothing(cloud: Cloud) -> None:
    (cloud.workspace.folder / "broken.yaml").write_text("kind: Endpoint\n")
    cloud.workspace.push("break it")
    time.sleep(1)
    assert cloud.ping("red.l1", "red.o2") == 3
    assert [each.converged for each in cloud.lab.status()] == [False] * 3
    assert "invalid" in cloud.lab.status()[0].summary
    assert cloud.member("red.l1").host == "alpha"  # names are still known
    cloud.push({"broken.yaml": None})
    assert all(each.converged for each in cloud.lab.status())


def test_packets_go_on_without_agents_and_a_second_up_starts_them_again(cloud: Cloud) -> None:
    runs = [cloud.lab.places.host_run(each.name) for each in cloud.came.directory.hosts]
    with stream(cloud, "red.l1", "red.o1") as ping:
        for run in runs:
            pid = processes.alive(run / "agent.pid")
            assert pid
            os.kill(pid, signal.SIGKILL)
        limit = time.monotonic() + 10
        while any(processes.alive(run / "agent.pid") for run in runs):
            assert time.monotonic() < limit
            time.sleep(0.01)
        assert [each.agent.pid for each in cloud.lab.status()] == [None] * 3
        again = cloud.lab.up(Wanted(str(cloud.workspace.bare)), lambda *_: None)
        assert not again.behind
    assert len(ping.samples) > 20
    assert lost(ping) == 0


def test_the_demos_change_adds_and_moves_without_loss_to_others(cloud: Cloud) -> None:
    followed = cloud.came.followed
    head = repository.read(followed, "")
    change = choose_change(
        head.topology,
        head.commit.documents,
        cloud.lab.directory(),
        cloud.workspace.texts(),
    )
    done = push_change(cloud.lab, cloud.workspace, change)
    assert not done.behind
    assert done.bystander.sent > 0
    assert done.bystander.lost == 0
    assert (done.added.sent_since > 0, done.added.lost_since) == (True, 0)
    assert done.moved.sent_since > 0
    assert math.isfinite(done.interface_up)
    assert cloud.member(done.added.target.name).host == change.added.host
    assert cloud.member(done.moved.target.name).host == change.moved.host
    claims = reach.check(cloud.lab.directory().endpoints)
    assert all(each.holds for each in claims)
    cloud.push({"red.yaml": FILES["red.yaml"]})


def test_a_row_that_somebody_overwrote_is_found_and_healed(cloud: Cloud) -> None:
    done = damage_and_heal(cloud.lab, cloud.member("red.l1"), cloud.member("red.o2"))
    assert done.found == 1
    assert math.isfinite(done.seconds)
    assert done.ping.lost > 0 or done.seconds < BETWEEN_PINGS, "the damage was real"
    assert (done.ping.sent_since > 0, done.ping.lost_since) == (True, 0)


def test_a_second_up_removes_namespaces_of_endpoints_that_are_gone(cloud: Cloud) -> None:
    cloud.push({"more.yaml": endpoint("red", "l9", "left", 99, "charlie")})
    gone = cloud.member("red.l9").netns
    cloud.push({"more.yaml": None})
    assert netns_exists(gone)  # the agent removes what it made in it, and no more
    cloud.lab.up(Wanted(str(cloud.workspace.bare)), lambda *_: None)
    assert not netns_exists(gone)
    assert netns_exists(cloud.member("red.l1").netns)


def test_an_up_does_not_wait_for_what_a_guard_holds(cloud: Cloud) -> None:
    """Too many endpoints at once are gone; the agents hold that back until somebody forces it."""
    many = "---".join(endpoint("red", f"m{n}", "other", 100 + n, "alpha") for n in range(14))
    cloud.push({"many.yaml": many})
    (cloud.workspace.folder / "many.yaml").unlink()
    cloud.workspace.push("delete many")
    again = cloud.lab.up(Wanted(str(cloud.workspace.bare), patience=60), lambda *_: None)
    assert {each.host for each in again.behind} >= {"alpha"}
    assert all("held" in each.trouble() for each in again.behind)
    assert cloud.ping("red.l1", "10.0.2.100") == 3
    cloud.push({"many.yaml": many})
