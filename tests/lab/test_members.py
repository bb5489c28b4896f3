import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.lab import members, repository
from reconciler.lab.lab import Lab
from reconciler.lab.record import Record
from reconciler.lab.repository import Followed

SAMPLE = Path(__file__).parents[2] / "sample-repo"
HOSTS = ("edge-1", "edge-2", "edge-3", "edge-4")
WEB_9 = """---
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {name: web-9, namespace: shop}
spec: {network: web, host: edge-2, addresses: [10.1.0.99]}
"""


class Followers:
    """A lab as `up` leaves it on disk, following a work tree; only what agents say is written."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        shutil.copytree(SAMPLE, folder)
        self.git("init", "-q", "-b", "main")
        came = self.commit()
        record = Record(str(folder), "main", hosts=HOSTS)
        lab.places.run.mkdir(parents=True)
        record.save(lab.places)
        head = repository.read(Followed(str(folder), "main"), "")
        directory = members.directory_of(lab.places, head, HOSTS)
        lab.places.directory.write_text(directory.dump())
        self.enforce(came)

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=o", "-c", "user.email=o@localhost", "-c", "commit.gpgSign=false"]
        command = ["git", "-C", str(self.folder), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "-m", "change")
        return self.git("rev-parse", "HEAD")

    def enforce(self, commit: str) -> None:
        """As an agent's status file has it once its host does what `commit` says."""
        for host in HOSTS:
            run = self.lab.places.host_run(host)
            run.mkdir(exist_ok=True)
            (run / "status.json").write_text(json.dumps({"enforced": commit}))

    def add(self) -> str:
        with (self.folder / "shop" / "web.yaml").open("a") as file:
            file.write(WEB_9)
        return self.commit()

    def empty(self) -> str:
        self.git("rm", "-rqf", ".")
        return self.commit()

    def names(self) -> set[str]:
        return set(self.lab.directory().names())


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Followers]:
    made = Lab(f"t{secrets.token_hex(4)}")
    try:
        yield Followers(made, tmp_path / "work")
    finally:
        made.down()


def test_an_empty_commit_takes_no_name_away(lab: Followers) -> None:
    before = lab.lab.directory()
    empty = lab.empty()
    assert before.names()
    assert lab.lab.directory() == replace(before, commit=empty)


def test_what_was_added_since_the_lab_came_up_outlives_an_empty_commit(lab: Followers) -> None:
    lab.enforce(lab.add())
    lab.empty()
    assert {"shop.web-9", "shop.web-1", "edge-1"} <= lab.names()


def test_what_the_newest_commit_adds_has_a_name_before_its_host_converges(lab: Followers) -> None:
    lab.add()
    assert "shop.web-9" in lab.names()


def test_an_endpoint_that_was_removed_has_no_name_once_its_host_converged(lab: Followers) -> None:
    (lab.folder / "ops" / "probe.yaml").unlink()
    removed = lab.commit()
    assert "ops.probe" in lab.names()
    lab.enforce(removed)
    assert "ops.probe" not in lab.names()


def test_names_outlive_the_repository(lab: Followers) -> None:
    before = lab.lab.directory()
    lab.add()
    shutil.rmtree(lab.folder)
    assert lab.lab.directory() == before


def test_a_commit_with_problems_is_named_and_takes_no_name_away(lab: Followers) -> None:
    before = lab.lab.directory()
    (lab.folder / "shop" / "web.yaml").write_text("kind: Endpoint\n")
    broken = lab.commit()
    assert lab.lab.directory() == replace(before, commit=broken)
