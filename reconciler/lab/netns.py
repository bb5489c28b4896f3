"""Network namespaces held open by a file: make, mark, remove, speak netlink inside, set sysctls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute, netns

from reconciler.datapath import rtnetlink as rt
from reconciler.datapath.netlink import (
    NetDevice,
    inside,
    make_netns,
    net_device,
    netns_exists,
)

Result = TypeVar("Result")


def create(path: Path, mark: str) -> None:
    """Make it unless it is there, its loopback up and marked."""
    if not netns_exists(path):
        make_netns(path, mark)


def remove(path: Path) -> None:
    """Forget it; the namespace goes with its last process and socket. Twice is once."""
    with suppress(FileNotFoundError):
        netns.remove(str(path))


def mark_of(path: Path) -> str:
    """What `create`, or an agent, marked it with: the alias of its loopback; '' for none."""
    if not netns_exists(path):
        return ""
    loopback = inside(path, _loopback)
    return loopback.alias if loopback else ""


def _loopback() -> NetDevice | None:
    with rt.Socket() as route:
        return net_device(route, "lo")


def talk(path: Path, work: Callable[[IPRoute], Result]) -> Result:
    """What `work` returns, given a netlink socket of the namespace and called inside it."""

    def speak() -> Result:
        with IPRoute() as route:
            return work(route)

    return inside(path, speak)


def sysctl(values: Mapping[str, str]) -> None:
    """Set values of net/ of the calling thread's namespace, as "ipv4/ip_forward": "1"."""
    for key, value in values.items():
        Path("/proc/sys/net", key).write_text(value)
