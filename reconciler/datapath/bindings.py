"""C signatures of libbpf 1.1, resolved through the library handle of Debian's bcc.

Structures are those of bpf/bpf.h, bpf/libbpf.h and linux/bpf.h, as far as they are used; libbpf and
the kernel take a shorter structure than their own and read the missing fields as zeros.
"""

from __future__ import annotations

import ctypes as ct
from typing import Any

from bcc.libbcc import lib as _lib


class OpenOpts(ct.Structure):
    _fields_ = (
        ("sz", ct.c_size_t),
        ("object_name", ct.c_char_p),
        ("relaxed_maps", ct.c_bool),
        ("pin_root_path", ct.c_char_p),
        ("unused", ct.c_uint32),
        ("kconfig", ct.c_char_p),
        ("btf_custom_path", ct.c_char_p),
        ("kernel_log_buf", ct.c_void_p),
        ("kernel_log_size", ct.c_size_t),
        ("kernel_log_level", ct.c_uint32),
    )


class CreateOpts(ct.Structure):
    _fields_ = (
        ("sz", ct.c_size_t),
        ("btf_fd", ct.c_uint32),
        ("btf_key_type_id", ct.c_uint32),
        ("btf_value_type_id", ct.c_uint32),
        ("btf_vmlinux_value_type_id", ct.c_uint32),
        ("inner_map_fd", ct.c_uint32),
        ("map_flags", ct.c_uint32),
        ("map_extra", ct.c_uint64),
        ("numa_node", ct.c_uint32),
        ("map_ifindex", ct.c_uint32),
    )


class BatchOpts(ct.Structure):
    _fields_ = (("sz", ct.c_size_t), ("elem_flags", ct.c_uint64), ("flags", ct.c_uint64))


class LinkCreateOpts(ct.Structure):
    _fields_ = (("sz", ct.c_size_t), ("flags", ct.c_uint32), ("padding", ct.c_uint32))


class LinkUpdateOpts(ct.Structure):
    _fields_ = (("sz", ct.c_size_t), ("flags", ct.c_uint32), ("old_prog_fd", ct.c_uint32))


class TestRunOpts(ct.Structure):
    _fields_ = (
        ("sz", ct.c_size_t),
        ("data_in", ct.c_void_p),
        ("data_out", ct.c_void_p),
        ("data_size_in", ct.c_uint32),
        ("data_size_out", ct.c_uint32),
        ("ctx_in", ct.c_void_p),
        ("ctx_out", ct.c_void_p),
        ("ctx_size_in", ct.c_uint32),
        ("ctx_size_out", ct.c_uint32),
        ("retval", ct.c_uint32),
        ("repeat", ct.c_int),
        ("duration", ct.c_uint32),
        ("flags", ct.c_uint32),
        ("cpu", ct.c_uint32),
        ("batch_size", ct.c_uint32),
    )


class XdpMd(ct.Structure):
    _fields_ = (
        ("data", ct.c_uint32),
        ("data_end", ct.c_uint32),
        ("data_meta", ct.c_uint32),
        ("ingress_ifindex", ct.c_uint32),
        ("rx_queue_index", ct.c_uint32),
        ("egress_ifindex", ct.c_uint32),
    )


class MapInfo(ct.Structure):
    _fields_ = (
        ("type", ct.c_uint32),
        ("id", ct.c_uint32),
        ("key_size", ct.c_uint32),
        ("value_size", ct.c_uint32),
        ("max_entries", ct.c_uint32),
        ("map_flags", ct.c_uint32),
        ("name", ct.c_char * 16),
        ("ifindex", ct.c_uint32),
        ("vmlinux_value_type", ct.c_uint32),
        ("netns_dev", ct.c_uint64),
        ("netns_ino", ct.c_uint64),
        ("btf_id", ct.c_uint32),
        ("key_type", ct.c_uint32),
        ("value_type", ct.c_uint32),
        ("padding", ct.c_uint32),
    )


class BtfInfo(ct.Structure):
    _fields_ = (("data", ct.c_uint64), ("size", ct.c_uint32), ("id", ct.c_uint32))


class BtfType(ct.Structure):
    _fields_ = (("name_off", ct.c_uint32), ("info", ct.c_uint32), ("size", ct.c_uint32))


class BtfEnum(ct.Structure):
    _fields_ = (("name_off", ct.c_uint32), ("value", ct.c_int32))


class ProgramInfo(ct.Structure):
    _fields_ = (
        ("type", ct.c_uint32),
        ("id", ct.c_uint32),
        ("tag", ct.c_uint8 * 8),
        ("jited_prog_len", ct.c_uint32),
        ("xlated_prog_len", ct.c_uint32),
        ("jited_prog_insns", ct.c_uint64),
        ("xlated_prog_insns", ct.c_uint64),
        ("load_time", ct.c_uint64),
        ("created_by_uid", ct.c_uint32),
        ("nr_map_ids", ct.c_uint32),
        ("map_ids", ct.c_uint64),
        ("name", ct.c_char * 16),
    )


