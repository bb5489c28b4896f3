"""What verbs share that work on this host: which host it is, its configuration, its datapath.

The configuration is a file; without one, the only file of /etc/reconciler, or options alone.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.common import note
from reconciler.cli.exits import Failure

if TYPE_CHECKING:
    from reconciler.agent.config import Config
    from reconciler.agent.propose import Reader
    from reconciler.agent.store import LastGood
    from reconciler.datapath.protocol import Datapath

ETC = Path("/etc/reconciler")
SUFFIXES = (".yaml", ".yml", ".json")

_FOLDER = click.Path(path_type=Path)
HOST = (
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar="RECONCILER_CONFIG",  # set by `lab exec`
        help=f"The agent's configuration. [default: the only one in {ETC}, or that of --host]",
    ),
    click.option("--host", default="", metavar="NAME", help="This host, by its name."),
)
REPOSITORY = (
    click.option("--repo", metavar="PATH|URL", help="The repository to follow."),
    click.option("--branch", help="[default: what HEAD names]"),
    click.option("--folder", help="Read only this folder of the repository."),
)
PLACES = (
    click.option("--state-dir", type=_FOLDER, help="Where the last good state is kept."),
    click.option("--run-dir", type=_FOLDER, help="Where lock, socket and status are."),
    click.option("--bpffs", type=_FOLDER, help="Where the BPF file system is mounted."),
)
# The names of options as the configuration's schema has them.
FIELDS = {"repo": "repository", "state_dir": "stateDir", "run_dir": "runDir"}


@dataclass(frozen=True, slots=True)
class Here:
    """What the command line says of this host; options go before what a file says."""

    config: Path | None
    host: str
    settings: dict[str, Any] = field(default_factory=dict)  # by the names of the schema

    def configuration(self, *, repository: bool = True, host: str = "", **more: object) -> Config:
        """Failure with every mistake. `repository`: whether the verb cannot do without one.

        `host` is who it is if neither command line nor file says so, `more` are further settings.
        """
        from reconciler.agent.config import ConfigError, configure, parse

        given = {**self.settings, **more, "host": self.host}
        settings = {key: _plain(value) for key, value in given.items() if value not in ("", None)}
        try:
            path = self.config
            if path is None and "repository" not in settings:
                path = _own_config(self.host or host)
            if path is not None:
                settings = parse(str(path), _read(path), settings, repository=repository)
            elif not (self.host or host):
                raise click.UsageError(
                    f"which host? {ETC} has {'several configurations' if _configs() else 'none'}; "
                    f"name one by --config, or the host by --host"
                )
            elif repository and "repository" not in settings:
                raise click.UsageError(
                    "which repository? name it by --repo, or a configuration by --config"
                )
            return configure({"host": host, **settings}, repository=repository)
        except ConfigError as error:
            raise Failure(f"the configuration has mistakes\n{error}") from None


def here_options(*options: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    """HOST and more groups of options, passed together as `here`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        groups = (HOST, *options)

        @functools.wraps(function)
        def called(config: Path | None, host: str, **given: Any) -> Any:
            names = [name for name in _NAMES if name in given]
            settings = {FIELDS.get(name, name): given.pop(name) for name in names}
            if settings.get("repository"):
                settings["repository"] = absolute(settings["repository"])
            return function(here=Here(config, host, settings), **given)

        made: Callable[..., Any] = called
        for option in reversed([option for group in groups for option in group]):
            made = option(made)
        return made

    return decorate


_NAMES = ("repo", "branch", "folder", "state_dir", "run_dir", "bpffs")


def absolute(repo: str) -> str:
    """A path that exists here is meant to be one, wherever the agent runs."""
    return str(Path(repo).absolute()) if Path(repo).exists() else repo


def last_good(config: Config, *, needed: bool = True) -> LastGood | None:
    """What the host remembers; if it cannot be read, Failure, or a note where it is not needed."""
    from reconciler.agent.store import Store, StoreError

    try:
        return Store(config.state_dir).load()
    except StoreError as error:
        if needed:
            raise Failure(str(error)) from None
        note(str(error))
        return None


def open_datapath(config: Config) -> Datapath:
    """The kernel's, of this host; needs root."""
    from reconciler.datapath.kernel import KernelConfig, KernelDatapath

    need_root()
    places = KernelConfig(
        config.bpffs, config.netns_dir, config.create_netns, capacities=config.capacities
    )
    return KernelDatapath(config.host, places)


def open_reader(config: Config) -> Reader:
    """The same for a verb that must not write, and cannot with this."""
    return open_datapath(config)


def need_root() -> None:
    """Failure for those who can neither read nor write maps."""
    if os.geteuid() != 0:
        raise Failure("BPF maps are read and written by root alone: run it as root")


@contextmanager
def host_errors(host: str) -> Iterator[None]:
    """Turn what the datapath says is wrong into a failure of the verb."""
    from reconciler.datapath.errors import HostError, TransientError

    try:
        yield
    except TransientError as error:
        raise Failure(f"host {host}: {error}; try again") from None
    except HostError as error:
        raise Failure(f"host {host}: {error}") from None


def _configs() -> list[Path]:
    try:
        return sorted(each for each in ETC.iterdir() if each.suffix in SUFFIXES)
    except OSError:
        return []


def _own_config(host: str) -> Path | None:
    """The file called after the host; else the only one there is, unless it is another host's."""
    from reconciler.agent.config import parse

    found = _configs()
    named = [each for each in found if each.stem == host]
    if named:
        return named[0]
    if len(found) != 1:
        return None
    only = found[0]
    if host and parse(str(only), _read(only), {}, repository=False)["host"] != host:
        return None
    return only


def _plain(value: object) -> object:
    return str(value.absolute()) if isinstance(value, Path) else value


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; name the agent's configuration") from None
