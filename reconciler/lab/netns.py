"""Network namespaces held open by a file: make, remove, tell apart, run something inside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute, netns

MARK = "reconciler"  # how the alias of the loopback begins where an agent made the namespace

Result = TypeVar("Result")


def exists(path: Path) -> bool:
    """Whether `path` is a namespace; a bare file, left by a crash half-way, is none."""
    return path.exists() and path.stat().st_dev != path.parent.stat().st_dev


def create(path: Path) -> None:
    """Make it unless it is there, with its loopback up."""
    if not exists(path):
        path.unlink(missing_ok=True)
        netns.create(str(path))
    talk(path, lambda route: route.link("set", index=1, state="up"))


def remove(path: Path) -> None:
    """Forget it; the namespace goes with its last process and socket. Twice is once."""
    with suppress(FileNotFoundError):
        netns.remove(str(path))


def inside(path: Path, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, run by a thread that is in the namespace.

    Sockets made by it stay in the namespace whoever uses them; nothing else of the process moves.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            netns.setns(str(path), flags=0)
            results.append(work())
        except BaseException as error:  # handed over to the caller, whatever it is
            errors.append(error)

    thread = threading.Thread(target=enter, name=f"in {path.name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


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


def marked(path: Path) -> bool:
    """Whether an agent made this namespace."""
    return exists(path) and talk(path, _alias).startswith(MARK)


def _alias(route: IPRoute) -> str:
    return str(route.get_links(1)[0].get("ifalias") or "")
