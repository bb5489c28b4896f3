"""Compiled objects -> loaded programs, on the host's maps and with its manifest's constants."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.abi.btf import Reader, elf_section
from reconciler.abi.generated import CONSTANTS
from reconciler.datapath.errors import HostError
from reconciler.datapath.libbpf import Fd, Object

_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym: name, info, other, section, value, size
_RODATA = ".rodata"
_FLOWS, _FLOW_BITS = "flows", "flow_bits"  # a map, each CPU's part of it (bpf/flow.h)
_ONLINE = Path("/sys/devices/system/cpu/online")


class ObjectError(HostError):
    """A compiled object is missing or not one of ours."""


class Objects:
    """The compiled objects, by program; `path` says where one is. Each is read once."""

    def __init__(self, path: Callable[[str], Path]) -> None:
        self._path = path
        self._read: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}

    def elf(self, program: str) -> bytes:
        """The bytes of a program's object."""
        if program not in self._read:
            path = self._path(program)
            try:
                self._read[program] = path.read_bytes()
            except OSError as error:
                raise ObjectError(
                    f"program {program}: {path} cannot be read ({error.strerror}); "
                    f"`make bpf` compiles it, a wheel has it inside"
                ) from error
        return self._read[program]

    def digest(self, program: str) -> str:
        """128 bits of SHA-256 over a program's object, in hexadecimal."""
        if program not in self._digests:
            self._digests[program] = hashlib.sha256(self.elf(program)).hexdigest()[:32]
        return self._digests[program]

    def load(self, program: str, constants: bytes, maps: Mapping[str, Fd]) -> Fd:
        """Load a program on existing maps; the verifier's refusal is a BpfError with its log."""
        elf = self.elf(program)
        if len(constants) != CONSTANTS.dtype.itemsize:
            size = CONSTANTS.dtype.itemsize
            raise ObjectError(f"program {program}: {len(constants)} bytes of constants, {size} fit")
        with Object(elf, program) as opened:
            shared = Reader(elf).maps()  # an untagged map is the program's own, and goes with it
            for name in opened.maps():
                if name in maps:
                    opened.reuse_map(name, maps[name])
                elif name in shared:
                    raise ObjectError(f"program {program}: uses map {name}, which the ABI lacks")
            set_constants(opened, elf, constants)
            opened.load()
            return opened.program_fd(program)


def set_constants(opened: Object, elf: bytes, constants: bytes, cpus: int | None = None) -> None:
    """Before an object is loaded: its manifest's constants, and for each CPU a part of `flows`.

    CPUs that come online later than the program was loaded remember no flows.
    """
    section = bytearray(opened.initial_value(_RODATA))
    place = variable_place(elf, "constants", len(constants))
    section[place : place + len(constants)] = constants
    if _FLOWS in opened.maps():
        cpus = cpus or _online_cpus()
        bits = flow_bits(cpus)
        opened.set_max_entries(_FLOWS, cpus << bits)
        place = variable_place(elf, _FLOW_BITS, 4)
        section[place : place + 4] = bits.to_bytes(4, "little")
    opened.set_initial_value(_RODATA, bytes(section))


def flow_bits(cpus: int) -> int:
    """Binary logarithm of the flows, 64 bytes each, that every CPU remembers in each program.

    2^14 (1 MiB) of up to 8 CPUs, then 2^17 (8 MiB) of all together: each sees its share of flows.
    From 128 on it is 2^10 (64 KiB).
    """
    return min(14, max(10, 17 - (cpus - 1).bit_length()))


def _online_cpus() -> int:
    """One more than the largest number of a CPU that is online; cpulist of cputopology.rst."""
    return int(re.split("[-,]", _ONLINE.read_text())[-1]) + 1


def variable_place(elf: bytes, variable: str, expected: int) -> int:
    """Where a variable of `expected` bytes starts in .rodata, which holds others as well."""
    symbols, names = elf_section(elf, ".symtab"), elf_section(elf, ".strtab")
    for name, _, _, _, value, size in _SYMBOL.iter_unpack(symbols):
        if names[name : names.index(b"\0", name)] == variable.encode():
            if size != expected:
                raise ObjectError(f"{variable}: {size} bytes in the object; run `make abi`")
            return int(value)
    raise ObjectError(f"the object has no variable `{variable}`")
