"""A lab of a repository elsewhere: its hosts reach nobody outside, and follow it all the same."""

import time
from pathlib import Path

from reconciler.lab import processes
from reconciler.lab.demo import Workspace
from reconciler.lab.lab import Wanted
from reconciler.source.remote import Credentials
from tests.netns.conftest import endpoint, host, temporary_lab, tenant
from tests.source.servers import https

FILES = {
    "hosts.yaml": host("alpha", "192.168.1.1", "a", True),
    "red.yaml": tenant("red", 1001) + "---" + endpoint("red", "l1", "left", 11, "alpha"),
}


def test_a_lab_follows_a_remote_repository_and_its_pushes(tmp_path: Path) -> None:
    manifests, served = tmp_path / "manifests", tmp_path / "served"
    for folder in (manifests, served):
        folder.mkdir()
    for name, text in FILES.items():
        (manifests / name).write_text(text)
    workspace = Workspace.make(manifests, tmp_path / "work", served / "network.git")
    workspace.push("begin")
    with https(served, tmp_path / "keys") as server, temporary_lab() as lab:
        (tmp_path / "token").write_text("operator:secret\n")
        server.token = "operator:secret"
        files = Credentials(ca=server.ca, token=tmp_path / "token")
        wanted = Wanted(server.url("network.git"), credentials=files)
        came = lab.up(wanted, lambda *_: None)
        assert not came.behind
        (workspace.folder / "more.yaml").write_text(endpoint("red", "l2", "left", 12, "alpha"))
        pushed = workspace.push("add red/l2")
        assert not lab.agents.wait(["alpha"], pushed.commit, 30, lambda _: None)
        mirror = processes.alive(lab.places.run / "mirror.pid")
        assert mirror
        lab.down()
        limit = time.monotonic() + 10
        while Path(f"/proc/{mirror}/exe").exists():
            assert time.monotonic() < limit
            time.sleep(0.01)
