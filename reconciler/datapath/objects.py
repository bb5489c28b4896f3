"""Compiled objects -> loaded programs, on the host's maps and with its manifest's constants."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.abi.btf import Reader, elf_section
from reconciler.abi.generated import CONSTANTS
from reconciler.datapath.errors import HostError
from reconciler.datapath.libbpf import Fd, Object, possible_cpus

_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym: name, info, other, section, value, size
_RODATA = ".rodata"
_FLOWS = "flows"  # an array in which each CPU has a part of its own (bpf/flow.h)


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
            section = bytearray(opened.initial_value(_RODATA))
            place = constants_place(elf)
            section[place : place + len(constants)] = constants
            opened.set_initial_value(_RODATA, bytes(section))
            give_each_cpu_its_flows(opened)
            opened.load()
            return opened.program_fd(program)


def give_each_cpu_its_flows(opened: Object) -> None:
    """Before an object is loaded: what it says of the map is for one CPU; the others forget."""
    if _FLOWS in opened.maps():
        opened.multiply_entries(_FLOWS, possible_cpus())


def constants_place(elf: bytes) -> int:
    """Where the variable `constants` starts in .rodata, which holds other constants as well."""
    symbols, names = elf_section(elf, ".symtab"), elf_section(elf, ".strtab")
    for name, _, _, _, value, size in _SYMBOL.iter_unpack(symbols):
        if names[name : names.index(b"\0", name)] == b"constants":
            if size != CONSTANTS.dtype.itemsize:
                raise ObjectError(f"constants are {size} bytes in the object; run `make abi`")
            return int(value)
    raise ObjectError("the object has no variable `constants`")
