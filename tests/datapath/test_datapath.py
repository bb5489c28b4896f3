"""What every datapath does, the kernel's and the fake alike."""

from dataclasses import replace

import numpy as np
import pytest

from reconciler.abi.generated import MAPS, EndpointFlag
from reconciler.compile.state import HostState
from reconciler.datapath.apply import CapacityError
from reconciler.datapath.protocol import EndpointTraffic
from reconciler.plan.diff import diff
from tests.datapath.worlds import UPLINK, World


def test_a_host_that_holds_nothing_reads_as_empty(world: World) -> None:
    live = world.datapath.read()
    assert diff(live, HostState.empty(world.host)).counts.total == 0


def test_what_was_applied_is_read_back_byte_for_byte(world: World) -> None:
    for name in ("web-11", "web-12"):
        world.add_netns(name)
    desired = world.wanted(["web-11", "web-12"])
    reports = world.settle(desired)
    assert all(report.done for report in reports), reports
    assert world.converged(desired)
    assert not world.bound(desired).waiting
    world.restart()
    assert world.converged(desired)


def test_reports_count_what_the_plan_said(world: World) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11"])
    plan = world.plan(desired)
    report = world.datapath.apply(plan)
    assert dict(report.written) == plan.diff.counts_by_kind
    assert report.counts == plan.counts
    assert not report.partly
    assert not report.failures


def test_a_second_apply_writes_nothing(world: World) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11"])
    world.settle(desired)
    plan = world.plan(desired)
    assert plan.empty
    assert world.datapath.apply(plan).counts.total == 0


def test_a_then_b_then_a_gives_the_same_tables(world: World) -> None:
    for name in ("web-11", "web-12", "web-13"):
        world.add_netns(name)
    first = world.wanted(["web-11", "web-12"], others=3)
    second = world.wanted(["web-12", "web-13"], others=2)
    world.settle(first)
    before = world.datapath.read()
    for desired in (second, first):
        assert all(report.done for report in world.settle(desired))
        assert world.converged(desired)
    after = world.datapath.read()
    # Slots and interface indices are the host's to give, and given anew.
    for name, table in before.tables.items():
        if name not in ("interfaces", "next_hops", "endpoints"):
            assert after.tables[name].without_facts() == table.without_facts()
    assert after.tables["endpoints"].without_facts() == before.tables["endpoints"].without_facts()
    assert (after.programs, after.links, after.interfaces) == (
        before.programs,
        before.links,
        before.interfaces,
    )


def test_there_are_as_many_writes_as_rows_that_differ(world: World) -> None:
    desired = world.wanted(others=20)
    world.settle(desired)
    hosts = world.datapath.read().tables["hosts"]
    values = hosts.values.copy()
    values["flags"][3:6] ^= 2
    world.write("hosts", hosts.keys[3:6], values[3:6])
    world.delete("hosts", hosts.keys[8:10])
    stranger = np.zeros(1, MAPS["hosts"].key.dtype)
    stranger["address"] = 0x0A0A0A0A
    world.write("hosts", stranger, values[:1])
    (report,) = world.settle(desired)
    counts = report.written["table hosts"]
    assert (counts.add, counts.change, counts.delete) == (2, 3, 1)
    assert report.counts.total == 6
    assert world.converged(desired)


@pytest.mark.parametrize("name", ["hosts", "next_hops"])
def test_a_row_that_somebody_writes_changes_the_fingerprint_and_back(
    world: World, name: str
) -> None:
    desired = world.wanted(others=20)
    world.settle(desired)
    before = world.datapath.fingerprint()
    world.restart()
    assert world.datapath.fingerprint() == before
    table = world.datapath.read().tables[name]
    world.delete(name, table.keys[3:4])
    without = world.datapath.fingerprint()
    values = table.values[3:4].copy()
    world.write(name, table.keys[3:4], values)
    values[MAPS[name].value.dtype.names[-1]] += 1
    world.write(name, table.keys[3:4], values)
    assert len({before, without, world.datapath.fingerprint()}) == 3
    world.write(name, table.keys[3:4], table.values[3:4])
    assert world.converged(desired)


def test_what_the_data_plane_writes_does_not_change_the_fingerprint(world: World) -> None:
    world.add_netns("web-11")
    world.settle(world.wanted(["web-11"]))
    before = world.datapath.fingerprint()
    world.count(1, EndpointTraffic(1, 2, 3, 4))
    assert world.datapath.fingerprint() == before


def test_a_missing_namespace_is_waited_for_and_completed(world: World) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11", "web-12"])
    world.settle(desired)
    assert world.converged(desired)
    (waiting,) = world.bound(desired).waiting
    assert waiting.origin == "Endpoint shop/web-12"
    assert waiting.fact == f"network namespace {world.place.name('web-12')}"
    world.add_netns("web-12")
    assert all(report.done for report in world.settle(desired))
    assert world.converged(desired)
    assert not world.bound(desired).waiting
    assert len(world.datapath.read().interfaces) == 2


