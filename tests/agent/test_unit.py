"""The systemd unit: the capabilities that it leaves the agent are enough, and none is for show."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from tests.agent.process import Host, ready

UNIT = Path(__file__).parent.parent.parent / "packaging" / "reconciler.service"


def settings(name: str) -> list[str]:
    """The values of a setting of the unit, in order."""
    lines = UNIT.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def bounded(*capabilities: str) -> tuple[str, ...]:
    """The command that leaves a process these capabilities and no others."""
    kept = (each.lower().removeprefix("cap_") for each in capabilities)
    return (
        "setpriv",
        "--no-new-privs",
        "--bounding-set",
        "-all," + ",".join(f"+{k}" for k in kept),
    )


CAPABILITIES = settings("CapabilityBoundingSet")[-1].split()


def test_the_capabilities_of_the_unit_are_enough(host: Host) -> None:
    host.start(*bounded(*CAPABILITIES)).applied(host.network.first)
    assert host.interfaces() == {"shop/web-1", "shop/web-2"}
    host.network.endpoints(1)
    host.applied(host.network.push())
    assert host.interfaces() == {"shop/web-1"}
    assert host.run("drift").returncode == 0
    host.wait(lambda found: found["hosts"]["probes"] > 0)


@pytest.mark.parametrize("without", CAPABILITIES)
def test_no_capability_of_the_unit_can_be_spared(host: Host, without: str) -> None:
    left = [each for each in CAPABILITIES if each != without]
    host.start(*bounded(*left)).wait(lambda found: not ready(found) and "lastRound" in found)
    assert host.interfaces() == set()


def test_a_host_of_existing_interfaces_does_with_the_capabilities_of_the_drop_in(
    host: Host,
) -> None:
    comment = [line for line in UNIT.read_text().splitlines() if line.startswith("#   Capability")]
    capabilities = comment[-1].partition("=")[2].split()
    host.network.write("endpoints.yaml", host.network.endpoint(1, attach={"interface": "tap1"}))
    commit = host.network.push()
    with IPRoute() as route:
        route.link("add", ifname="tap1", kind="veth", peer={"ifname": "tap1peer"})
    host.start(*bounded(*capabilities)).applied(commit)
    assert "link tap1" in host.run("show", "-o", "text").stdout
    host.wait(lambda found: found["hosts"]["probes"] > 0)


def test_the_unit_is_one_that_systemd_understands() -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("not on this machine: systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "verify", UNIT], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert complaints == []


def test_systemd_is_told_when_the_agent_is_ready(host: Host, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(60)
        host.start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert notify.recv(100) == b"READY=1"
        assert ready(host.status())
