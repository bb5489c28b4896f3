"""sample-repo: what its README promises, and the exact states of its hosts."""

import re
import shutil
from collections import Counter
from pathlib import Path

from tests.compile.golden import GOLDEN, SAMPLE, sample, states


def test_every_host_of_the_sample_holds_exactly_what_is_expected() -> None:
    """After a wanted change: .venv/bin/python -m tests.compile.golden"""
    expected = {path.name: path.read_text() for path in GOLDEN.glob("*.json")}
    found = states(sample())
    assert sorted(found) == sorted(expected)
    for name, text in found.items():
        assert text.splitlines() == expected[name].splitlines(), name


def test_the_sample_is_a_small_believable_company() -> None:
    commit = sample()
    assert commit.problems == ()
    assert commit.topology is not None
    kinds = Counter(each.kind for each in commit.documents)
    assert kinds == {"Host": 4, "Namespace": 3, "VPC": 2, "Network": 4, "Endpoint": 12}
    assert {host.zone for host in commit.topology.hosts} == {"a", "b"}
    addresses = Counter(row.tobytes() for row in commit.topology.endpoints.address)
    assert max(addresses.values()) == 2


def test_the_readme_of_the_sample_shows_the_mistake_as_it_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(SAMPLE, folder)
    web = folder / "shop" / "web.yaml"
    text = web.read_text()
    assert text.count("10.1.0.12") == 1
    web.write_text(text.replace("10.1.0.12", "10.1.9.4"))
    (problem,) = sample(folder).problems
    assert str(problem) in (SAMPLE / "README.md").read_text()


def test_the_endpoint_of_the_readme_needs_an_address_and_is_offered_free_ones(
    tmp_path: Path,
) -> None:
    (added,) = re.findall(r"```yaml\n(---\n.*?)```", (SAMPLE / "README.md").read_text(), re.S)
    folder = tmp_path / "net"
    shutil.copytree(SAMPLE, folder)
    web = folder / "shop" / "web.yaml"
    web.write_text(web.read_text() + added)
    (problem,) = sample(folder).problems
    (line,) = re.findall(r'add "(.*)" to its spec', problem.message)
    web.write_text(web.read_text().replace("host: edge-2}", f"host: edge-2, {line}}}"))
    assert sample(folder).problems == ()


def test_back_from_a_change_every_host_holds_what_it_did(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(SAMPLE, folder)
    before = states(sample(folder))
    web = folder / "shop" / "web.yaml"
    text = web.read_text()
    web.write_text(text.replace("host: edge-1", "host: edge-2"))
    moved = states(sample(folder))
    assert moved != before
    web.write_text(text)
    assert states(sample(folder)) == before == states(sample())