class LinkInfo(ct.Structure):
    _fields_ = (
        ("type", ct.c_uint32),
        ("id", ct.c_uint32),
        ("prog_id", ct.c_uint32),
        ("padding", ct.c_uint32),
        ("ifindex", ct.c_uint32),  # of XDP and tc: the first word of a union
        ("rest", ct.c_uint32 * 7),
    )


Print = ct.CFUNCTYPE(ct.c_int, ct.c_int, ct.c_void_p, ct.c_void_p)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    found = _lib[name]  # a fresh function object: bcc's own prototypes stay as they are
    found.restype, found.argtypes = result, arguments
    return found


_u32, _u64, _int, _text, _at = ct.c_uint32, ct.c_uint64, ct.c_int, ct.c_char_p, ct.c_void_p
open_mem = _function("bpf_object__open_mem", _at, _at, ct.c_size_t, _at)
load = _function("bpf_object__load", _int, _at)
close = _function("bpf_object__close", None, _at)
find_map = _function("bpf_object__find_map_by_name", _at, _at, _text)
find_program = _function("bpf_object__find_program_by_name", _at, _at, _text)
next_map = _function("bpf_object__next_map", _at, _at, _at)
next_program = _function("bpf_object__next_program", _at, _at, _at)
map_name = _function("bpf_map__name", _text, _at)
map_fd = _function("bpf_map__fd", _int, _at)
map_is_internal = _function("bpf_map__is_internal", ct.c_bool, _at)
map_reuse_fd = _function("bpf_map__reuse_fd", _int, _at, _int)
map_set_max_entries = _function("bpf_map__set_max_entries", _int, _at, _u32)
map_initial_value = _function("bpf_map__initial_value", _at, _at, ct.POINTER(ct.c_size_t))
map_set_initial_value = _function("bpf_map__set_initial_value", _int, _at, _at, ct.c_size_t)
program_name = _function("bpf_program__name", _text, _at)
program_fd = _function("bpf_program__fd", _int, _at)
program_autoload = _function("bpf_program__set_autoload", _int, _at, ct.c_bool)
map_create = _function("bpf_map_create", _int, _int, _text, _u32, _u32, _u32, _at)
lookup = _function("bpf_map_lookup_elem", _int, _int, _at, _at)
update = _function("bpf_map_update_elem", _int, _int, _at, _at, _u64)
delete = _function("bpf_map_delete_elem", _int, _int, _at)
lookup_batch = _function(
    "bpf_map_lookup_batch", _int, _int, _at, _at, _at, _at, ct.POINTER(_u32), _at
)
update_batch = _function("bpf_map_update_batch", _int, _int, _at, _at, ct.POINTER(_u32), _at)
delete_batch = _function("bpf_map_delete_batch", _int, _int, _at, ct.POINTER(_u32), _at)
obj_pin = _function("bpf_obj_pin", _int, _int, _text)
obj_get = _function("bpf_obj_get", _int, _text)
obj_info = _function("bpf_obj_get_info_by_fd", _int, _int, _at, ct.POINTER(_u32))
link_create = _function("bpf_link_create", _int, _int, _int, _int, _at)
link_update = _function("bpf_link_update", _int, _int, _int, _at)
link_detach = _function("bpf_link_detach", _int, _int)
tracepoint_open = _function("bpf_raw_tracepoint_open", _int, _text, _int)
program_by_id = _function("bpf_prog_get_fd_by_id", _int, _u32)
map_by_id = _function("bpf_map_get_fd_by_id", _int, _u32)
btf_by_id = _function("bpf_btf_get_fd_by_id", _int, _u32)
test_run = _function("bpf_prog_test_run_opts", _int, _int, _at)
btf_of_kernel = _function("btf__load_vmlinux_btf", _at)
btf_free = _function("btf__free", None, _at)
btf_find = _function("btf__find_by_name_kind", _int, _at, _text, _u32)
btf_type = _function("btf__type_by_id", ct.POINTER(BtfType), _at, _u32)
btf_name = _function("btf__name_by_offset", _text, _at, _u32)
cpus = _function("libbpf_num_possible_cpus", _int)
strerror = _function("libbpf_strerror", _int, _int, _at, ct.c_size_t)
set_print = _function("libbpf_set_print", _at, _at)
syscall = ct.CDLL(None).syscall
syscall.restype, syscall.argtypes = ct.c_long, (ct.c_long, _int, _int, _int)
vsnprintf = ct.CDLL(None).vsnprintf
vsnprintf.restype, vsnprintf.argtypes = _int, (_at, ct.c_size_t, _at, _at)
