"""If two files must agree, one is generated; these tests say when it is stale."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def check_abi(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the check of a tree's generated ABI against that tree's compiled programs."""
    objects = sorted((root / "bpf" / "build").glob("*.bpf.o"))
    command = [sys.executable, root / "bpf" / "genabi.py", "--check", *objects]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compiled_programs_are_as_new_as_their_sources() -> None:
    result = subprocess.run(["make", "-q", "-C", ROOT / "bpf"], capture_output=True, check=False)
    assert result.returncode == 0, "run `make bpf`"


def test_generated_abi_is_what_the_compiled_programs_say() -> None:
    result = check_abi(ROOT)
    assert result.returncode == 0, f"{result.stderr}\nrun `make abi` and commit the result"


def test_a_stale_generated_abi_is_found(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # how to format
    shutil.copytree(ROOT / "bpf", tmp_path / "bpf")
    shutil.copytree(ROOT / "reconciler" / "abi", tmp_path / "reconciler" / "abi")
    assert check_abi(tmp_path).returncode == 0
    generated = tmp_path / "reconciler" / "abi" / "generated.py"
    generated.write_text(generated.read_text().replace("MapKind.HASH", "MapKind.ARRAY", 1))
    assert check_abi(tmp_path).returncode == 1
