import errno
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from reconciler.abi.generated import MAPS
from reconciler.datapath import elements, libbpf
from reconciler.datapath.errors import HostError
from reconciler.datapath.libbpf import BpfError, Fd, Object

PROGRAM = """
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
const volatile unsigned int verdict = 1;
SEC("xdp.frags") int probe(struct xdp_md *ctx)
{
	%s
	return ctx->ingress_ifindex == 1 ? (int)verdict : 2;
}
char _license[] SEC("license") = "GPL";
"""


def compiled(folder: Path, statement: str = "") -> Path:
    """The object of a small program."""
    source, target = folder / "probe.bpf.c", folder / "probe.bpf.o"
    source.write_text(PROGRAM % statement)
    headers = f"/usr/include/{os.uname().machine}-linux-gnu"
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I", headers]
    subprocess.run(
        [shutil.which("clang") or "clang", *flags, "-c", source, "-o", target], check=True
    )
    return target


def test_a_program_runs_on_a_frame(tmp_path: Path) -> None:
    with Object.open(compiled(tmp_path)) as opened:
        assert opened.programs() == ("probe",)
        assert opened.maps() == ()
        opened.set_initial_value(".rodata", (3).to_bytes(4, "little"))
        opened.load()
        program = opened.program_fd("probe")
    with program:
        assert libbpf.program_info(program).name == "probe"
        verdict, frame, _ = libbpf.test_run(program, bytes(range(64)), ifindex=1)
        assert (verdict, frame) == (3, bytes(range(64)))


def test_a_refused_program_says_what_the_verifier_said(tmp_path: Path) -> None:
    path = compiled(tmp_path, "return *(volatile int *)(long)(ctx->data + 400);")
    with Object.open(path) as opened, pytest.raises(BpfError) as refused:
        opened.load()
    assert refused.value.errno == errno.EACCES
    assert "loading object probe: Permission denied (EACCES)" in str(refused.value)
    assert "pointer arithmetic" in refused.value.log
    assert isinstance(refused.value, HostError)


def test_what_is_no_object_is_refused_with_the_reason() -> None:
    with pytest.raises(BpfError, match="opening object junk: BPF object format invalid") as refused:
        Object(b"junk", "junk")
    assert "not a proper ELF" in refused.value.log


def test_what_an_object_lacks_is_named(tmp_path: Path) -> None:
    with Object.open(compiled(tmp_path)) as opened:
        with pytest.raises(BpfError, match="object probe: map hosts: No such file"):
            opened.set_max_entries("hosts", 4)
        with pytest.raises(BpfError, match="object probe: program other: No such file"):
            opened.set_autoload("other", False)
        with pytest.raises(BpfError, match="descriptor of program probe"):
            opened.program_fd("probe")  # not loaded yet


def test_a_closed_descriptor_cannot_be_used() -> None:
    with libbpf.create_map(MAPS["hosts"], 4) as fd:
        number = fd.fileno()
    with pytest.raises(ValueError, match="closed"):
        fd.fileno()
    fd.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_forgotten_descriptor_is_closed_with_its_owner() -> None:
    fd = libbpf.create_map(MAPS["hosts"], 4)
    number = fd.fileno()
    del fd
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_objects_that_are_loaded_and_closed_leave_no_descriptor(tmp_path: Path) -> None:
    path = compiled(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with Object.open(path) as opened:
            opened.load()
            opened.program_fd("probe").close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_errors_name_what_was_attempted(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match=f"opening {tmp_path}/none"):
        libbpf.get(tmp_path / "none")
    with libbpf.create_map(MAPS["hosts"], 4) as fd:
        with pytest.raises(BpfError, match=f"pinning {tmp_path}/here"):
            libbpf.pin(fd, tmp_path / "here")
        with pytest.raises(BpfError, match="attaching to interface 1"):
            libbpf.create_xdp_link(fd, 1, 0)
    with Fd(os.open(tmp_path, os.O_RDONLY)) as folder, pytest.raises(BpfError) as wrong:
        elements.lookup(folder, bytes(4), 8)
    assert wrong.value.errno == errno.EINVAL


def test_rows_that_are_not_contiguous_are_refused() -> None:
    spec = MAPS["hosts"]
    with libbpf.create_map(spec, 8) as fd, pytest.raises(ValueError, match="contiguous"):
        elements.update_batch(fd, np.zeros(8, spec.key.dtype)[::2], np.zeros(4, spec.value.dtype))


def test_single_rows_are_written_read_and_deleted() -> None:
    with libbpf.create_map(MAPS["hosts"], 4) as fd:
        assert libbpf.map_info(fd).capacity == 4
        key, value = bytes([10, 0, 0, 1]), bytes(range(8))
        assert elements.lookup(fd, key, 8) is None
        elements.update(fd, key, value)
        assert elements.lookup(fd, key, 8) == value
        assert elements.delete(fd, key)
        assert not elements.delete(fd, key)
