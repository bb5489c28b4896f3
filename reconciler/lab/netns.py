"""Named network namespaces: make, remove, tell apart, run something inside.

Names live where iproute2 keeps them, so that `ip netns` shows what the lab made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute, netns

FOLDER = Path("/run/netns")

Result = TypeVar("Result")


def path(name: str) -> Path:
    """The file that holds a namespace open."""
    return FOLDER / name


def exists(name: str) -> bool:
    """Whether `name` is a namespace; a bare file, left by a crash half-way, is none."""
    place = path(name)
    return place.exists() and place.stat().st_dev != FOLDER.stat().st_dev


def create(name: str) -> bool:
    """Make it unless it is there, with its loopback up; whether it was made now."""
    made = not exists(name)
    if made:
        path(name).unlink(missing_ok=True)
        netns.create(str(path(name)))
    with IPRoute(netns=str(path(name))) as route:
        route.link("set", index=1, state="up")
    return made


def remove(name: str) -> None:
    """Forget the name; the namespace goes with its last process and socket. Twice is once."""
    with suppress(FileNotFoundError):
        netns.remove(str(path(name)))


def inside(name: str, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, run by a thread that is in the namespace.

    Sockets made by it stay in the namespace whoever uses them; nothing else of the process moves.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            netns.setns(str(path(name)), flags=0)
            results.append(work())
        except BaseException as error:  # handed over to the caller, whatever it is
            errors.append(error)

    thread = threading.Thread(target=enter, name=f"in {name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def sysctl(values: dict[str, str]) -> None:
    """Set values of net/ of the calling thread's namespace, as "ipv4/ip_forward": "1"."""
    for key, value in values.items():
        Path("/proc/sys/net", key).write_text(value)
