"""Config: an agent's configuration file -> typed settings, or every mistake in it at once.

Parsed and checked by the rules and words of manifests, against config.schema.json.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.agent.store import COPIES
from reconciler.compile.state import HostName
from reconciler.manifest.formats import FORMATS
from reconciler.manifest.place import place
from reconciler.manifest.problem import Finding, Problem
from reconciler.manifest.read import read
from reconciler.manifest.scalars import ScalarRules
from reconciler.manifest.schema import check, make_validator
from reconciler.plan.guards import Limits
from reconciler.source.address import parse_address
from reconciler.source.files import SourceFile
from reconciler.source.git import GitSource, SourceError

SCHEMA = Path(__file__).with_name("config.schema.json")
POLL = 30.0  # seconds, of a remote repository
STATE, RUN = Path("/var/lib/reconciler"), Path("/run/reconciler")


class ConfigError(Exception):
    """The configuration has mistakes; one a line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Config:
    """config.schema.json describes every field; times are seconds."""

    host: HostName
    repository: str
    branch: str
    folder: str
    poll: float  # 0: never
    drift: float
    debounce: float
    grace: float
    fetch_timeout: float
    state_dir: Path
    run_dir: Path
    bpffs: Path
    netns_dir: Path
    create_netns: bool
    metrics: tuple[str, int] | None
    trust: tuple[str, ...]
    ssh_key: Path | None
    known_hosts: Path | None
    ca: Path | None
    token: Path | None
    limits: Limits
    capacities: Mapping[str, int]

    @property
    def git_source(self) -> GitSource:
        """The repository, with the copy of a remote one beside the last good state."""
        return GitSource(
            self.repository,
            self.branch,
            self.folder,
            self.state_dir / COPIES,
            self.repository in self.trust,
            self.ssh_key,
            self.known_hosts,
            self.token,
            self.ca,
        )


def parse(
    path: str, data: bytes, overrides: Mapping[str, Any], *, repository: bool = True
) -> dict[str, Any]:
    """The settings of a file, with some replaced or added; raises ConfigError.

    `repository` False: whoever asks does without one.
    """
    readings, findings = read(data, ScalarRules(), is_json=path.endswith(".json"))
    found = [*findings, *(each for reading in readings for each in reading.findings)]
    if not found and len(readings) != 1:
        found = [_finding("SCHEMA1001", f"{len(readings)} documents; write one mapping")]
    body = readings[0].body if readings else {}
    if not found and not isinstance(body, dict):
        found = [_finding("SCHEMA1001", "this is no mapping; write `host: NAME` and so on")]
    settings = {} if found else {**body, **overrides}
    if found := found or _mistakes(settings, repository):
        raise ConfigError(
            place((replace(each, path=path) for each in found), [SourceFile(path, "", data)])
        )
    return settings


def configure(settings: Mapping[str, Any], *, repository: bool = True) -> Config:
    """Settings by the names of the schema, from a file, options or both; raises ConfigError."""
    if found := _mistakes(dict(settings), repository):
        raise ConfigError(place((replace(each, path="configuration") for each in found), ()))
    given = dict(settings)
    schema = json.loads(SCHEMA.read_bytes())["properties"]
    url = given.get("repository", "")

    def value(name: str) -> Any:
        return given.get(name, schema[name].get("default"))

    def path(name: str) -> Path | None:
        return Path(given[name]) if name in given else None

    host = HostName(given["host"])
    guards = value("guards")
    limits = Limits(
        guards.get("percent", Limits().percent),
        guards.get("least", Limits().least),
        upgrades=value("upgrade") == "automatic",
    )
    return Config(
        host=host,
        repository=url,
        branch=value("branch"),
        folder=value("folder"),
        poll=float(given.get("poll", POLL if url and parse_address(url).is_remote else 0)),
        drift=float(value("drift")),
        debounce=float(value("debounce")),
        grace=float(value("gracePeriod")),
        fetch_timeout=float(value("fetchTimeout")),
        state_dir=path("stateDir") or STATE / host,
        run_dir=path("runDir") or RUN / host,
        bpffs=Path(value("bpffs")),
        netns_dir=Path(value("netnsDir")),
        create_netns=value("createNetns"),
        metrics=_listen(given["metrics"]) if "metrics" in given else None,
        trust=tuple(value("trust")),
        ssh_key=path("sshKey"),
        known_hosts=path("knownHosts"),
        ca=path("ca"),
        token=path("token"),
        limits=limits,
        capacities=value("capacities"),
    )


def _mistakes(body: dict[str, Any], repository: bool) -> list[Finding]:
    schema = json.loads(SCHEMA.read_bytes())
    if not repository:
        schema["required"].remove("repository")
    return check(make_validator(schema, {**FORMATS, **_FORMATS}), 0, body)


def _finding(code: str, message: str) -> Finding:
    return Finding("", -1, "", code, message)


def _absolute(text: str) -> None:
    if not text.startswith("/"):
        raise ValueError(f"{text} depends on where the agent is started; write it from / on")


def _existing(text: str) -> None:
    _absolute(text)
    if not Path(text).is_file():
        raise ValueError(f"there is no file {text}; make it, or leave the field out")


def _listen(text: str) -> tuple[str, int]:
    """(address, port) of `127.0.0.1:9460` or `[::1]:9460`."""
    address, _, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        ipaddress.ip_address(bare)
        if not 0 < int(port) < 1 << 16:
            raise ValueError(port)
    except ValueError:
        raise ValueError(f"{text} is no address and port, such as 127.0.0.1:9460") from None
    return bare, int(port)


def _listens(text: str) -> None:
    _listen(text)


def _repository(text: str) -> None:
    try:
        address = parse_address(text)
    except SourceError as error:
        raise ValueError(str(error)) from None
    if not address.scheme:
        _absolute(text)


_FORMATS: Mapping[str, Callable[[str], None]] = {
    "absolute-path": _absolute,
    "existing-file": _existing,
    "listen-address": _listens,
    "repository": _repository,
}
