"""BTF bytes of a compiled BPF object -> map layouts, enums and constants.

Reads the .BTF section of an ELF object (Documentation/bpf/btf.rst of the kernel) and refuses what
the control plane could not write byte for byte: implicit padding, bit fields, unions.
Pure: it is given bytes; bpf/genabi.py reads the files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from reconciler.abi.spec import MapKind, MapSpec, Ownership, Record

INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF = 1, 2, 3, 4, 5, 6, 8
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC = 9, 10, 11, 12, 13, 14, 15
FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = 16, 17, 18, 19

_MEANINGS = {"ipv4_t": "ipv4", "address_t": "address", "mac_t": "mac"}
_BIG_ENDIAN = {"__be16": ">u2", "__be32": ">u4", "__be64": ">u8"}


class LayoutError(Exception):
    """The object's BTF describes something that cannot be written byte for byte."""


@dataclass(slots=True)
class Type:
    """One BTF type record; `ref` is a type id or, for INT and ENUM, unused."""

    kind: int
    name: str
    size: int
    ref: int
    members: list[tuple[str, int, int]] = field(default_factory=list)
    component: int = -1


def elf_section(elf: bytes, wanted: str) -> bytes:
    """Return the named section of a little-endian ELF64 object (System V ABI, chapter 4)."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise LayoutError("not a little-endian ELF64 object; build it with clang -target bpfel")
    (offset,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, offset + i * size) for i in range(count)]
    names = elf[headers[names_at][4] :]
    for name, _, _, _, start, length in headers:
        if names[name : names.index(b"\0", name)].decode() == wanted:
            return elf[start : start + length]
    raise LayoutError(f"no section {wanted}; compile with -g")


class Btf:
    """The types of one .BTF section, by id (0 is void)."""

    def __init__(self, data: bytes) -> None:
        """Parse `data`; raises LayoutError on anything but BTF version 1."""
        magic, version, _, length, type_at, type_len, str_at, _ = struct.unpack_from(
            "<HBBIIIII", data, 0
        )
        if magic != 0xEB9F or version != 1:
            raise LayoutError(f"BTF magic {magic:#x} version {version}, expected 0xeb9f version 1")
        strings = data[length + str_at :]
        self.types: list[Type] = [Type(0, "void", 0, 0)]
        at, end = length + type_at, length + type_at + type_len
        while at < end:
            parsed, at = _parse_type(data, at, strings)
            self.types.append(parsed)

    def resolve(self, number: int) -> Type:
        """Follow typedefs and qualifiers to the type underneath."""
        found = self.types[number]
        while found.kind in (TYPEDEF, CONST, VOLATILE, RESTRICT, TYPE_TAG):
            found = self.types[found.ref]
        return found

    def tags(self) -> Iterator[tuple[int, int, str]]:
        """Yield (type id, member index or -1, text) of every declaration tag."""
        for each in self.types:
            if each.kind == DECL_TAG:
                yield each.ref, each.component, each.name

    def named(self, kind: int) -> dict[str, int]:
        """Type ids of one kind by name; anonymous ones are left out."""
        return {t.name: i for i, t in enumerate(self.types) if t.kind == kind and t.name}


def _parse_type(data: bytes, at: int, strings: bytes) -> tuple[Type, int]:
    def text(offset: int) -> str:
        return strings[offset : strings.index(b"\0", offset)].decode()

    name, info, size = struct.unpack_from("<III", data, at)
    at += 12
    count, kind, flag = info & 0xFFFF, (info >> 24) & 0x1F, info >> 31
    parsed = Type(kind, text(name), size, size)
    if kind == INT:
        at += 4
    elif kind == ARRAY:
        parsed.ref, _, parsed.size = struct.unpack_from("<III", data, at)
        at += 12
    elif kind in (STRUCT, UNION):
        for _ in range(count):
            member, ref, offset = struct.unpack_from("<III", data, at)
            if flag and offset >> 24:
                raise LayoutError(f"bit field {text(member)} in {parsed.name or 'a struct'}")
            parsed.members.append((text(member), ref, (offset & 0xFFFFFF if flag else offset) // 8))
            at += 12
    elif kind == ENUM:
        for _ in range(count):
            member, value = struct.unpack_from("<Ii" if flag else "<II", data, at)
            parsed.members.append((text(member), value, 0))
            at += 8
    elif kind == FUNC_PROTO:
        at += 8 * count
    elif kind == VAR:
        at += 4
    elif kind == DATASEC:
        at += 12 * count
    elif kind == DECL_TAG:
        (parsed.component,) = struct.unpack_from("<i", data, at)
        at += 4
    elif kind == ENUM64:
        at += 12 * count
    return parsed, at


class Reader:
    """Map layouts, enums and structs of one object."""

    def __init__(self, elf: bytes) -> None:
        """Parse the object's BTF and its declaration tags."""
        self._take(elf_section(elf, ".BTF"))

    @classmethod
    def of_btf(cls, data: bytes) -> Reader:
        """The same of bare BTF, as the kernel keeps it with a map."""
        reader = cls.__new__(cls)
        reader._take(data)
        return reader

    def _take(self, data: bytes) -> None:
        self.btf = Btf(data)
        self.facts: dict[int, set[int]] = {}
        self.owners: dict[int, str] = {}
        for target, member, text in self.btf.tags():
            if text == "fact" and member >= 0:
                self.facts.setdefault(target, set()).add(member)
            elif member < 0:
                self.owners[target] = text

    def enums(self) -> dict[str, dict[str, int]]:
        """Every named enum: {enum: {enumerator: value}}."""
        return {
            name: {member: value for member, value, _ in self.btf.types[number].members}
            for name, number in self.btf.named(ENUM).items()
        }

    def struct(self, name: str) -> Record:
        """The layout of `struct name`."""
        return self._record(self.btf.named(STRUCT)[name], f"struct {name}")

    def maps(self) -> dict[str, MapSpec]:
        """Every map of the .maps section, by name."""
        found = {}
        for number, variable in enumerate(self.btf.types):
            if variable.kind != VAR or number not in self.owners:
                continue
            found[variable.name] = self._map(variable, self.owners[number])
        return found

    def map(self, name: str) -> MapSpec | None:
        """One map; None if it is not there, or means something that this release does not know."""
        number = self.btf.named(VAR).get(name, 0)
        if number not in self.owners:
            return None
        try:
            return self._map(self.btf.types[number], self.owners[number])
        except (LayoutError, ValueError, KeyError):  # a kind, tag or column of another release
            return None

    def _map(self, variable: Type, owner: str) -> MapSpec:
        members = {name: ref for name, ref, _ in self.btf.resolve(variable.ref).members}

        def number(name: str) -> int:  # __uint(name, n) is a pointer to int[n]
            return self.btf.resolve(self.btf.resolve(members[name]).ref).size

        def record(name: str) -> Record:
            return self._record(self.btf.resolve(members[name]).ref, f"{variable.name}.{name}")

        return MapSpec(
            name=variable.name,
            kind=MapKind(number("type")),
            key=record("key"),
            value=record("value"),
            capacity=number("max_entries"),
            flags=number("map_flags") if "map_flags" in members else 0,
            ownership=Ownership(owner),
        )

    def _record(self, number: int, place: str) -> Record:
        resolved = self.btf.resolve(number)
        if resolved.kind != STRUCT:
            scalar, _ = self._column(number, place)
            return Record(np.dtype([("index", scalar)]), {}, frozenset())
        tagged = self.facts.get(self.btf.types.index(resolved), set())
        fields: list[tuple[str, object]] = []
        meaning: dict[str, str] = {}
        facts: set[str] = set()
        end = 0
        for at, (name, ref, offset) in enumerate(resolved.members):
            column, means = self._column(ref, f"{place}.{name}")
            size = np.dtype([("x", column)]).itemsize
            if size == 0:  # the arrays that only anchor enums
                continue
            if offset != end:
                raise LayoutError(f"{place}.{name}: {offset - end} bytes of implicit padding")
            end = offset + size
            fields.append((name, column))
            if means:
                meaning[name] = means
            if at in tagged:
                facts.add(name)
        if end != resolved.size:
            raise LayoutError(f"{place}: {resolved.size - end} bytes of padding at the end")
        return Record(np.dtype(fields), meaning, frozenset(facts))

    def _column(self, number: int, place: str) -> tuple[object, str]:
        """The NumPy field spec of a type, and its meaning ('' for a plain number)."""
        found = self.btf.types[number]
        while found.kind in (TYPEDEF, CONST, VOLATILE):
            if found.name in _MEANINGS:
                means = _MEANINGS[found.name]
                if means == "ipv4":
                    return ">u4", means
                return ("u1", (self.btf.resolve(number).size,)), means
            if found.name in _BIG_ENDIAN:
                return _BIG_ENDIAN[found.name], ""
            number = found.ref
            found = self.btf.types[number]
        if found.kind in (INT, ENUM):
            return f"<u{found.size}" if found.size > 1 else "u1", ""
        if found.kind == ARRAY:
            base, means = self._column(found.ref, place)
            if isinstance(base, tuple):
                raise LayoutError(f"{place}: arrays of structures are not supported")
            return (base, (found.size,)), means
        raise LayoutError(f"{place}: BTF kind {found.kind} is not supported; use integers")
