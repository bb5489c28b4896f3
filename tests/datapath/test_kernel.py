"""What only the kernel's datapath does: pins, programs, crashes, next hops."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconciler.abi.generated import CONSTANTS, MAPS
from reconciler.abi.spec import Ownership
from reconciler.compile.state import HostState
from reconciler.datapath import elements, libbpf, tables
from reconciler.datapath.kernel import KernelConfig, KernelDatapath
from reconciler.datapath.objects import ObjectError, variable_place
from reconciler.datapath.pins import NoBpffsError, Noted, Pinned
from reconciler.plan.diff import Change
from reconciler.plan.steps import RowStep
from reconciler.source.package import object_path
from tests.datapath.place import NETNS, Place, command
from tests.datapath.worlds import UPLINK, KernelWorld


@pytest.fixture
def world(place: Place) -> KernelWorld:
    return KernelWorld(place)


def changed_constants(desired: HostState) -> HostState:
    """The same with another constant, as a new release may have."""
    programs = []
    for each in desired.programs:
        constants = np.frombuffer(each.constants, CONSTANTS.dtype).copy()
        constants["path_seconds"] += 1
        programs.append(replace(each, constants=constants.tobytes()))
    return replace(desired, programs=tuple(programs))


def test_reading_makes_nothing(world: KernelWorld) -> None:
    world.plan(world.wanted())
    assert list(world.place.bpffs.iterdir()) == []


def test_constants_are_found_among_others(world: KernelWorld) -> None:
    desired = changed_constants(world.wanted())
    world.settle(desired)
    for each in (program for program in desired.programs if program.constants):
        elf = object_path(each.name).read_bytes()
        with libbpf.get(world.place.pins.path(Pinned.PROGRAM, each.name)) as program:
            ids = libbpf.program_info(program).map_ids
        sections = [fd for fd in map(libbpf.map_by_id, ids) if "rodata" in libbpf.map_info(fd).name]
        (frozen,) = (
            elements.lookup(fd, bytes(4), libbpf.map_info(fd).value_size) for fd in sections
        )
        assert frozen is not None
        assert frozen[variable_place(elf, "constants", len(each.constants)) :].startswith(
            each.constants
        )


def test_both_programs_share_one_set_of_maps(world: KernelWorld) -> None:
    world.settle(world.wanted())
    used = {}
    for name in ("access", "transit"):
        with libbpf.get(world.place.pins.path(Pinned.PROGRAM, name)) as program:
            used[name] = set(libbpf.program_info(program).map_ids)
    with world.map("endpoints") as endpoints:
        assert libbpf.map_info(endpoints).id in used["access"] & used["transit"]
    assert set(world.place.pins.names(Pinned.MAP)) == set(MAPS)


def test_a_program_is_replaced_on_its_maps_without_detaching(world: KernelWorld) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11"])
    world.settle(desired)
    before = kernel_ids(world)
    (report,) = world.settle(changed_constants(desired))
    assert set(report.written) == {"programs"}
    after = kernel_ids(world)
    assert after["links"] == before["links"]
    renewed = {name for name, each in after["maps"].items() if each != before["maps"][name]}
    assert renewed == {name for name, each in MAPS.items() if each.ownership is Ownership.CACHE}
    assert after["programs"].keys() == before["programs"].keys()
    assert not set(after["programs"].values()) & set(before["programs"].values())
    assert set(after["attached"].values()) == set(after["programs"].values())
    world.settle(desired)
    assert world.converged(desired)


def test_another_object_is_another_program(world: KernelWorld, tmp_path: Path) -> None:
    desired = world.wanted()
    world.settle(desired)
    for each in desired.programs:
        (tmp_path / each.name).write_bytes(object_path(each.name).read_bytes() + b"\0")
    world.config = replace(world.config, object_path=lambda name: tmp_path / name)
    world.restart()
    plan = world.plan(desired)
    assert {name: each.total for name, each in plan.diff.counts_by_kind.items()} == {"programs": 3}
    assert world.datapath.apply(plan).done
    assert world.converged(desired)


def kernel_ids(world: KernelWorld) -> dict[str, dict[str, int]]:
    pins = world.place.pins

    def each(kind: Pinned, number: Callable[[libbpf.Fd], int]) -> dict[str, int]:
        found = {}
        for name in pins.names(kind):
            with libbpf.get(pins.path(kind, name)) as fd:
                found[name] = number(fd)
        return found

    return {
        "maps": each(Pinned.MAP, lambda fd: libbpf.map_info(fd).id),
        "programs": each(Pinned.PROGRAM, lambda fd: libbpf.program_info(fd).id),
        "links": each(Pinned.LINK, lambda fd: libbpf.link_info(fd).id),
        "attached": each(Pinned.LINK, lambda fd: libbpf.link_info(fd).program_id),
    }


class Killer:
    """Stands in a plan where the process is to die."""

    def __len__(self) -> int:
        return 1

    def __getattr__(self, name: str) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object], after: float | None = None) -> bool:
    """Run in a child process that is killed, after so many seconds or by itself; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            if after is not None:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_REAL, after)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_run_killed_after_any_step_is_completed_by_the_next(world: KernelWorld) -> None:
    for name in ("web-11", "web-12"):
        world.add_netns(name)
    first, second = world.wanted(["web-11"]), world.wanted(["web-12"], others=3)
    world.settle(first)
    steps = len(world.plan(second).steps)
    assert steps > 8
    for step in range(steps):
        plan = world.plan(second)
        cut = replace(plan, steps=(*plan.steps[:step], Killer()))  # type: ignore[arg-type]
        assert killed(lambda cut=cut: world.datapath.apply(cut))
        world.restart()
        assert all(report.done for report in world.settle(second))
        assert world.converged(second)
        assert all(report.done for report in world.settle(first))


