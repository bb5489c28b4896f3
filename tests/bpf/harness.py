"""Runs the real programs on single frames (BPF_PROG_TEST_RUN) over private maps that a test fills.

`Bench` holds both programs, loaded once and sharing their maps; `World` writes rows in the words of
the design and takes them away again; an `Outcome` is what a program did with a frame, and why.
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from reconciler.abi.generated import (
    CONSTANTS,
    MAPS,
    EndpointFlag,
    Generation,
    HostFlag,
    Reason,
)
from reconciler.abi.table import Table
from reconciler.compile.check import fill_check
from reconciler.datapath import bindings, elements, libbpf
from reconciler.datapath.objects import set_constants
from reconciler.datapath.prober import COARSE, health_clock

OBJECTS = Path(__file__).resolve().parents[2] / "bpf" / "build"
PROGRAMS = ("access", "transit")
INTERFACE = 1  # frames seem to come in on the loopback: the one interface every namespace has

SELF = "172.16.0.1"
SHORTEST_SK_BUFF, LONGEST_SK_BUFF = 14 + 20, 3000  # all kernels' test runs make those between
ROUTER = "02:00:5e:00:00:01"
UPLINK = "02:aa:00:00:00:01"
PATH_SECONDS = 60
CAPACITY = {"endpoints": 16384, "paths": 16384, "networks": 4096, "bouncers": 1024, "hosts": 1024}


class Xdp(IntEnum):
    """enum xdp_action of linux/bpf.h; verdicts of tc are translated."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


# TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_REDIRECT of linux/pkt_cls.h
_OF_TC = {2**32 - 1: Xdp.PASS, 2: Xdp.DROP, 7: Xdp.REDIRECT}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict, the reason it was counted under, and the frame as it is afterwards."""

    action: Xdp
    reason: Reason
    frame: bytes


def mac(text: str) -> bytes:
    """Six bytes of 02:00:00:00:00:01."""
    return bytes.fromhex(text.replace(":", ""))


def address(text: str) -> NDArray[np.uint8]:
    """Sixteen bytes of an overlay address; IPv4 is mapped."""
    found = ip_address(text)
    whole = found.packed if found.version == 6 else bytes(10) + b"\xff\xff" + found.packed
    return np.frombuffer(whole, np.uint8)


class Bench:
    """Both programs and their maps, as on the host of the given underlay address; XDP's or tc's.

    `processors`: as many as remember flows, if not those of this machine.
    """

    def __init__(
        self,
        host: str = SELF,
        objects: Path = OBJECTS,
        hook: str = "xdp",
        processors: int | None = None,
    ) -> None:
        self.host, self.hook = host, hook
        suffix = "_tc" if hook == "tc" else ""
        self.maps: dict[str, libbpf.Fd] = {}
        self.programs: dict[str, libbpf.Fd] = {}
        self.cpus = libbpf.possible_cpus()
        for program in PROGRAMS:
            path = objects / f"{program}{suffix}.bpf.o"
            with libbpf.Object.open(path) as opened:
                set_constants(opened, path.read_bytes(), self._constants(), processors)
                self._load(opened, program, f"{program}{suffix}")

    def _constants(self) -> bytes:
        constants = np.zeros(1, CONSTANTS.dtype)
        constants["self"] = int(IPv4Address(self.host))
        constants["router_mac"] = np.frombuffer(mac(ROUTER), np.uint8)
        constants["path_seconds"] = PATH_SECONDS
        return constants.tobytes()

    def _load(self, opened: libbpf.Object, program: str, function: str) -> None:
        for name in opened.maps():
            if name not in MAPS:
                continue  # the program's own
            if name in self.maps:
                opened.reuse_map(name, self.maps[name])
            elif name in CAPACITY:
                opened.set_max_entries(name, CAPACITY[name])
        opened.load()
        for name in opened.maps():
            if name in MAPS:
                self.maps.setdefault(name, opened.map_fd(name))
        self.programs[program] = opened.program_fd(function)

    def written(self) -> None:
        """Say, as the control plane does, that rows were written."""
        number = time.monotonic_ns().to_bytes(8, "little")
        key = Generation.WRITTEN.to_bytes(4, "little")
        elements.update(self.maps["generations"], key, number)

    def close(self) -> None:
        """Let go of programs and maps."""
        for each in (*self.maps.values(), *self.programs.values()):
            each.close()

    def per_cpu(self, name: str, index: int) -> dict[str, int]:
        """A per-CPU row, summed."""
        spec = MAPS[name].value.dtype
        raw = elements.lookup(
            self.maps[name], index.to_bytes(4, "little"), spec.itemsize * self.cpus
        )
        assert raw is not None
        rows = np.frombuffer(raw, spec)
        return {column: int(rows[column].sum()) for column in spec.names or ()}

    def reasons(self) -> NDArray[np.uint64]:
        """Packets counted under each reason."""
        spec = MAPS["reasons"]
        keys = np.zeros(Reason.COUNT, spec.key.dtype)
        values = np.zeros(Reason.COUNT * self.cpus, spec.value.dtype)
        elements.lookup_batch(self.maps["reasons"], None, keys, values, len(keys))
        counted: NDArray[np.uint64] = values["packets"].reshape(-1, self.cpus).sum(axis=1)
        return counted

    def verdict(self, program: str, frame: bytes) -> tuple[Xdp, bytes]:
        """What a program says of a frame, and the frame as it is afterwards."""
        if self.hook == "tc":
            return run_tc(self.programs[program], frame)
        action, out, _ = libbpf.test_run(self.programs[program], frame)
        return Xdp(action), out

    def run(self, program: str, frame: bytes, occupied: int = 0) -> Outcome:
        """Run a program once on a frame; exactly one reason must have been counted.

        `occupied` bytes of the room in front of the frame are metadata, as a driver may put there.
        """
        before = self.reasons()
        if occupied:
            action, out = _run_occupied(self.programs[program], frame, occupied)
        else:
            action, out = self.verdict(program, frame)
        counted = self.reasons() - before
        assert counted.sum() == 1, f"{counted.sum()} reasons counted"
        return Outcome(Xdp(action), Reason(int(counted.argmax())), out)


def _run_occupied(program: libbpf.Fd, frame: bytes, occupied: int) -> tuple[int, bytes]:
    """Like libbpf.test_run, with metadata; raises BpfError where the kernel allows less of it."""
    whole = bytes(occupied) + frame
    given, out = ct.create_string_buffer(whole, len(whole)), ct.create_string_buffer(4096)
    context = bindings.XdpMd(data=occupied, data_end=len(whole))
    options = bindings.TestRunOpts(
        sz=ct.sizeof(bindings.TestRunOpts),
        data_in=ct.addressof(given),
        data_size_in=len(whole),
        data_out=ct.addressof(out),
        data_size_out=len(out),
        ctx_in=ct.addressof(context),
        ctx_size_in=ct.sizeof(context),
        repeat=1,
    )
    result = bindings.test_run(program.fileno(), ct.byref(options))
    if result:
        raise libbpf.BpfError("running a program on a frame", -result)
    return options.retval, out.raw[: options.data_size_out]


def run_tc(
    program: libbpf.Fd, frame: bytes, *, gso_size: int = 0, flags: int = 0
) -> tuple[Xdp, bytes]:
    """Like libbpf.test_run for a program of tc; `gso_size` as of a large segment."""
    given = ct.create_string_buffer(frame, len(frame))
    out = ct.create_string_buffer(len(frame) + 1024)
    context = np.zeros(48, np.uint32)  # struct __sk_buff of linux/bpf.h
    context[9] = INTERFACE  # ingress_ifindex
    if gso_size:
        context[41], context[44] = 2, gso_size  # gso_segs, gso_size
    options = bindings.TestRunOpts(
        sz=ct.sizeof(bindings.TestRunOpts),
        data_in=ct.addressof(given),
        data_size_in=len(frame),
        data_out=ct.addressof(out),
        data_size_out=len(out),
        ctx_in=context.ctypes.data,
        ctx_size_in=context.nbytes,
        repeat=1,
        flags=flags,
    )
    result = bindings.test_run(program.fileno(), ct.byref(options))
    if result == -errno.EINVAL and not SHORTEST_SK_BUFF <= len(frame) <= LONGEST_SK_BUFF:
        pytest.skip("not on this machine: a kernel that makes an sk_buff of so few or many bytes")
    if result:
        raise libbpf.BpfError("running a program on a frame", -result)
    return _OF_TC[options.retval], out.raw[: options.data_size_out]


class World:
    """Rows of one host's maps, taken away again by clear()."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._written: list[tuple[str, bytes]] = []
        self._counters = 0

    def write(self, name: str, key: dict[str, Any], value: dict[str, Any]) -> Self:
        """Write a row; its `check` is right unless `value` says otherwise."""
        keys, values = self.row(name, key, value)
        elements.update(self.bench.maps[name], keys.tobytes(), values.tobytes())
        self.bench.written()
        self._written.append((name, keys.tobytes()))
        return self

    def load(self, table: Table) -> None:
        """Write the rows of a bound table, as they are."""
        for key, value in zip(table.keys, table.values, strict=True):
            elements.update(self.bench.maps[table.spec.name], key.tobytes(), value.tobytes())
            self._written.append((table.spec.name, key.tobytes()))
        self.bench.written()

    @staticmethod
    def row(name: str, key: dict[str, Any], value: dict[str, Any]) -> tuple[Any, Any]:
        """One key and one value as arrays."""
        keys = np.zeros(1, MAPS[name].key.dtype)
        values = np.zeros(1, MAPS[name].value.dtype)
        for column, cell in key.items():
            keys[column] = cell
        for column, cell in value.items():
            values[column] = cell
        if "check" in (values.dtype.names or ()) and "check" not in value:
            values = fill_check(keys, values)
        return keys, values

    def path(self, vni: int, where: str) -> str | None:
        """The host that an endpoint's direct path leads to, if there is one."""
        found = self.read_path(vni, where)
        return found["host"] if found else None

    def read_path(self, vni: int, where: str) -> dict[str, Any] | None:
        """The columns of a direct path; `age` in units of the data plane's clock."""
        keys, values = self.row("paths", {"vni": vni, "address": address(where)}, {})
        raw = elements.lookup(self.bench.maps["paths"], keys.tobytes(), values.itemsize)
        if raw is None:
            return None
        found = np.frombuffer(raw, values.dtype)[0]
        return {
            "host": str(IPv4Address(int(found["host"]))),
            "slot": int(found["host_slot"]),
            "age": (clock() - int(found["seen"])) & 0xFFFF,
        }

    def learn(self, vni: int, where: str, host: str, age: int = 0, **columns: Any) -> Self:
        """Write a direct path, last seen `age` units of the data plane's clock ago."""
        seen = clock() - age
        cells = {"host": int(IPv4Address(host)), "host_slot": slot(host), "seen": seen & 0xFFFF}
        key = {"vni": vni, "address": address(where)}
        return self.write("paths", key, {**cells, **columns})

    def interface(self, vni: int, network: int, ifindex: int = INTERFACE) -> Self:
        """An endpoint's interface; frames of a run come in on INTERFACE."""
        return self.write("interfaces", {"ifindex": ifindex}, {"vni": vni, "network": network})

    def local(self, vni: int, where: str, hardware: str, **columns: Any) -> int:
        """A local endpoint; returns its counter slot."""
        self._counters += 1
        columns = {"ifindex": INTERFACE, "counter": self._counters, **columns}
        cells = {"flags": EndpointFlag.LOCAL, "mac": np.frombuffer(mac(hardware), np.uint8)}
        self.write("endpoints", {"vni": vni, "address": address(where)}, {**cells, **columns})
        return int(columns["counter"])

    def remote(self, vni: int, where: str, host: str, network: int = 0, **columns: Any) -> Self:
        """What a bouncer knows of an endpoint elsewhere."""
        cells = {"host": int(IPv4Address(host)), "host_slot": slot(host), "network": network}
        return self.write(
            "endpoints", {"vni": vni, "address": address(where)}, {**cells, **columns}
        )

    def gateway(self, vni: int, where: str) -> Self:
        """The virtual router's address in a network."""
        cells = {"flags": EndpointFlag.GATEWAY}
        return self.write("endpoints", {"vni": vni, "address": address(where)}, cells)

    def router(self, vni: int, network: int, ipv4: str = "", ipv6: str = "") -> Self:
        """The addresses that the virtual router speaks from in a network."""
        cells = {"ipv4": int(IPv4Address(ipv4))} if ipv4 else {}
        more = {"ipv6": address(ipv6)} if ipv6 else {}
        return self.write("routers", {"vni": vni, "network": network}, {**cells, **more})

    def network(self, vni: int, cidr: str, number: int) -> Self:
        """What a divider knows of a network."""
        subnet = ip_network(cidr)
        length = subnet.prefixlen + (96 if subnet.version == 4 else 0) + 32
        key = {"prefix_length": length, "vni": vni, "address": address(str(subnet[0]))}
        return self.write("networks", key, {"number": number})

    def bouncers(self, vni: int, network: int, *hosts: str, **columns: Any) -> Self:
        """The hosts that bounce a network."""
        return self.write(
            "bouncers", {"vni": vni, "network": network}, {**host_set(hosts), **columns}
        )

    def dividers(self, vni: int, *hosts: str, **columns: Any) -> Self:
        """The hosts that divide a VPC."""
        return self.write("dividers", {"vni": vni}, {**host_set(hosts), **columns})

    def foreign(self, vni: int, where: str, host: str, hardware: str, **columns: Any) -> Self:
        """What a bouncer knows of an endpoint on a foreign host."""
        octets = np.frombuffer(mac(hardware), np.uint8)
        cells = {"flags": EndpointFlag.FOREIGN, "mac": octets}
        return self.remote(vni, where, host, **{**cells, **columns})

    def host(
        self, where: str, hardware: str = "", uplink: int = 0, *, foreign: bool = False
    ) -> Self:
        """A host that is known and, unless it is this one, its next hop on the underlay."""
        flags = HostFlag.SELF if where == self.bench.host else HostFlag(0)
        flags |= HostFlag.FOREIGN if foreign else HostFlag(0)
        key = {"address": int(IPv4Address(where))}
        self.write("hosts", key, {"slot": slot(where), "flags": flags})
        if where != self.bench.host:
            octets = np.frombuffer(mac(hardware or next_hop(where)), np.uint8)
            self.write("next_hops", {"index": slot(where)}, {"mac": octets, "uplink": uplink})
        return self

    def uplink(
        self, index: int = 0, ifindex: int = INTERFACE, mtu: int = 1500, hardware: str = UPLINK
    ) -> Self:
        """An underlay interface. One with INTERFACE is where frames of a run come in."""
        self.write("uplinks", {"index": index}, {"ifindex": ifindex, "mtu": mtu})
        octets = np.frombuffer(mac(hardware), np.uint8)
        return self.write("uplink_macs", {"index": index}, {"mac": octets, "valid": 1})

    def health(self, where: str, **columns: int) -> Self:
        """What is known of whether a host is alive; without columns it is alive, never heard."""
        return self.write("health", {"index": slot(where)}, columns)

    def dead(self, where: str, age: int = 0) -> Self:
        """The agent found a host dead, `age` units of Liveness ago."""
        return self.health(where, dead=health_clock() - age)

    def read_health(self, where: str) -> dict[str, int]:
        """The columns of a host's health."""
        keys, values = self.row("health", {"index": slot(where)}, {})
        raw = elements.lookup(self.bench.maps["health"], keys.tobytes(), values.itemsize)
        assert raw is not None
        found = np.frombuffer(raw, values.dtype)[0]
        return {column: int(found[column]) for column in values.dtype.names or ()}

    def traffic(self, counter: int) -> dict[str, int]:
        """What an endpoint's counter slot holds."""
        return self.bench.per_cpu("counters", counter)

    def clear(self) -> None:
        """Take away every row that was written or learned, and zero the counters."""
        for name, key in self._written:
            if MAPS[name].dense:
                elements.update(self.bench.maps[name], key, bytes(MAPS[name].value.dtype.itemsize))
            else:
                elements.delete(self.bench.maps[name], key)
        self._written.clear()
        self.bench.written()
        for name in ("counters", "errors"):
            zero = bytes(MAPS[name].value.dtype.itemsize * self.bench.cpus)
            for counter in range(self._counters + 1):
                elements.update(self.bench.maps[name], counter.to_bytes(4, "little"), zero)
        keys = np.zeros(CAPACITY["paths"], MAPS["paths"].key.dtype)
        values = np.zeros(CAPACITY["paths"], MAPS["paths"].value.dtype)
        read, _, _ = elements.lookup_batch(self.bench.maps["paths"], None, keys, values, len(keys))
        for key in keys[:read]:
            elements.delete(self.bench.maps["paths"], key.tobytes())


@contextmanager
def on_processor(number: int) -> Iterator[None]:
    """This thread runs there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def clock() -> int:
    """The data plane's clock (bpf/path.h): as coarse, or a path would at times be of the future."""
    return time.clock_gettime_ns(COARSE) >> 30


def host_set(hosts: tuple[str, ...]) -> dict[str, Any]:
    """The columns of struct host_set."""
    room = MAPS["dividers"].value.dtype["host"].shape[0]
    numbers = [int(IPv4Address(each)) for each in hosts]
    slots = [slot(each) for each in hosts]
    empty = [0] * (room - len(hosts))
    return {"count": len(hosts), "host": numbers + empty, "host_slot": slots + empty}


def slot(host: str) -> int:
    """Host slots in tests: the last octet."""
    return IPv4Address(host).packed[3]


def next_hop(host: str) -> str:
    """MACs of next hops in tests: from the last octet."""
    return f"02:bb:00:00:00:{slot(host):02x}"


def link_local(hardware: str) -> str:
    """The EUI-64 link-local address of a MAC (RFC 4291, appendix A)."""
    raw = mac(hardware)
    return str(
        IPv6Address(b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:])
    )
