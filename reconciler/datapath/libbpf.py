"""The part of libbpf that we use: objects, maps, programs and links, as safe Python.

What maps hold is read and written by elements.py. Descriptors belong to `Fd` objects, which close
them; every failure is a BpfError that says what was attempted and, for a refused program, what the
verifier said.
"""

# ruff: noqa: PT028  (test_run is bpf(2)'s name for running a program, not a test)

from __future__ import annotations

import ctypes as ct
import errno
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reconciler.abi.spec import MapSpec
from reconciler.datapath import bindings as c
from reconciler.datapath.errors import HostError

XDP, TCX_INGRESS = 37, 46  # enum bpf_attach_type: BPF_XDP, BPF_TCX_INGRESS
TCX_LINK = 11  # enum bpf_link_type: BPF_LINK_TYPE_TCX
LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES
_OBJECT_NAME = 15  # bytes of a name in the kernel, without the terminating zero
_LOG_BYTES = 1 << 24  # of the verifier; address space only, until something is written
_LOG_LINES = 40  # how many of its last lines an error shows


class BpfError(HostError):
    """A bpf(2) command failed with `errno`; `log` is what libbpf and the verifier said."""

    def __init__(self, attempted: str, code: int, log: str = "") -> None:
        self.attempted, self.errno, self.log = attempted, code, log
        self.reason = _describe(code)
        lines = [f"{attempted}: {self.reason}", *log.strip().splitlines()[-_LOG_LINES:]]
        super().__init__("\n".join(lines))


def _describe(code: int) -> str:
    if code in errno.errorcode:
        return f"{os.strerror(code)} ({errno.errorcode[code]})"
    text = ct.create_string_buffer(128)  # libbpf has numbers of its own, from 4000 up
    c.strerror(code, text, len(text))
    return text.value.decode()


class _Owner(ABC):
    """Owns something of the kernel's until it is closed, at the latest where its block ends."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it; twice is once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class Fd(_Owner):
    """A file descriptor of a map, program or link; closed by close(), `with`, or the collector."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """The number; raises ValueError after close()."""
        if self._number < 0:
            raise ValueError("the descriptor is closed")
        return self._number

    def close(self) -> None:
        """Close it; twice is once."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def __del__(self) -> None:
        self.close()


c.set_print(None)  # libbpf would write to standard error
_printing = threading.Lock()  # its print function is one for the process


@contextmanager
def _messages() -> Iterator[list[str]]:
    """What libbpf says at level warning while the block runs."""
    said: list[str] = []

    def hear(level: int, form: int, arguments: int) -> int:
        if level == 0:
            text = ct.create_string_buffer(4096)
            c.vsnprintf(text, len(text), form, arguments)
            said.append(text.value.decode(errors="replace"))
        return 0

    heard = c.Print(hear)
    with _printing:
        c.set_print(heard)
        try:
            yield said
        finally:
            c.set_print(None)


def checked(result: int, attempted: str, log: str = "") -> int:
    if result < 0:
        raise BpfError(attempted, -result, log)
    return result


def opts(kind: Any, **fields: Any) -> Any:
    return kind(sz=ct.sizeof(kind), **fields)


