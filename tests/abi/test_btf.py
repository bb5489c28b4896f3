"""Layouts are learned from what clang really emits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconciler.abi.btf import LayoutError, Reader
from reconciler.abi.spec import MapKind, MapSpec, Ownership

INCLUDES = ["-I/usr/include/x86_64-linux-gnu", "-I/usr/include/aarch64-linux-gnu"]
FRAME = """
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define __fact __attribute__((btf_decl_tag("fact")))
typedef __be32 ipv4_t;
typedef struct {{ __u8 byte[6]; }} mac_t;
enum colour {{ COLOUR_RED = 3 }};
struct row {{ {fields} }};
struct {{
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct row);
	__uint(max_entries, 77);
	__uint(map_flags, BPF_F_NO_PREALLOC);
}} rows SEC(".maps") __attribute__((btf_decl_tag("collected")));
"""


def layout(tmp_path: Path, fields: str) -> MapSpec:
    """Compile a map whose value has these fields, and read its BTF."""
    source, target = tmp_path / "x.bpf.c", tmp_path / "x.o"
    source.write_text(FRAME.format(fields=fields))
    command = ["clang", "-O2", "-g", "-target", "bpf", *INCLUDES, "-c", source, "-o", target]
    subprocess.run(command, check=True)
    return Reader(target.read_bytes()).maps()["rows"]


def test_a_map_is_described_by_its_declaration(tmp_path: Path) -> None:
    spec = layout(tmp_path, "__u32 check __fact; ipv4_t host; mac_t mac; __u16 slots[3] __fact;")
    assert (spec.kind, spec.capacity, spec.flags) == (MapKind.HASH, 77, 1)
    assert spec.ownership is Ownership.COLLECTED
    assert spec.value.dtype.descr == [
        ("check", "<u4"),
        ("host", ">u4"),
        ("mac", "|u1", (6,)),
        ("slots", "<u2", (3,)),
    ]
    assert spec.value.meaning == {"host": "ipv4", "mac": "mac"}
    assert spec.value.facts == {"check", "slots"}
    assert spec.key.dtype.descr == [("index", "<u4")]


def test_byte_order_comes_from_the_type(tmp_path: Path) -> None:
    spec = layout(tmp_path, "__be16 a; __u16 b; __u8 d[4]; __be64 c[1];")
    assert [field[1] for field in spec.value.dtype.descr] == [">u2", "<u2", "|u1", ">u8"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("__u8 a; __u32 b;", "3 bytes of implicit padding"),
        ("__u32 a; __u8 b;", "3 bytes of padding at the end"),
        ("__u32 a : 3; __u32 b : 29;", "bit field a"),
        ("union { __u32 x; __u8 y[4]; } a;", "BTF kind 5 is not supported"),
        ("void *a;", "BTF kind 2 is not supported"),
        ("mac_t a[2];", "arrays of structures"),
    ],
)
def test_what_cannot_be_written_byte_for_byte_is_refused(
    tmp_path: Path, fields: str, message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        layout(tmp_path, fields)


def test_bytes_that_are_no_object_are_refused() -> None:
    with pytest.raises(LayoutError, match="not a little-endian ELF64 object"):
        Reader(b"#!/bin/sh\n")
