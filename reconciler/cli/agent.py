"""`reconciler agent`: the process that keeps this host as the repository says."""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress

import click

from reconciler.cli.exits import Exit, Failure
from reconciler.cli.here import (
    PLACES,
    REPOSITORY,
    Here,
    here_options,
    host_errors,
    open_datapath,
)


@click.command(name="agent")
@here_options(REPOSITORY, PLACES)
@click.option("--poll", type=float, metavar="SECONDS", help="Between looks at a remote; 0: never.")
@click.option(
    "--drift", type=float, metavar="SECONDS", help="Shortest time between checks for drift."
)
@click.option("--metrics", metavar="ADDRESS:PORT", help="Serve metrics over TCP as well.")
@click.option("--trust", is_flag=True, help="Read the repository although another user owns it.")
@click.option("--create-netns", is_flag=True, help="Make missing network namespaces, as labs want.")
def command(
    here: Here,
    poll: float | None,
    drift: float | None,
    metrics: str | None,
    trust: bool,
    create_netns: bool,
) -> Exit:
    """Keep this host as the repository says.

    Wakes when a ref moves, an interface appears or a timer is due; reads the newest commit, writes
    what differs, reads it back. Stopping it stops no packet. SIGHUP makes it look at once.

    \b
    Example:
      reconciler agent --config /etc/reconciler/edge-1.yaml
      reconciler agent --repo /srv/network.git --host edge-1
    """
    from reconciler.agent.clock import SystemClock
    from reconciler.agent.lock import AgentRunningError
    from reconciler.agent.service import Service

    config = here.configuration(
        poll=poll,
        drift=drift,
        metrics=metrics,
        trust=[here.settings["repository"]] if trust and here.settings["repository"] else None,
        createNetns=create_netns or None,
    )
    _log_to_standard_error()
    datapath = open_datapath(config)
    try:
        with host_errors(config.host):
            Service(config, datapath, SystemClock(), _tell_systemd()).run()
    except AgentRunningError as error:
        raise Failure(str(error)) from None
    return Exit.OK


def _log_to_standard_error() -> None:
    """One line an event; under systemd the journal has the time already."""
    time = "" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s "
    logging.basicConfig(format=f"{time}%(levelname)s %(message)s", level=logging.INFO)


def _tell_systemd() -> Callable[[], None]:
    """Ready at the first call, alive at every other: sd_notify(3), a datagram of one line."""
    address = os.environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
    words = itertools.chain([b"READY=1"], itertools.repeat(b"WATCHDOG=1"))

    def tell() -> None:
        if address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, suppress(OSError):
                notify.sendto(next(words), address)

    return tell