class Object(_Owner):
    """A compiled object, opened and perhaps loaded; close() frees what it did not give away."""

    def __init__(self, elf: bytes, name: str) -> None:
        """Open the bytes of an ELF object; `name` is what errors call it."""
        self.name = name
        self._log = mmap(-1, _LOG_BYTES)
        log = ct.addressof(ct.c_char.from_buffer(self._log))
        options = opts(
            c.OpenOpts,
            object_name=name.encode()[:_OBJECT_NAME],
            kernel_log_buf=log,
            kernel_log_size=_LOG_BYTES,
        )
        with _messages() as said:
            self._object = c.open_mem(elf, len(elf), ct.byref(options))
        if not self._object:
            # libbpf 1 returns NULL and sets errno; bcc's handle keeps ctypes' copy of it.
            raise BpfError(f"opening object {name}", ct.get_errno() or errno.EINVAL, "".join(said))

    @classmethod
    def open(cls, path: Path) -> Object:
        """Open an object file."""
        return cls(path.read_bytes(), path.name.split(".")[0])

    def close(self) -> None:
        """Free it; twice is once."""
        handle, self._object = self._object, None
        if handle:
            c.close(handle)

    def _walk(self, following: Any) -> Iterator[int]:
        found = following(self._object, None)
        while found:
            yield found
            found = following(self._object, found)

    def _map(self, name: str) -> int:
        found: int | None = c.find_map(self._object, name.encode())
        if not found:
            raise BpfError(f"object {self.name}: map {name}", errno.ENOENT)
        return found

    def maps(self) -> tuple[str, ...]:
        """Names of the maps it defines, without sections of data such as .rodata."""
        every = self._walk(c.next_map)
        return tuple(c.map_name(each).decode() for each in every if not c.map_is_internal(each))

    def programs(self) -> tuple[str, ...]:
        """Names of the programs it defines."""
        return tuple(c.program_name(each).decode() for each in self._walk(c.next_program))

    def set_autoload(self, program: str, wanted: bool) -> None:
        """Whether load() loads this program; by default it loads all."""
        found = c.find_program(self._object, program.encode())
        if not found:
            raise BpfError(f"object {self.name}: program {program}", errno.ENOENT)
        checked(c.program_autoload(found, wanted), f"object {self.name}: autoload of {program}")

    def set_max_entries(self, name: str, count: int) -> None:
        """Choose the capacity of a map that load() will create."""
        done = c.map_set_max_entries(self._map(name), count)
        checked(done, f"object {self.name}: capacity {count} of map {name}")

    def reuse_map(self, name: str, fd: Fd) -> None:
        """Use an existing map instead of creating one; the descriptor stays the caller's."""
        done = c.map_reuse_fd(self._map(name), fd.fileno())
        checked(done, f"object {self.name}: use of an existing map as {name}")

    def initial_value(self, section: str) -> bytes:
        """Contents of a section of data, such as .rodata, as load() will write them."""
        size = ct.c_size_t()
        at = c.map_initial_value(self._map(section), ct.byref(size))
        return ct.string_at(at, size.value) if at else b""

    def set_initial_value(self, section: str, value: bytes) -> None:
        """Replace the contents of a section of data; the size cannot change."""
        done = c.map_set_initial_value(self._map(section), value, len(value))
        checked(done, f"object {self.name}: contents of {section}")

    def load(self) -> None:
        """Create maps and load programs; a refusal carries the verifier's log."""
        with _messages() as said:
            result = c.load(self._object)
        if result < 0:
            log = "".join(said) + self._log[: self._log.find(b"\0")].decode(errors="replace")
            raise BpfError(f"loading object {self.name}", -result, log)

    def map_fd(self, name: str) -> Fd:
        """A descriptor of a map after load(), which outlives the object."""
        number = checked(c.map_fd(self._map(name)), f"object {self.name}: descriptor of map {name}")
        return Fd(os.dup(number))

    def program_fd(self, name: str) -> Fd:
        """A descriptor of a program after load(), which outlives the object."""
        found = c.find_program(self._object, name.encode())
        number = c.program_fd(found) if found else -errno.ENOENT
        return Fd(os.dup(checked(number, f"object {self.name}: descriptor of program {name}")))


@dataclass(frozen=True, slots=True)
class MapInfo:
    """A map as the kernel has it. `kind` is a number of enum bpf_map_type."""

    id: int
    kind: int
    key_size: int
    value_size: int
    capacity: int
    flags: int
    name: str
    btf_id: int  # of the BTF it was made with; 0: none


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """A loaded program. `tag` is the kernel's digest of its instructions."""

    id: int
    tag: str
    name: str
    map_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A link; `ifindex` is that of XDP or tc, and 0 once its interface is gone."""

    id: int
    program_id: int
    ifindex: int
    is_tc: bool = False


def _info(fd: Fd, info: Any, what: str) -> Any:
    size = ct.c_uint32(ct.sizeof(info))
    checked(c.obj_info(fd.fileno(), ct.byref(info), ct.byref(size)), f"reading about a {what}")
    return info


def map_info(fd: Fd) -> MapInfo:
    """What the kernel says of a map."""
    got = _info(fd, c.MapInfo(), "map")
    name = got.name.decode()
    sizes = got.key_size, got.value_size, got.max_entries
    return MapInfo(got.id, got.type, *sizes, got.map_flags, name, got.btf_id)


def program_info(fd: Fd) -> ProgramInfo:
    """What the kernel says of a program."""
    room = (ct.c_uint32 * 64)()
    asked = c.ProgramInfo(nr_map_ids=len(room), map_ids=ct.addressof(room))
    got = _info(fd, asked, "program")
    maps = tuple(room[: min(got.nr_map_ids, len(room))])
    return ProgramInfo(got.id, bytes(got.tag).hex(), got.name.decode(), maps)


def link_info(fd: Fd) -> LinkInfo:
    """What the kernel says of a link of XDP or tc."""
    got = _info(fd, c.LinkInfo(), "link")
    return LinkInfo(got.id, got.prog_id, got.ifindex, got.type == TCX_LINK)


def program_by_id(number: int) -> Fd:
    """Open a loaded program by its id."""
    return Fd(checked(c.program_by_id(number), f"opening program {number}"))


def map_by_id(number: int) -> Fd:
    """Open a map by its id."""
    return Fd(checked(c.map_by_id(number), f"opening map {number}"))


def btf(number: int) -> bytes:
    """The BTF of this id, as the section .BTF of the object had it."""
    with Fd(checked(c.btf_by_id(number), f"opening BTF {number}")) as fd:
        data = ct.create_string_buffer(_info(fd, c.BtfInfo(), "BTF").size)
        _info(fd, c.BtfInfo(data=ct.addressof(data), size=len(data)), "BTF")
    return data.raw


def create_map(spec: MapSpec, capacity: int | None = None) -> Fd:
    """Create a map without BTF of its own; a program's object creates it with (Object.load)."""
    options = opts(c.CreateOpts, map_flags=spec.flags)
    name = spec.name.encode()[:_OBJECT_NAME]
    sizes = spec.key.dtype.itemsize, spec.value.dtype.itemsize
    result = c.map_create(
        int(spec.kind), name, *sizes, capacity or spec.capacity, ct.byref(options)
    )
    return Fd(checked(result, f"creating map {spec.name}"))