def test_a_run_killed_at_any_moment_is_completed_by_the_next(world: KernelWorld) -> None:
    for name in ("web-11", "web-12", "web-13"):
        world.add_netns(name)
    states = [world.wanted(["web-11"]), changed_constants(world.wanted(["web-12", "web-13"]))]
    moments = random.Random(7)
    deaths = 0
    for number in range(8):
        desired = states[number % 2]
        deaths += killed(lambda desired=desired: world.settle(desired), moments.uniform(0, 0.4))
        world.restart()
        assert all(report.done for report in world.settle(desired))
        assert world.converged(desired)
    assert deaths
    world.datapath.remove()
    assert "rv" not in world.place.ip("host", "-br", "link")


def test_links_that_run_a_program_which_is_not_pinned_are_switched(world: KernelWorld) -> None:
    desired = world.wanted()
    world.settle(desired)
    pins = world.place.pins
    with libbpf.get(pins.path(Pinned.PROGRAM, "access")) as access:
        pins.put(Pinned.PROGRAM, "transit", access)  # as after a crash, or a clumsy hand
    world.restart()
    live = world.datapath.read()
    assert live.links[0].program.startswith("#")
    world.settle(desired)
    assert world.converged(desired)


def test_somebody_elses_program_is_left_alone_and_named(world: KernelWorld) -> None:
    world.add_device("tap0")
    world.settle(world.wanted())
    with libbpf.get(world.place.pins.path(Pinned.PROGRAM, "access")) as program:
        index = int(world.place.ip("host", "-o", "link", "show", "tap0").partition(":")[0])
        link = libbpf.create_xdp_link(program, index, 0)
    desired = world.wanted(["web-11"], attach={"web-11": {"interface": "tap0"}}, others=3)
    plan = world.plan(desired)
    report = world.datapath.apply(plan)
    (failure,) = report.failures
    assert failure.step == "link tap0"
    assert "another XDP program" in failure.reason
    assert report.hopeless
    assert report.partly
    assert report.counts.total == plan.counts.total - 1
    link.close()
    assert all(each.done for each in world.settle(desired))
    assert world.converged(desired)


