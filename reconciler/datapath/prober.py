"""Prober: sends probes to other hosts, and shares the map `health` with the data plane.

What a host answers is heard by the program transit, which notes the time in the map; the map is
mapped into memory, so neither reading nor writing it is a system call. Used by one thread.
"""

from __future__ import annotations

import ctypes as ct
import mmap
import socket
import struct
import time
from contextlib import suppress
from ipaddress import IPv4Address

import numpy as np
from numpy.typing import NDArray

from reconciler.abi.generated import MAPS, Liveness, OptionFlag, Stage, Wire
from reconciler.abi.table import Rows
from reconciler.datapath import hops, libbpf, tables
from reconciler.datapath.errors import TransientError
from reconciler.datapath.pins import Pinned, Pins

CLASS = 0xC0  # CS6, network control (RFC 4594, 3.1): that a link is full makes no host dead
PORTS = 4  # source ports, in turn: of several ways through the underlay more than one is tried
COARSE = 6  # CLOCK_MONOTONIC_COARSE (clock_gettime(2)), which bpf_ktime_get_coarse_ns() reads
_CONTROL, _CRITICAL = 0x80, 0x40  # flags of Geneve (RFC 8926, 3.4)
_ETHERNET = 0x6558
_FREEBIND = 15  # IP_FREEBIND (ip(7)): the address may come later than the socket
# struct mmsghdr of a 64-bit machine (sendmmsg(2)), struct iovec, struct sockaddr_in (ip(7)).
# No byte may be left out: NumPy copies fields, not what is between them.
_MESSAGE = np.dtype([(each, "<u8") for each in ("name", "name_size", "iov", "iov_count", *"abcd")])
_BUFFER = np.dtype([("at", "<u8"), ("size", "<u8")])
_ADDRESS = np.dtype([("family", "<u2"), ("port", ">u2"), ("address", ">u4"), ("zero", "<u8")])

_sendmmsg = ct.CDLL(None, use_errno=True).sendmmsg
_sendmmsg.argtypes = (ct.c_int, ct.c_void_p, ct.c_uint, ct.c_int)


def health_clock() -> int:
    """Now, as columns of `health` have it: units of 2^Liveness.SHIFT ns, modulo 2^32, never 0."""
    return (time.clock_gettime_ns(COARSE) >> Liveness.SHIFT) % (1 << 32) or 1


def payload() -> bytes:
    """A probe's UDP payload: Geneve's header, our option, and nothing inside."""
    kind = OptionFlag.CRITICAL | Stage.PROBE
    geneve = struct.pack(">BBHI", 2, _CONTROL | _CRITICAL, _ETHERNET, 0)
    return geneve + struct.pack(">HBBI", Wire.OPTION_CLASS, kind, 1, 0)


class KernelProber:
    """See reconciler.datapath.protocol.Prober."""

    def __init__(self, pins: Pins, own: IPv4Address) -> None:
        """Raises TransientError while the map is not there, BpfError if it cannot be opened."""
        self._pins, self._sockets = pins, list[socket.socket]()
        fd = pins.get(Pinned.MAP, "health")
        if fd is None:
            raise TransientError("map health: is not there yet")
        with fd:
            info = libbpf.map_info(fd)
            if info.value_size != MAPS["health"].value.dtype.itemsize:
                raise TransientError("map health: another release laid it out")
            self._id = info.id
            size = info.capacity * info.value_size
            self._memory = mmap.mmap(fd.fileno(), -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        self.health: Rows = np.frombuffer(self._memory, MAPS["health"].value.dtype, info.capacity)
        self._payload = np.frombuffer(payload(), np.uint8)
        self._buffer = np.array([(self._payload.ctypes.data, self._payload.nbytes)], _BUFFER)
        self._turn = 0
        self.aim(np.zeros(0, np.uint32))
        for _ in range(PORTS):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._sockets.append(made)
            made.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, CLASS)
            made.bind((str(own), 0))

    def now(self) -> int:
        """See Prober."""
        return health_clock()

    def aim(self, addresses: NDArray[np.uint32]) -> None:
        """See Prober."""
        self._addresses = np.zeros(len(addresses), _ADDRESS)
        self._addresses["family"], self._addresses["port"] = socket.AF_INET, Wire.PORT
        self._addresses["address"] = addresses
        self._messages = np.zeros(len(addresses), _MESSAGE)
        step = np.arange(len(addresses), dtype=np.uint64) * np.uint64(_ADDRESS.itemsize)
        self._messages["name"] = np.uint64(self._addresses.ctypes.data) + step
        self._messages["name_size"] = _ADDRESS.itemsize
        self._messages["iov"], self._messages["iov_count"] = self._buffer.ctypes.data, 1

    def send(self, rows: NDArray[np.intp]) -> None:
        """See Prober. One system call, unless the stack refuses one of the addresses."""
        chosen = np.ascontiguousarray(self._messages[rows])
        self._turn = (self._turn + 1) % PORTS
        number, sent = self._sockets[self._turn].fileno(), 0
        while sent < len(chosen):
            at = chosen.ctypes.data + sent * _MESSAGE.itemsize
            done = _sendmmsg(number, at, len(chosen) - sent, socket.MSG_DONTWAIT)
            sent += max(done, 1)  # one that cannot be sent is a probe without an answer

    def doubt(self, rows: NDArray[np.intp]) -> None:
        """See Prober. A kernel that does not answer finds out by itself, later."""
        with suppress(TransientError):
            hops.ask_anew(IPv4Address(int(each)) for each in self._addresses["address"][rows])

    def tell(self) -> None:
        """See Prober."""
        fd = self._pins.get(Pinned.MAP, "generations")
        if fd is not None:
            with fd:
                tables.tell_written(fd)

    def replaced(self) -> bool:
        """See Prober."""
        with suppress(libbpf.BpfError):
            fd = self._pins.get(Pinned.MAP, "health")
            if fd is not None:
                with fd:
                    return libbpf.map_info(fd).id != self._id
        return True

    def close(self) -> None:
        """See Prober."""
        for each in self._sockets:
            each.close()
        self.health = np.zeros(0, MAPS["health"].value.dtype)
        with suppress(BufferError):  # whoever still looks at it keeps it mapped
            self._memory.close()
