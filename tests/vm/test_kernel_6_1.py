"""The oldest kernel that is supported, Debian 12's own, runs the programs for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.debian import boot, missing_tools


@pytest.mark.timeout(900)
def test_programs_load_and_a_ping_passes_on_debian_12s_own_kernel(tmp_path: Path) -> None:
    lacking = missing_tools()
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    options = "-q -x -p no:cacheprovider --timeout 800"  # an emulated machine is slow
    tests = f".venv/bin/python -m pytest {options} tests/netns/test_spine.py"
    guest = boot(f"uname -r && {tests}", tmp_path / "initrd")
    assert guest.code == 0, guest.console[-6000:]
    assert "6.1." in guest.console
    assert "passed" in guest.console