def test_an_interface_that_cannot_be_made_does_not_hold_up_the_others(world: KernelWorld) -> None:
    for name in ("web-11", "web-12"):
        world.add_netns(name)
    command(
        "nsenter",
        f"--net={NETNS}/{world.place.name('web-11')}",
        *"sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1".split(),
    )
    desired = world.wanted(["web-11", "web-12"])
    reports = world.settle(desired)
    assert {failure.step for report in reports for failure in report.failures} == {
        f"interface {each.name}" for each in desired.interfaces if each.endpoint == "shop/web-11"
    }
    rows = world.datapath.read().tables["endpoints"]
    values, _ = rows.values, rows.keys
    assert len(np.unique(values["ifindex"])) >= 2


def test_rows_that_somebody_else_takes_away_are_not_reported_as_written(
    world: KernelWorld,
) -> None:
    world.settle(world.wanted())
    desired = world.wanted(others=6)
    plan = world.plan(desired)
    row = plan.diff.tables["hosts"].desired.take(np.array([-1]))
    stranger = RowStep(Change.DELETE, row, None, np.zeros(1, np.bool_), ())
    report = world.datapath.apply(replace(plan, steps=(*plan.steps, stranger)))
    assert [each.step for each in report.failures] == ["table hosts"]
    assert report.partly
    world.settle(desired)
    assert world.converged(desired)


def test_paths_to_hosts_that_are_no_more_are_collected(world: KernelWorld) -> None:
    world.settle(world.wanted(others=3))
    spec = MAPS["paths"]
    assert spec.ownership is Ownership.COLLECTED
    hosts = world.datapath.read().tables["hosts"]
    keys, values = np.zeros(4, spec.key.dtype), np.zeros(4, spec.value.dtype)
    keys["vni"] = range(1, 5)
    values["host"], values["host_slot"] = hosts.keys["address"], hosts.values["slot"]
    values["host_slot"][1] += 1  # the slot of another host
    world.write("paths", keys, values)
    world.settle(world.wanted(others=2))
    with world.map("paths") as fd:
        left, _ = tables.scan(fd, spec, 64)
    gone = {int(IPv4Address("172.31.0.4")), int(values["host"][1])}
    kept = keys["vni"][[host not in gone for host in values["host"].tolist()]]
    assert set(left["vni"].tolist()) == set(kept.tolist())


def test_without_a_bpf_file_system_the_remedy_is_named(place: Place, tmp_path: Path) -> None:
    world = KernelWorld(place)
    world.datapath = KernelDatapath(world.host, KernelConfig(tmp_path, NETNS))
    with pytest.raises(NoBpffsError, match="mount -t bpf bpf"):
        world.datapath.apply(world.plan(world.wanted()))


def test_without_compiled_programs_the_remedy_is_named(place: Place, tmp_path: Path) -> None:
    world = KernelWorld(place)
    world.config = replace(world.config, object_path=lambda name: tmp_path / name)
    world.restart()
    with pytest.raises(ObjectError, match="make bpf"):
        world.datapath.facts(world.wanted())


def test_a_renamed_or_dotted_interface_can_be_an_uplink(world: KernelWorld) -> None:
    world.add_device("eth0.100")
    desired = world.wanted(interface="eth0.100")
    world.settle(desired)
    assert world.converged(desired)
    assert world.place.pins.names(Pinned.LINK) == ["eth0.100"]


def test_fields_are_shown_by_name_in_bpftool(world: KernelWorld) -> None:
    world.settle(world.wanted())
    shown = command("bpftool", "map", "dump", "pinned", world.place.pins.path(Pinned.MAP, "hosts"))
    assert '"address"' in shown
    assert '"slot"' in shown


