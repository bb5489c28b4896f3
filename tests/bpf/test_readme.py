"""bpf/README.md says what the code does: its tables are generated, its packet is a real one."""

import re
import subprocess
import sys
from pathlib import Path

from reconciler.abi.generated import Reason
from tests.bpf.frames import BLUE, ME, MY_MAC, PEER, WEB, B, ping
from tests.bpf.harness import World

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "bpf" / "README.md"


def test_its_tables_are_fresh() -> None:
    command = [sys.executable, ROOT / "bpf" / "gentables.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_it_names_every_reason() -> None:
    named = re.findall(r"^\| `([A-Z_]+)` \|", README.read_text(), re.M)
    assert named == [each.name for each in Reason if each != Reason.COUNT]


def test_its_packet_is_what_access_sends(world: World) -> None:
    lines = re.findall(r"^00\d0  ((?:[0-9a-f]{2} ?)+)", README.read_text(), re.M)
    world.interface(BLUE, WEB).bouncers(BLUE, WEB, B)
    world.local(BLUE, ME, MY_MAC, network=WEB, identity=42)
    got = world.bench.run("access", bytes(ping(ME, PEER, tos=0x2A)))
    assert bytes.fromhex("".join(lines)) == got.frame
