"""The programs are dual licensed, as the kernel's helpers demand; the rest is Apache-2.0."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
IDENTIFIER = "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"
SPDX = {".c": f"// {IDENTIFIER}", ".h": f"/* {IDENTIFIER} */"}  # the kernel's own convention


def test_every_c_file_states_its_licence_and_then_its_purpose() -> None:
    files = sorted((ROOT / "bpf").glob("*.[ch]"))
    assert files
    for path in files:
        first, second = path.read_text().splitlines()[:2]
        assert first == SPDX[path.suffix], path
        assert second.startswith("/* "), path


def test_every_program_tells_the_kernel_its_licence() -> None:
    for path in (ROOT / "bpf").glob("*.bpf.c"):
        assert 'SEC("license") = "Dual BSD/GPL";' in path.read_text(), path


def test_the_texts_of_all_licences_are_here() -> None:
    for name, words in {
        "LICENSE": "Apache License",
        "bpf/LICENSE.GPL-2.0": "GNU GENERAL PUBLIC LICENSE",
        "bpf/LICENSE.BSD-2-Clause": "Redistribution and use in source and binary forms",
    }.items():
        assert words in (ROOT / name).read_text(), name
