"""Enums of the running kernel, whose numbers are its own -> their names, by its BTF."""

from __future__ import annotations

import ctypes as ct
from collections.abc import Mapping

from reconciler.datapath import bindings as c

_ENUM = 6  # BTF_KIND_ENUM of linux/btf.h


def kernel_enum(name: str) -> Mapping[int, str]:
    """The names of an enum's numbers, such as "skb_drop_reason"; none if the kernel tells none."""
    btf = c.btf_of_kernel()
    if not btf:
        return {}
    try:
        number = c.btf_find(btf, name.encode(), _ENUM)
        if number < 0:
            return {}
        found = c.btf_type(btf, number)
        members = ct.addressof(found.contents) + ct.sizeof(c.BtfType)
        every = (c.BtfEnum * (found.contents.info & 0xFFFF)).from_address(members)
        return {each.value: c.btf_name(btf, each.name_off).decode() for each in every}
    finally:
        c.btf_free(btf)
