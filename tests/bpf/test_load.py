"""The objects as a kernel sees them: both load, and agree about the maps they share."""

import re
from pathlib import Path

import pytest

from reconciler.abi.generated import MAPS, Reason
from reconciler.compile.programs import DROPS
from reconciler.datapath import libbpf
from tests.bpf.harness import CAPACITY, OBJECTS, PROGRAMS, Bench

HERE = Path(__file__).parent


@pytest.mark.parametrize("program", [*PROGRAMS, *(f"{each}_tc" for each in PROGRAMS)])
def test_every_program_passes_the_verifier(program: str) -> None:
    with libbpf.Object.open(OBJECTS / f"{program}.bpf.o") as opened:
        for name, capacity in CAPACITY.items():
            opened.set_max_entries(name, capacity)
        assert opened.programs() == (program,)
        opened.load()


PRIVATE = {"flows", "rooms", "work"}  # a program's own, gone with it


def test_the_objects_define_the_maps_of_the_abi_and_private_ones() -> None:
    defined = {}
    for program in (*PROGRAMS, DROPS):
        with libbpf.Object.open(OBJECTS / f"{program}.bpf.o") as opened:
            defined[program] = set(opened.maps())
    assert defined == {**dict.fromkeys(PROGRAMS, set(MAPS) - {DROPS} | PRIVATE), DROPS: {DROPS}}


def test_both_programs_work_on_the_same_maps(bench: Bench) -> None:
    ids = {libbpf.map_info(each).id for each in bench.maps.values()}
    for program in PROGRAMS:
        used = set(libbpf.program_info(bench.programs[program]).map_ids)
        assert len(used - ids) == len(PRIVATE) + 1, "besides the shared maps and .rodata"


def test_every_reason_is_asserted_by_some_test() -> None:
    text = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    asserted = set(re.findall(r"Reason\.([A-Z_]+)", text))
    assert {each.name for each in Reason if each != Reason.COUNT} <= asserted


def test_the_kernel_keeps_the_layout_of_every_map(bench: Bench) -> None:
    """Another release reads it there. An array's key has to be an integer for that, no enum."""
    without = [name for name, each in bench.maps.items() if not libbpf.map_info(each).btf_id]
    assert not without
