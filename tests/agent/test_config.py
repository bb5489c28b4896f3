import json
from pathlib import Path

import pytest

from reconciler.abi.generated import MAPS
from reconciler.agent.config import SCHEMA, Config, ConfigError, configure, parse
from reconciler.plan.guards import Limits

GOOD = {"host": "edge-1", "repository": "/srv/network.git"}


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse("agent.yaml", text.encode(), {})
    return str(error.value).splitlines()


def read(text: str) -> Config:
    return configure(parse("agent.yaml", text.encode(), {}))


def test_host_and_repository_are_enough() -> None:
    config = read("host: edge-1\nrepository: /srv/network.git\n")
    assert config.run_dir == Path("/run/reconciler/edge-1")
    assert config.state_dir == Path("/var/lib/reconciler/edge-1")
    assert config.limits == Limits()


def test_a_remote_is_polled_and_a_local_repository_is_not() -> None:
    assert configure({**GOOD, "repository": "https://git.example.com/network.git"}).poll == 30
    assert configure({**GOOD, "repository": "git@git.example.com:network.git"}).poll == 30
    assert configure(GOOD).poll == 0
    assert configure({**GOOD, "repository": "ssh://git.example.com/n.git", "poll": 5}).poll == 5


def test_every_mistake_is_reported_at_once_with_its_place() -> None:
    found = mistakes(
        "host: Edge_1\n"
        "repository: network.git\n"
        "dift: 3\n"
        'poll: "often"\n'
        "guards: {percent: 200, lest: 1}\n"
        "sshKey: /nowhere/key\n"
        "metrics: somewhere\n"
    )
    assert [line.split(":")[1] for line in found] == ["1", "2", "3", "4", "5", "5", "6", "7"]
    assert "did you mean `drift`?" in found[2]
    assert "/nowhere/key" in found[6]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "mapping"),
        ("- host: edge-1\n", "mapping"),
        ("host: a\n---\nhost: b\n", "2 documents"),
        ("host: a\nhost: b\nrepository: /r\n", "YAML1004"),
        ("host: [", "YAML1003"),
        ("host: edge-1\n", "`repository` is missing"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(text: str, what: str) -> None:
    assert any(what in line for line in mistakes(text))


def test_a_password_in_the_address_is_refused_without_repeating_it() -> None:
    found = mistakes("host: a\nrepository: https://me:hunter2@git.example.com/network.git\n")
    assert len(found) == 1
    assert "hunter2" not in found[0]


def test_options_go_before_the_file() -> None:
    settings = parse("agent.yaml", b"host: edge-1\nrepository: /r\n", {"host": "edge-2"})
    assert configure(settings).host == "edge-2"


def test_an_address_to_listen_on_may_be_ipv6() -> None:
    assert configure({**GOOD, "metrics": "[::1]:9460"}).metrics == ("::1", 9460)
    assert configure({**GOOD, "metrics": "0.0.0.0:80"}).metrics == ("0.0.0.0", 80)


def test_every_field_is_described_with_an_example_that_is_valid(tmp_path: Path) -> None:
    import json

    fields = json.loads(SCHEMA.read_bytes())["properties"]
    examples = {}
    for name, field in fields.items():
        assert field["description"].endswith(".")
        examples[name] = field["examples"][0]
    for name in ("sshKey", "knownHosts", "ca", "token"):
        path = tmp_path / name
        path.touch()
        examples[name] = str(path)
    configure(examples)


def test_capacities_are_chosen_by_map_and_upgrades_may_have_to_be_asked_for() -> None:
    config = read("host: a\nrepository: /r\ncapacities: {endpoints: 4194304}\nupgrade: asked\n")
    assert config.capacities == {"endpoints": 4194304}
    assert not config.limits.upgrades
    found = mistakes("host: a\nrepository: /r\nupgrade: never\ncapacities: {endpoint: 7}\n")
    assert "automatic" in found[0]
    assert "did you mean `endpoints`?" in found[1]


def test_every_map_whose_capacity_can_be_chosen_exists() -> None:
    named = json.loads(SCHEMA.read_bytes())["properties"]["capacities"]["properties"]
    assert named.keys() <= MAPS.keys()
    for name, each in named.items():
        assert each["minimum"] <= MAPS[name].capacity <= each["maximum"]
