"""Facts for tests: everything that a host could know, to take away from."""

from dataclasses import replace
from ipaddress import IPv4Address

from reconciler.compile.facts import Device, Facts, NextHop
from reconciler.compile.programs import is_transit
from reconciler.compile.state import HostState

UPLINK_MAC = bytes.fromhex("02000000aa01")


def complete(state: HostState) -> Facts:
    """Every fact that the state waits for; interface k of the state has index 100 + k."""
    (uplink,) = (link.interface for link in state.links if is_transit(link.program))
    devices = {uplink: Device(2, UPLINK_MAC, 1500, True)}
    for number, end in enumerate(state.interfaces):
        devices[end.name] = Device(100 + number, bytes([2, 0, 0, 1, 0, number]), 1438, True)
    hosts = [IPv4Address(each) for each in state.tables["hosts"].keys["address"].tolist()]
    return Facts(
        devices=devices,
        uplinks=(uplink,),
        next_hops={
            address: NextHop(bytes([2, 0, 0, 0, 9, slot]), uplink)
            for slot, address in enumerate(hosts)
        },
        host_slots={address: 10 + slot for slot, address in enumerate(hosts)},
        counter_slots={end.endpoint: 20 + number for number, end in enumerate(state.interfaces)},
        objects={"access": "a" * 16, "transit": "b" * 16, "drops": "c" * 16},
    )


def without_device(facts: Facts, name: str) -> Facts:
    """As if an interface were not there."""
    left = {each: device for each, device in facts.devices.items() if each != name}
    return replace(facts, devices=left)
