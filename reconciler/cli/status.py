"""`reconciler status`: what a host's agent says of itself, or said last."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from reconciler.cli.common import emit, emit_json, note, output_option
from reconciler.cli.exits import Exit, Failure
from reconciler.cli.here import PLACES, Here, here_options


@click.command(name="status")
@here_options(PLACES)
@output_option("text", "json")
def command(here: Here, output: str) -> Exit:
    """Ask a host's agent how it is.

    Conditions, commits, what waits, drift, counters of the data plane. Without an agent the last
    status that it left is shown, with its age, and the exit code is 1.

    \b
    Example:
      reconciler status --host edge-1
    """
    from reconciler.agent import client
    from reconciler.agent.store import STATUS

    run_dir = _run_dir(here)
    try:
        found, alive = client.status(run_dir), True
    except PermissionError:
        raise Failure(f"{run_dir}: its agent speaks to root alone: run it as root") from None
    except client.NoAgentError as error:
        found, alive = _left(run_dir), False
        if not found:
            raise Failure(str(error)) from None
    if output == "json":
        emit_json({"alive": alive, **found})
    else:
        emit("\n".join(_lines(found)))
    if alive:
        return Exit.OK
    age = time.time() - (run_dir / STATUS).stat().st_mtime
    note(f"error: no agent runs; this is what the last one said {_ago(age)} ago")
    return Exit.ERROR


def _run_dir(here: Here) -> Path:
    """That of the host; of the only host that an agent ran for, if none is named."""
    from reconciler.agent import config
    from reconciler.agent.store import STATUS

    named = here.config or here.host or here.settings.get("runDir")
    ran = [] if named else sorted(each.parent for each in config.RUN.glob(f"*/{STATUS}"))
    if len(ran) == 1:
        return ran[0]
    if len(ran) > 1:
        names = ", ".join(each.name for each in ran)
        raise click.UsageError(f"which host? agents ran for {names}; name one by --host")
    if here.settings.get("runDir"):
        return Path(here.settings["runDir"])
    return here.configuration(repository=False).run_dir


def _left(run_dir: Path) -> dict[str, Any]:
    """What the last agent left, {} for nothing."""
    from reconciler.agent.store import STATUS

    try:
        return dict(json.loads((run_dir / STATUS).read_bytes()))
    except (OSError, ValueError):
        return {}


def _lines(found: Mapping[str, Any]) -> list[str]:
    from reconciler.plan.lines import short

    repository = found["repository"]
    branch = f", branch {repository['branch']}" if repository["branch"] else ""
    lines = [
        f"Host {found['host']}, release {found['release']}, process {found['pid']}",
        f"  repository  {repository['url']}{branch}",
        f"  attempted   {short(found.get('lastAttempted', '')) or 'nothing yet'}",
        f"  applied     {short(found['lastApplied']) or 'nothing yet'}"
        + (f", {found['lastAppliedAt']}" if found["lastAppliedAt"] else ""),
    ]
    if found["pushToAppliedMs"] is not None:
        lines.append(f"  latency     {found['pushToAppliedMs']} ms from push to last write")
    lines += ["", *_conditions(found["conditions"])]
    lines += _block("Problems", found.get("problems", {}), str)
    lines += _block("Waiting", found.get("waiting", {}), lambda w: f"{w['origin']}: {w['fact']}")
    if "held" in found:
        held = found["held"]
        lines += ["", f"Held: commit {short(held['commit'])}"]
        lines += [f"  {each}" for each in (*held["refusals"], held["remedy"])]
    if "kept" in found:
        kept = found["kept"]
        lines += ["", f"Kept for other hosts until {kept['until']}: {kept['rows']} rows"]
    lines += ["", *_work(found)]
    lines += _traffic(found.get("traffic"))
    return lines


def _conditions(conditions: list[Mapping[str, str]]) -> list[str]:
    lines = []
    for each in conditions:
        why = each["message"] or each["reason"]
        line = f"  {each['type']:<14} {each['status']:<8} {each['since']}  {why}"
        lines.append(line.rstrip())
    return ["Conditions:", *lines]


def _block(title: str, listed: Mapping[str, Any], shown: Any) -> list[str]:
    if not listed.get("count"):
        return []
    lines = [f"  {shown(each)}" for each in listed["first"]]
    more = listed["count"] - len(lines)
    return ["", f"{title}: {listed['count']}", *lines, *([f"  {more} more"] if more else [])]


def _work(found: Mapping[str, Any]) -> list[str]:
    from reconciler.plan.lines import short

    rounds = ", ".join(f"{count} {name}" for name, count in found["rounds"].items()) or "none yet"
    drift = found["drift"]
    lines = [f"Rounds: {rounds}", f"Drift: {drift['found']} found, {drift['healed']} healed"]
    last = found.get("lastRound")
    if last:
        phases = ", ".join(f"{name} {spent:.1f}" for name, spent in last["phasesMs"].items())
        lines.append(f"Last round: {'+'.join(last['wakes'])}, {last['result']}; ms: {phases}")
    rows = ", ".join(f"{count} {name}" for name, count in found.get("rows", {}).items() if count)
    lines.append(f"Rows: {rows or 'none'}")
    lines += ["Commits:"] if found["history"] else []
    for each in found["history"]:
        changes = each.get("changes")
        what = (
            f"  +{changes['add']} ~{changes['change']} -{changes['delete']}, "
            f"{each['milliseconds']} ms"
            if changes
            else ""
        )
        lines.append(f"  {short(each['commit'])}  {each.get('outcome', ''):<10}{what}")
    return lines


def _traffic(traffic: Mapping[str, Any] | None) -> list[str]:
    if not traffic:
        return []
    seen = {name: each for name, each in traffic["reasons"].items() if each["packets"]}
    width = max(map(len, seen), default=0)
    lines = ["", "Packets by verdict:" if seen else "Packets by verdict: none"]
    lines += [f"  {name:<{width}}  {each['packets']}" for name, each in seen.items()]
    lines += _lost(traffic.get("lost", ()), traffic.get("uncounted", ""))
    others = [f"  {each}" for each in traffic.get("fallbacks", ())]
    return [*lines, *(["", "Programs in another mode than wanted:"] if others else []), *others]


def _lost(lost: Sequence[Mapping[str, Any]], uncounted: str) -> list[str]:
    """What the kernel dropped after those verdicts."""
    rows = [(each["reason"], _whose(each), str(each["frames"])) for each in lost]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    title = "Frames dropped by the kernel after the verdict"
    lines = ["", f"{title}:" if rows else f"{title}: none"]
    lines += [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*lines, *([f"  program drops {uncounted}"] if uncounted else [])]


def _whose(drop: Mapping[str, Any]) -> str:
    endpoint = f" ({drop['endpoint']})" if drop["endpoint"] else ""
    return f"{drop['interface']}{endpoint}"


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