def test_an_existing_interface_is_waited_for_and_completed(world: World) -> None:
    attach = {"web-11": {"interface": "tap0"}}
    desired = world.wanted(["web-11"], attach=attach)
    world.settle(desired)
    assert [each.fact for each in world.bound(desired).waiting] == ["interface tap0"]
    world.add_device("tap0")
    world.settle(desired)
    assert world.converged(desired)
    assert [each.interface for each in world.datapath.read().links] == ["tap0", UPLINK]
    world.settle(world.wanted())
    live = world.datapath.read()
    assert [each.interface for each in live.links] == [UPLINK]
    assert live.interfaces == ()


def test_a_deleted_interface_is_made_again(world: World) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11"])
    world.settle(desired)
    (interface,) = desired.interfaces
    world.remove_device(interface.name)
    live = world.datapath.read()
    assert live.interfaces == ()
    assert [each.interface for each in live.links] == [UPLINK]
    world.settle(desired)
    assert world.converged(desired)


def test_a_missing_uplink_is_waited_for_and_completed(world: World) -> None:
    desired = world.wanted(interface="other0")
    world.settle(desired)
    assert "interface other0" in {each.fact for each in world.bound(desired).waiting}
    world.add_device("other0")
    world.settle(desired)
    assert [each.interface for each in world.datapath.read().links] == ["other0"]


def test_falling_back_to_generic_mode_is_said_and_is_no_difference(world: World) -> None:
    world.add_device("br0", native=False)
    desired = world.wanted(interface="br0")
    (report,) = world.settle(desired)
    assert [note.partition(":")[0] for note in report.notes] == ["link br0 runs in generic mode"]
    assert world.converged(desired)
    (link,) = world.datapath.read().links
    assert link.fallback.startswith("runs in generic mode: native is refused")
    assert world.datapath.traffic().fallbacks == (f"br0 {link.fallback}",)
    world.restart()
    assert world.plan(desired).empty


def test_a_map_that_is_too_small_is_refused_before_anything_is_written(world: World) -> None:
    desired = world.wanted(others=40)
    plan = world.plan(desired)
    assert ["map hosts holds 32 rows, 41 are needed" in each.message for each in plan.refusals]
    with pytest.raises(CapacityError, match="map hosts holds 32 rows, 41 are needed"):
        world.datapath.apply(replace(plan, refusals=()))
    live = world.datapath.read()
    assert not any(len(table) for table in live.tables.values())
    assert live.programs == live.links == live.interfaces == ()


def test_counters_of_a_new_owner_start_at_zero(world: World) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11"])
    world.settle(desired)
    (slot,) = slots_of(world.datapath.read())
    world.count(slot, EndpointTraffic(1, 2, 3, 4))
    assert world.datapath.traffic().endpoints == {"shop/web-11": EndpointTraffic(1, 2, 3, 4)}
    world.settle(desired)
    assert world.datapath.traffic().endpoints == {"shop/web-11": EndpointTraffic(1, 2, 3, 4)}
    world.settle(world.wanted())
    assert world.datapath.traffic().endpoints == {}
    world.settle(desired)
    assert slots_of(world.datapath.read()) == {slot}
    assert world.datapath.traffic().endpoints == {"shop/web-11": EndpointTraffic(0, 0, 0, 0)}


def test_counters_survive_a_change_of_their_endpoint(world: World) -> None:
    for name in ("web-11", "web-12"):
        world.add_netns(name)
    world.settle(world.wanted(["web-11"]))
    (slot,) = slots_of(world.datapath.read())
    world.count(slot, EndpointTraffic(5, 6, 7, 8))
    world.settle(world.wanted(["web-11", "web-12"], others=3))
    assert world.datapath.traffic().endpoints["shop/web-11"] == EndpointTraffic(5, 6, 7, 8)


def test_slots_stay_with_their_owners(world: World) -> None:
    world.settle(world.wanted(others=5))
    before = host_slots(world.datapath.read())
    world.settle(world.wanted(others=8))
    after = host_slots(world.datapath.read())
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after)


def test_removing_leaves_nothing_and_twice_is_once(world: World) -> None:
    world.add_netns("web-11")
    desired = world.wanted(["web-11"])
    world.settle(desired)
    for _ in range(2):
        world.datapath.remove()
        live = world.datapath.read()
        assert diff(live, HostState.empty(world.host)).counts.total == 0
    world.settle(desired)
    assert world.converged(desired)


def test_a_refused_plan_is_not_carried_out(world: World) -> None:
    from dataclasses import replace

    from reconciler.plan.guards import Refusal

    plan = replace(world.plan(world.wanted()), refusals=(Refusal("PLN1", "no"),))
    with pytest.raises(ValueError, match="refused"):
        world.datapath.apply(plan)


def slots_of(live: HostState) -> set[int]:
    values = live.tables["endpoints"].values
    return set(values["counter"][(values["flags"] & EndpointFlag.LOCAL) != 0].tolist())


def host_slots(live: HostState) -> dict[int, int]:
    hosts = live.tables["hosts"]
    return dict(zip(hosts.keys["address"].tolist(), hosts.values["slot"].tolist(), strict=True))
