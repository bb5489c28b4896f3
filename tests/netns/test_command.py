"""`reconciler lab`, as people use it."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.datapath.netlink import netns_exists
from reconciler.lab.lab import Lab
from tests.cli.command import PROGRAM
from tests.netns.conftest import endpoint, host, tenant

FILES = {
    "hosts.yaml": "---".join(
        [
            host("alpha", "192.168.1.1", "a", True),
            host("bravo", "192.168.2.1", "b", True),
            "\napiVersion: reconciler/v1alpha1\nkind: Host\nmetadata: {name: foreign}\n"
            "spec: {underlay: 192.168.3.1, managed: false}\n",
        ]
    ),
    "red.yaml": "---".join(
        [
            tenant("red", 1001),
            endpoint("red", "l1", "left", 11, "alpha"),
            endpoint("red", "l2", "left", 12, "bravo"),
            # A virtual machine's, or a container's: it is there before the agent is.
            endpoint("red", "vm", "left", 13, "bravo") + "  attach: {interface: tap0}\n",
            endpoint("red", "node", "left", 14, "alpha") + "  attach: {host: true}\n",
        ]
    ),
}


class Command:
    """`reconciler lab VERB --name NAME ...`, in a folder that is none of the lab's business."""

    def __init__(self, name: str, cwd: Path) -> None:
        self.name, self.cwd = name, cwd

    def __call__(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [PROGRAM, "lab", verb, "--name", self.name, *arguments]
        return subprocess.run(
            command, cwd=self.cwd, capture_output=True, text=True, check=False, timeout=100
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("manifests")
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


@pytest.fixture(scope="module")
def lab(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A lab of a plain folder, brought up by the command where another checkout might be."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "reconciler.py").write_text("raise SystemExit('this is not the program')\n")
    command = Command(f"t{secrets.token_hex(4)}", elsewhere)
    try:
        done = command("up", str(folder))
        assert done.returncode == 0, done.stdout + done.stderr
        yield command
    finally:
        Lab(command.name).down()


def pids(lab: Command) -> dict[str, int]:
    return {each["host"]: each["pid"] for each in json.loads(lab("status", "-o", "json").stdout)}


def test_a_second_up_changes_nothing_and_says_where_to_push(lab: Command, folder: Path) -> None:
    before = pids(lab)
    done = lab("up", str(folder))
    assert done.returncode == 0
    assert f"push to /run/reconciler-lab/{lab.name}/repository.git, branch main" in done.stdout
    assert pids(lab) == before


def test_status_shows_every_host_and_the_foreign_one_has_no_agent(lab: Command) -> None:
    found = json.loads(lab("status", "-o", "json").stdout)
    assert [(each["host"], each["summary"]) for each in found] == [
        ("alpha", "converged"),
        ("bravo", "converged"),
        ("foreign", "foreign"),
    ]
    assert found[2]["pid"] is None
    text = lab("status").stdout
    assert "192.168.2.1" in text
    assert "\x1b" not in text


def test_everybody_reaches_everybody_whatever_they_are_attached_by(lab: Command) -> None:
    done = lab("test", "-o", "json")
    assert done.returncode == 0, done.stdout
    claims = json.loads(done.stdout)
    assert {each["source"] for each in claims} == {"red/l1", "red/l2", "red/node", "red/vm"}
    assert all(each["expected"] and each["holds"] for each in claims)
    shown = lab("test")
    assert shown.returncode == 0
    assert "red/red   red/red" in " ".join(shown.stdout.split(" ")).replace("  ", "  ")


def test_exec_replaces_names_and_passes_the_exit_code_on(lab: Command) -> None:
    done = lab("exec", "red.l1", "--", "ping", "-c1", "-W2", "red.l2")
    assert done.returncode == 0
    assert "PING 10.0.1.12" in done.stdout
    assert "2001:db8:1::12" in lab("exec", "-6", "red.l1", "--", "echo", "red.l2").stdout
    assert lab("exec", "alpha", "--", "sh", "-c", "exit 7").returncode == 7
    assert "alpha" in lab("exec", "underlay", "--", "ip", "-br", "link").stdout


def test_verbs_about_a_host_find_its_configuration_in_exec(lab: Command) -> None:
    verb = [str(PROGRAM), "drift"]
    done = lab("exec", "alpha", "--", *verb)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Host alpha" in done.stdout


def test_an_unknown_name_is_an_error_with_a_hint(lab: Command) -> None:
    done = lab("exec", "l1", "--", "true")
    assert done.returncode == 1
    assert "did you mean red.l1" in done.stderr


def test_a_subset_of_hosts_stops_the_others_and_all_come_back(lab: Command, folder: Path) -> None:
    assert lab("up", "--hosts", "alpha", str(folder), "--wait", "60").returncode == 0
    places = Lab(lab.name).places
    assert not netns_exists(places.host_netns("bravo"))
    assert not places.pins("bravo").exists()
    assert pids(lab).keys() == {"alpha"}
    assert lab("up", str(folder)).returncode == 0
    assert lab("exec", "red.l1", "--", "ping", "-c1", "-W2", "red.l2").returncode == 0


def test_down_leaves_nothing_and_twice_is_once(folder: Path, tmp_path: Path) -> None:
    command = Command(f"t{secrets.token_hex(4)}", tmp_path)
    places = Lab(command.name).places
    try:
        assert command("up", str(folder), "--hosts", "alpha").returncode == 0
        pid = json.loads(command("status", "-o", "json").stdout)[0]["pid"]
        done = command("down")
        assert (done.returncode, done.stdout) == (0, f"lab {command.name}: removed\n")
        assert not places.run.exists()
        assert not places.bpffs.exists()
        assert not Path(f"/proc/{pid}/exe").exists()  # a zombie has none
        assert command("down").stdout == f"lab {command.name}: there is none\n"
    finally:
        Lab(command.name).down()


def test_a_repository_with_problems_is_refused_with_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "host.yaml").write_text(FILES["hosts.yaml"].replace("192.168.2.1", "elsewhere"))
    command = Command(f"t{secrets.token_hex(4)}", tmp_path)
    try:
        done = command("up", str(tmp_path))
        assert done.returncode == 1
        assert "host.yaml:" in done.stderr
        assert "elsewhere" in done.stderr
        assert not Lab(command.name).places.run.exists()
    finally:
        Lab(command.name).down()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up"], "Missing argument 'REPO'"),
        (["up", "--mtu", "100", "."], "--mtu"),
        (["status", "extra"], "unexpected extra argument"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_usage_errors_have_their_own_exit_code(arguments: list[str], said: str) -> None:
    command = [PROGRAM, "lab", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert said in done.stderr
