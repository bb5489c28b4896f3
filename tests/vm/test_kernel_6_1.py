"""The oldest kernel that is supported, Debian 12's own, runs the programs for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.debian import boot, missing_tools

# Under emulation every import costs: plugins and configuration would take longer than the test.
SPINE = (
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 .venv/bin/python -m pytest -q --noconftest --assert=plain "
    "-p no:cacheprovider -c /dev/null --rootdir . -x tests/netns/test_spine.py"
)


@pytest.mark.timeout(900)
def test_programs_load_forward_and_count_on_debian_12s_own_kernel(tmp_path: Path) -> None:
    lacking = missing_tools()
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    guest = boot(f"uname -r && {SPINE}", tmp_path / "initrd")
    assert guest.code == 0, guest.console[-6000:]
    assert "6.1." in guest.console
    assert "passed" in guest.console
