"""`reconciler lab`: hosts as network namespaces on this machine, with real agents and packets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from reconciler.cli.common import emit_json, note, output_option, progress
from reconciler.cli.exits import Exit, Failure
from reconciler.lab.layout import LabError
from reconciler.lab.places import DEFAULT, Places

F = TypeVar("F", bound=Callable[..., Any])


def _checked(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return Places(value).name
    except LabError as error:
        raise click.BadParameter(str(error)) from None


def name_option(function: F) -> F:
    """--name, passed as `name`."""
    return click.option(
        "--name",
        default=DEFAULT,
        show_default=True,
        callback=_checked,
        help="Which lab; every other one has namespaces and pins of its own.",
    )(function)


def remote_options(function: F) -> F:
    """Files for a remote repository, passed as `ssh_key`, `known_hosts`, `token` and `ca`."""
    for name, what in (
        ("--ca", "Authorities of an https remote, besides the system's."),
        ("--token", "The token of an https remote, as TOKEN or USER:TOKEN."),
        ("--known-hosts", "Host keys of an ssh remote. [default: your own]"),
        ("--ssh-key", "Private key of an ssh remote. [default: your ssh agent's]"),
    ):
        kind = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
        function = click.option(name, type=kind, metavar="FILE", help=what)(function)
    return function


@click.group(name="lab")
def command() -> None:
    """Bring hosts up as namespaces on this machine.

    Each Host becomes a network namespace with the same agent in it as on a real host; zones become
    routed subnets, endpoints namespaces called NAMESPACE.ENDPOINT.

    \b
    Example:
      reconciler lab up sample-repo
      reconciler lab exec shop.web-1 -- ping shop.db-1
      reconciler lab down
    """


@contextmanager
def guarded() -> Iterator[None]:
    """Turn what the lab says is wrong into a failure; say first that it needs root."""
    if os.geteuid() != 0:
        raise Failure("a lab makes network namespaces: run it as root")
    # Imported here: without root, and for --help, nobody needs bcc.
    from reconciler.datapath.errors import HostError, TransientError

    try:
        yield
    except (LabError, HostError, TransientError) as error:
        raise Failure(str(error)) from None


@command.command()
@click.argument("repository", metavar="REPO")
@name_option
@click.option("--branch", default="", help="[default: what HEAD names]")
@click.option("--folder", default="", help="Read only this folder of the repository.")
@click.option("--hosts", default="", metavar="A,B,…", help="Only these hosts. [default: all]")
@click.option(
    "--mtu",
    default=1500,
    show_default=True,
    type=click.IntRange(1342, 65535),
    help="Of the underlay. Endpoints have what encapsulation leaves of it, 1280 at least.",
)
@click.option(
    "--wait",
    "patience",
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the hosts may take to converge.",
)
@remote_options
def up(
    repository: str,
    name: str,
    branch: str,
    folder: str,
    hosts: str,
    mtu: int,
    patience: float,
    **files: Path | None,
) -> int:
    """Bring up the hosts of a repository.

    REPO is a repository, bare or with a work tree, or its URL, or a plain folder of manifests, of
    which the lab makes a repository. A second run starts what is missing.

    \b
    Example:
      reconciler lab up sample-repo --hosts edge-1,edge-2
    """
    from reconciler.cli import lab_view
    from reconciler.lab.lab import Lab, Wanted
    from reconciler.source.remote import Credentials

    chosen = tuple(each.strip() for each in hosts.split(",") if each.strip())
    wanted = Wanted(repository, branch, folder, chosen, mtu, patience, Credentials(**files))
    with guarded():
        lab = Lab(name)
        with lab_view.counting() as count:
            came = lab.up(wanted, count)
    lab_view.show_up(name, came)
    for each in came.behind:
        tail = "" if each.pid else f"\n{lab.agents.log_tail(each.host)}"
        note(f"host {each.host}: {each.trouble()}{tail}")
    return Exit.ERROR if came.behind else Exit.OK


@command.command()
@name_option
def down(name: str) -> None:
    """Remove a lab: agents, pins, namespaces, also after a crash.

    \b
    Example:
      reconciler lab down
    """
    from reconciler.lab.lab import Lab

    with guarded():
        there = Lab(name).down()
    click.echo(f"lab {name}: {'removed' if there else 'there is none'}")


@command.command(
    name="exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@name_option
@click.option("-6", "six", is_flag=True, help="Names in the command stand for IPv6 addresses.")
@click.argument("member", metavar="NAME")
@click.argument("arguments", metavar="[--] COMMAND...", nargs=-1, type=click.UNPROCESSED)
def execute(name: str, six: bool, member: str, arguments: tuple[str, ...]) -> NoReturn:
    """Run a command in a host or endpoint; a shell if none is given.

    NAME is a host (edge-1), an endpoint (shop.web-1), or `underlay`, where the switches are: what
    XDP sends passes the hosts' own sockets by, and can only be captured there. Names of endpoints
    anywhere in the command, and of hosts as a word of their own, are replaced by addresses.

    \b
    Example:
      reconciler lab exec shop.web-1 -- ping -c 3 shop.db-1
      reconciler lab exec edge-1 -- reconciler drift
      reconciler lab exec underlay -- tcpdump -ni h.edge-1 udp port 6081
    """
    from reconciler.lab.lab import Lab

    words = list(arguments[1:] if arguments[:1] == ("--",) else arguments)
    with guarded():
        directory = Lab(name).directory()
        found = directory.find(member)
        words = directory.resolve(words, six) or [os.environ.get("SHELL", "sh")]
    config = Places(name).host_run(found.name) / "agent.yaml"  # for verbs about this host
    given = {"RECONCILER_CONFIG": str(config)} if config.exists() else {}
    # Signals, terminal and exit code are the command's own.
    command = ["nsenter", f"--net={found.netns}", "--", *words]
    os.execvpe(command[0], command, {**os.environ, **given})


@command.command()
@name_option
@output_option("text", "json")
def test(name: str, output: str) -> int:
    """Ping everybody from everybody: who reaches whom, and should they?

    Endpoints of one VPC must reach one another; nothing may reach an endpoint of another VPC, also
    where both use the same address. Exit code 1 if anything is otherwise.

    \b
    Example:
      reconciler lab test
    """
    from reconciler.cli import lab_view
    from reconciler.lab import reach
    from reconciler.lab.lab import Lab

    with guarded(), progress("pinging everybody from everybody"):
        chosen = reach.choose(Lab(name).directory().endpoints, reach.MANY)
        claims = reach.check(chosen)
    if output == "json":
        emit_json([each.as_json() for each in claims])
    else:
        lab_view.show_reach(claims, chosen)
    return Exit.OK if all(each.holds for each in claims) else Exit.ERROR


@command.command()
@name_option
@output_option("text", "json")
def status(name: str, output: str) -> int:
    """Show hosts, agents and endpoints of a lab, and which commit each host has.

    Exit code 1 if a host has not converged.

    \b
    Example:
      reconciler lab status
    """
    from reconciler.cli import lab_view
    from reconciler.lab.lab import Lab

    with guarded():
        found = Lab(name).status()
    if output == "json":
        emit_json([each.as_json() for each in found])
    else:
        lab_view.show_status(found)
    return Exit.OK if all(each.converged for each in found) else Exit.ERROR


@command.command(hidden=True)
@name_option
def mirror(name: str) -> None:
    """Keep the copy of a remote repository up to date; started by `lab up`."""
    from reconciler.lab import mirror as work
    from reconciler.lab.places import Places

    with guarded():
        work.run(Places(name), note)


@command.command()
@click.option("--repo", default="", metavar="FOLDER", help="[default: the project's sample-repo]")
def demo(repo: str) -> int:
    """Show the main job on real packets, in about a minute, and clean up.

    \b
    Example:
      reconciler lab demo
    """
    from reconciler.cli import lab_demo

    with guarded():
        return Exit.OK if lab_demo.run(repo) else Exit.ERROR