def test_notes_of_another_release_are_no_crash(world: KernelWorld) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11"])
    world.settle(desired)
    pins = world.place.pins
    (name,) = pins.names(Pinned.LINK)[:1]
    for kind, each in ((Noted.INTERFACE, name), (Noted.PROGRAM, "access"), (Noted.LINK, name)):
        pins.note(kind, each, {"v2": "anything"})
    world.restart()
    assert not world.plan(desired).empty
    world.settle(desired)
    assert world.converged(desired)


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_the_kernel_is_asked_for_next_hops_that_it_does_not_know(world: KernelWorld) -> None:
    place = world.place
    place.ip("host", "neigh", "flush", "dev", UPLINK, "nud", "permanent")
    place.netns("far")
    place.ip("host", "link", "set", "far0", "netns", place.name("far"))
    place.ip("far", "link", "set", "far0", "up")
    place.ip("far", "addr", "add", "172.31.0.2/24", "dev", "far0")
    desired = world.wanted(others=2)
    there, missing = IPv4Address("172.31.0.2"), IPv4Address("172.31.0.3")
    wait_until(lambda: there in world.datapath.facts(desired).next_hops)
    hops = world.datapath.facts(desired).next_hops
    mac = place.ip("far", "-o", "link", "show", "far0").partition("link/ether ")[2][:17]
    assert hops[there].mac.hex(":") == mac
    assert hops[there].uplink == UPLINK
    assert missing not in hops
    assert [each.fact for each in world.bound(desired).waiting] == ["next hop"]
    far = ["nsenter", f"--net={NETNS}/{place.name('far')}"]
    command(*far, "sysctl", "-qw", "net.ipv4.conf.far0.arp_notify=1")  # it says so, as routers do
    time.sleep(1.1)  # a neighbour is not believed twice in a second (arp(7), locktime)
    place.ip("far", "link", "set", "far0", "address", "02:00:00:00:07:07")
    wait_until(lambda: world.datapath.facts(desired).next_hops[there].mac[-1] == 7)


def test_a_next_hop_that_the_kernel_forgets_stays_until_it_does_not_answer(
    world: KernelWorld,
) -> None:
    desired, away = world.wanted(others=2), IPv4Address("172.31.0.2")
    before = world.datapath.facts(desired).next_hops
    world.place.ip("host", "neigh", "del", str(away), "dev", UPLINK)
    assert world.datapath.facts(desired).next_hops == before
    wait_until(lambda: away not in world.datapath.facts(desired).next_hops)
    assert away not in world.datapath.facts(desired).next_hops


def test_a_router_that_a_route_names_is_used_once_it_answers(world: KernelWorld) -> None:
    """Until then packets go by the old one; if it never answers, nowhere."""
    place, desired, away = world.place, world.wanted(others=2), IPv4Address("172.31.0.2")
    before = world.datapath.facts(desired).next_hops
    place.ip("host", *"route add 172.31.0.2/32 via 172.31.0.77".split())
    assert world.datapath.facts(desired).next_hops == before
    assert world.datapath.facts(desired).next_hops == before
    place.ip("host", *f"neigh replace 172.31.0.77 lladdr 02:00:00:00:00:77 dev {UPLINK}".split())
    assert world.datapath.facts(desired).next_hops[away].mac[-1] == 0x77
    place.ip("host", *"route replace 172.31.0.2/32 via 172.31.0.78".split())
    assert world.datapath.facts(desired).next_hops[away].mac[-1] == 0x77
    wait_until(lambda: away not in world.datapath.facts(desired).next_hops)


def test_a_gateway_is_the_next_hop_of_what_lies_behind_it(world: KernelWorld) -> None:
    place = world.place
    place.ip("host", *"route add 172.31.0.2/32 via 172.31.0.40".split())
    hops = world.datapath.facts(world.wanted(others=2)).next_hops
    assert hops[IPv4Address("172.31.0.2")].mac.hex() == "020000000128"
    assert hops[IPv4Address("172.31.0.3")].mac.hex() == "020000000103"
    place.ip("host", *"route add blackhole 172.31.0.3/32".split())
    hops = world.datapath.facts(world.wanted(others=2)).next_hops
    assert set(hops) == {IPv4Address("172.31.0.2")}


def test_many_hosts_have_their_next_hops(world: KernelWorld) -> None:
    hops = world.datapath.facts(world.wanted(others=50)).next_hops
    assert len(hops) == 50