def pin(fd: Fd, path: Path) -> None:
    """Give a map, program or link a name in a BPF file system."""
    checked(c.obj_pin(fd.fileno(), os.fsencode(path)), f"pinning {path}")


def get(path: Path) -> Fd:
    """Open what is pinned."""
    return Fd(checked(c.obj_get(os.fsencode(path)), f"opening {path}"))


def create_xdp_link(program: Fd, ifindex: int, flags: int) -> Fd:
    """Attach an XDP program to an interface of the current namespace, with XDP_FLAGS_*."""
    return _create_link(program, ifindex, XDP, flags)


def create_tc_link(program: Fd, ifindex: int) -> Fd:
    """Attach a tc program to what an interface of the current namespace receives (kernel 6.6)."""
    return _create_link(program, ifindex, TCX_INGRESS, 0)


def _create_link(program: Fd, ifindex: int, kind: int, flags: int) -> Fd:
    options = opts(c.LinkCreateOpts, flags=flags)
    with _messages() as said:
        result = c.link_create(program.fileno(), ifindex, kind, ct.byref(options))
    return Fd(checked(result, f"attaching to interface {ifindex}", "".join(said)))


def attach_tracepoint(program: Fd) -> Fd:
    """Attach a program of a section tp_btf/... to the tracepoint that it was loaded for."""
    result = c.tracepoint_open(None, program.fileno())
    return Fd(checked(result, "attaching to a tracepoint"))


def update_link(link: Fd, program: Fd) -> None:
    """Switch a link to another program: a packet sees the one or the other, never none."""
    options = opts(c.LinkUpdateOpts)
    checked(c.link_update(link.fileno(), program.fileno(), ct.byref(options)), "switching a link")


def detach_link(link: Fd) -> None:
    """Detach now, whoever else holds the link."""
    checked(c.link_detach(link.fileno()), "detaching a link")


# membarrier(2) has no function in glibc: its number in the kernel's tables.
_MEMBARRIER = {"x86_64": 324, "aarch64": 283}


def quiesce() -> None:
    """Return once no program runs that was detached or replaced before the call.

    MEMBARRIER_CMD_GLOBAL (1) is synchronize_rcu() (kernel/sched/membarrier.c), and programs run as
    its readers. Where it is refused, as with nohz_full, a pause is all there is.
    """
    number = _MEMBARRIER.get(os.uname().machine)
    if number is None or c.syscall(number, 1, 0, 0) != 0:
        time.sleep(0.1)


def possible_cpus() -> int:
    """How many values a per-CPU row has."""
    return checked(c.cpus(), "counting CPUs")


def test_run(
    program: Fd,
    packet: bytes,
    *,
    ifindex: int = 0,
    queue: int = 0,
    repeat: int = 1,
    room: int = 1024,
    live: bool = False,
) -> tuple[int, bytes, int]:
    """Run an XDP program on a frame (Documentation/bpf/bpf_prog_run.rst of the kernel).

    `ifindex` is the interface the frame seems to come in on (0: the loopback's own). Returns the
    verdict, the frame as it is afterwards (`room` is how much it may grow), and the mean
    nanoseconds of `repeat` runs, each on what the run before left. `live` frames go where the
    verdict sends them, and nothing comes back.
    """
    frame = ct.create_string_buffer(packet, len(packet))
    out = ct.create_string_buffer(len(packet) + room)
    context = c.XdpMd(data_end=len(packet), ingress_ifindex=ifindex, rx_queue_index=queue)
    options = opts(
        c.TestRunOpts,
        data_in=ct.addressof(frame),
        data_size_in=len(packet),
        repeat=repeat,
        flags=LIVE_FRAMES if live else 0,
    )
    if ifindex or queue:
        options.ctx_in, options.ctx_size_in = ct.addressof(context), ct.sizeof(context)
    if not live:
        options.data_out, options.data_size_out = ct.addressof(out), len(out)
    checked(c.test_run(program.fileno(), ct.byref(options)), "running a program on a frame")
    return options.retval, out.raw[: options.data_size_out], options.duration
