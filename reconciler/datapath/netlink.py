"""Interfaces as values, work inside another namespace, errors sorted by who can help."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute, NetlinkError, netns

from reconciler.datapath import rtnetlink as rt
from reconciler.datapath.errors import HostError, TransientError

ADDRGEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE
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
    xdp_mode: int  # IFLA_XDP_ATTACHED
    xdp_program: int  # id
    addrgen: int  # IFLA_INET6_ADDR_GEN_MODE; none where IPv6 is absent


def net_devices(route: rt.Socket) -> dict[str, NetDevice]:
    """Every interface of the socket's namespace, by name."""
    found = (_net_device(answer) for answer in route.dump(rt.GETLINK, _LINK + _NO_STATISTICS))
    return {each.name: each for each in found}


def net_device(route: rt.Socket, name: str) -> NetDevice | None:
    """One interface by name, or None."""
    named = rt.attribute(rt.IFLA_IFNAME, name.encode() + b"\0")
    try:
        return _net_device(route.one(rt.GETLINK, _LINK + named + _NO_STATISTICS))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def netns_number(route: rt.Socket, path: Path) -> int:
    """By which number the socket's namespace knows another, -1 if it does not."""
    with path.open("rb") as other:
        asked = rt.attribute(rt.NETNSA_FD, other.fileno().to_bytes(4, sys.byteorder))
        answer = route.one(rt.GETNSID, bytes(4) + asked)
    return rt.number(rt.attributes(answer.body, 4).get(rt.NETNSA_NSID), -1)


_LINK = rt.LINK.pack(0, 0, 0, 0, 0, 0)
_NO_STATISTICS = rt.attribute(
    rt.IFLA_EXT_MASK, rt.RTEXT_FILTER_SKIP_STATS.to_bytes(4, sys.byteorder)
)


def _net_device(message: rt.Message) -> NetDevice:
    _, _, _, ifindex, flags, _ = rt.LINK.unpack_from(message.body)
    found = rt.attributes(message.body, rt.LINK.size)
    xdp = rt.attributes(found.get(rt.IFLA_XDP, b""))
    six = rt.attributes(rt.attributes(found.get(rt.IFLA_AF_SPEC, b"")).get(socket.AF_INET6, b""))
    return NetDevice(
        name=rt.text(found.get(rt.IFLA_IFNAME)),
        ifindex=ifindex,
        mac=found.get(rt.IFLA_ADDRESS, b""),
        mtu=rt.number(found.get(rt.IFLA_MTU)),
        up=bool(flags & rt.IFF_UP),
        kind=rt.text(rt.attributes(found.get(rt.IFLA_LINKINFO, b"")).get(rt.IFLA_INFO_KIND)),
        alias=rt.text(found.get(rt.IFLA_IFALIAS)),
        peer=rt.number(found.get(rt.IFLA_LINK)),
        peer_netns=rt.number(found.get(rt.IFLA_LINK_NETNSID), -1),
        xdp_mode=xdp.get(rt.IFLA_XDP_ATTACHED, b"\0")[0],
        xdp_program=rt.number(xdp.get(rt.IFLA_XDP_PROG_ID)),
        addrgen=six.get(rt.IFLA_INET6_ADDR_GEN_MODE, bytes([ADDRGEN_NONE]))[0],
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

    def visit(enter: Callable[[Path | None], None]) -> Result:
        enter(path)
        return work()

    return roam(visit)


def roam(work: Callable[[Callable[[Path | None], None]], Result]) -> Result:
    """What `work` returns or raises, run by a thread that `work` can move into namespaces.

    It is given a function that does so; None is where the caller is.
    """
    results: list[Result] = []
    errors: list[BaseException] = []
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def enter(path: Path | None) -> None:
        netns.setns(home if path is None else str(path), flags=0)

    def run() -> None:
        try:
            results.append(work(enter))
        except BaseException as error:  # handed over to the caller, whatever it is
            errors.append(error)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    os.close(home)
    if errors:
        raise errors[0]
    return results[0]
