"""Helpers over pyroute2: interfaces as values, work inside another namespace, errors sorted."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute, NetlinkError, netns
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted

from reconciler.datapath.errors import HostError, TransientError

IFF_UP = 1
ADDRGEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE
_DUMPS = 5  # how often a dump that a change interrupted is repeated
# The interface or namespace went away, or somebody else was faster: look again.
_PASSING = (
    errno.ENODEV,
    errno.ENOENT,
    errno.ESRCH,
    errno.EEXIST,
    errno.EADDRNOTAVAIL,
    errno.EBUSY,
    errno.EAGAIN,
    errno.EINTR,
    errno.ENOBUFS,
    errno.ETIMEDOUT,
)

Result = TypeVar("Result")


class NetlinkRefusedError(HostError):
    """The kernel refused a request for good."""


class NetlinkPassingError(TransientError):
    """The kernel refused a request because of something that changes by itself."""


@contextmanager
def attempting(what: str) -> Iterator[None]:
    """Turn an error of netlink, or of entering a namespace, into one of ours."""
    try:
        yield
    except NetlinkError as error:
        kind = NetlinkPassingError if error.code in _PASSING else NetlinkRefusedError
        raise kind(f"{what}: {error.args[1] if len(error.args) > 1 else error}") from error
    except OSError as error:
        kind = NetlinkPassingError if error.errno in _PASSING else NetlinkRefusedError
        raise kind(f"{what}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class NetDevice:
    """An interface as the kernel has it. Numbers are 0 and texts empty where there is none."""

    name: str
    ifindex: int
    mac: bytes
    mtu: int
    up: bool
    kind: str
    alias: str
    peer: int  # ifindex of the other end of a veth, in its own namespace
    peer_netns: int  # this namespace's number for that of the other end; -1: the same
    xdp_mode: str  # IFLA_XDP_ATTACHED, by the name that pyroute2 and iproute2 give it
    xdp_program: int  # id
    addrgen: int  # IFLA_INET6_ADDR_GEN_MODE; none where IPv6 is absent


def net_devices(route: IPRoute) -> dict[str, NetDevice]:
    """Every interface of the socket's namespace, by name."""
    found = (_net_device(message) for message in dump(lambda: list(route.get_links())))
    return {each.name: each for each in found}


def net_device(route: IPRoute, name: str) -> NetDevice | None:
    """One interface by name, or None."""
    try:
        return _net_device(next(iter(route.link("get", ifname=name))))
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise


def dump(ask: Callable[[], list[Any]]) -> list[Any]:
    """The answer to a dump; asked again if a change interrupted it (NLM_F_DUMP_INTR)."""
    for attempt in range(_DUMPS):
        try:
            return ask()
        except NetlinkDumpInterrupted:
            if attempt == _DUMPS - 1:
                raise NetlinkPassingError("a netlink dump changed each time") from None
    raise AssertionError("unreachable")


def _net_device(message: Any) -> NetDevice:
    information = message.get_attr("IFLA_LINKINFO")
    xdp = message.get_attr("IFLA_XDP")
    families = message.get_attr("IFLA_AF_SPEC")
    six = families.get_attr("AF_INET6") if families else None
    addrgen = six.get_attr("IFLA_INET6_ADDR_GEN_MODE") if six else ADDRGEN_NONE
    peer_netns = message.get_attr("IFLA_LINK_NETNSID")
    return NetDevice(
        name=message.get_attr("IFLA_IFNAME"),
        ifindex=message["index"],
        mac=bytes.fromhex((message.get_attr("IFLA_ADDRESS") or "").replace(":", "")),
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & IFF_UP),
        kind=(information.get_attr("IFLA_INFO_KIND") or "") if information else "",
        alias=message.get_attr("IFLA_IFALIAS") or "",
        peer=message.get_attr("IFLA_LINK") or 0,
        peer_netns=-1 if peer_netns is None else peer_netns,
        xdp_mode=(xdp.get_attr("IFLA_XDP_ATTACHED") or "") if xdp else "",
        xdp_program=(xdp.get_attr("IFLA_XDP_PROG_ID") or 0) if xdp else 0,
        addrgen=ADDRGEN_NONE if addrgen is None else addrgen,
    )


def netns_path(name: str, folder: Path) -> Path | None:
    """Where a namespace is: None is the host's own (''), an absolute path is itself."""
    return folder / name if name else None


def netns_exists(path: Path) -> bool:
    """Whether a network namespace is held open there; a bare file is left by a crash."""
    try:
        return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False


def make_netns(path: Path, alias: str) -> None:
    """Make a namespace with its loopback up and marked by `alias`."""
    path.unlink(missing_ok=True)  # a bare file; netns_exists said no
    netns.create(str(path))

    def prepare() -> None:
        with IPRoute() as route:
            route.link("set", index=1, state="up", ifalias=alias)

    inside(path, prepare)


def inside(path: Path | None, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, run by a thread that entered the namespace; None: right here.

    Nothing else of the process moves, and the thread ends with the work.
    """
    if path is None:
        return work()
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
