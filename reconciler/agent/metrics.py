"""Metrics: the status document and the data plane's counters -> Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reconciler.abi.generated import MAPS
from reconciler.datapath.protocol import Traffic

PREFIX = "reconciler_"


def exposition(document: Mapping[str, Any], traffic: Traffic | None, differences: int = 0) -> bytes:
    """The page. `traffic` None: the data plane's counters cannot be read, and are left out.

    `differences` is how often a whole commit gave another state than the followed changes.
    """
    registry = CollectorRegistry()
    registry.register(_Page(document, traffic, differences))
    return generate_latest(registry)


class _Page(Collector):
    def __init__(
        self, document: Mapping[str, Any], traffic: Traffic | None, differences: int
    ) -> None:
        self._document, self._traffic, self._differences = document, traffic, differences

    def collect(self) -> Iterable[Metric]:
        """Called by generate_latest."""
        yield from _agent(self._document)
        yield from _rounds(self._document)
        yield from _hosts(self._document)
        yield _counter(
            "compile_differences",
            "Whole commits that gave another state than their changes; there should be none.",
            self._differences,
        )
        if self._traffic is not None:
            yield from _traffic(self._traffic)


def _agent(document: Mapping[str, Any]) -> Iterable[Metric]:
    info = {name: str(document[name]) for name in ("host", "release")}
    info["commit"] = document["lastApplied"]
    yield _gauge("info", "1; which host, which release, which commit is applied.", 1, info)
    yield _family(
        GaugeMetricFamily,
        "condition",
        "Whether a condition holds: 1 true, 0 false, -1 unknown.",
        "type",
        {
            each["type"]: {"True": 1, "False": 0}.get(each["status"], -1)
            for each in document["conditions"]
        },
    )
    yield _gauge("problems", "Problems of the newest commit.", _count(document, "problems"))
    yield _gauge("waiting", "Manifests that wait for a fact.", _count(document, "waiting"))
    rows = document.get("rows", {})
    yield _family(GaugeMetricFamily, "table_rows", "Live rows of a map.", "table", rows)
    kept = document.get("kept", {}).get("rows", 0)
    yield _gauge("kept_rows", "Rows of earlier commits that stay for other hosts a while.", kept)
    capacity = {name: MAPS[name].capacity for name in rows}
    yield _family(
        GaugeMetricFamily, "table_capacity", "Rows that a map can hold.", "table", capacity
    )
    for name, key, what in (
        ("last_round_timestamp_seconds", "at", "When the last round ended."),
        ("last_applied_timestamp_seconds", "lastAppliedAt", "When a commit was applied last."),
        ("start_timestamp_seconds", "startedAt", "When the agent started."),
    ):
        if document.get(key):
            yield _gauge(name, what, datetime.fromisoformat(document[key]).timestamp())
    if document["pushToAppliedMs"] is not None:
        yield _gauge(
            "push_to_applied_seconds",
            "From noticing the last commit to its last verified write.",
            document["pushToAppliedMs"] / 1000,
        )


def _rounds(document: Mapping[str, Any]) -> Iterable[Metric]:
    yield _family(
        CounterMetricFamily, "rounds", "Rounds by their result.", "result", document["rounds"]
    )
    yield _family(
        CounterMetricFamily,
        "phase_seconds",
        "Time spent in each phase of the rounds.",
        "phase",
        document["phaseSeconds"],
    )
    writes = CounterMetricFamily(
        PREFIX + "writes", "Writes to the kernel.", labels=["what", "change"]
    )
    for what, counts in document["writes"].items():
        for change, count in counts.items():
            writes.add_metric([what, change], count)
    yield writes
    drift = document["drift"]
    yield _counter("drift_found", "Changes that somebody else had made.", drift["found"])
    yield _counter("drift_healed", "Those of them that were undone.", drift["healed"])
    yield _gauge("failures", "Rounds in a row that failed.", document["failures"])


def _hosts(document: Mapping[str, Any]) -> Iterable[Metric]:
    """By state, not by host: their number has no bound."""
    found = document.get("hosts")
    if found is None:
        return
    yield _family(
        GaugeMetricFamily,
        "hosts",
        "Other hosts that packets may go to, by what their answers to probes say.",
        "state",
        found["states"],
    )
    yield _family(
        CounterMetricFamily,
        "host_verdicts",
        "Hosts that were found dead, or alive again.",
        "verdict",
        found["verdicts"],
    )
    yield _counter("probes", "Probes sent to other hosts.", found["probes"])


def _traffic(traffic: Traffic) -> Iterable[Metric]:
    for unit in ("packets", "bytes"):
        family = CounterMetricFamily(
            f"{PREFIX}verdict_{unit}",
            f"{unit.capitalize()} by the reason of their verdict.",
            labels=["reason"],
        )
        for reason, count in sorted(traffic.reasons.items()):
            family.add_metric([reason], getattr(count, unit))
        yield family
        family = CounterMetricFamily(
            f"{PREFIX}endpoint_{unit}",
            f"{unit.capitalize()} that an endpoint sent (rx) and received (tx), "
            "as its host sees them.",
            labels=["endpoint", "direction"],
        )
        for endpoint, each in sorted(traffic.endpoints.items()):
            for direction in ("rx", "tx"):
                family.add_metric([endpoint, direction], getattr(each, f"{direction}_{unit}"))
        yield family
    lost = CounterMetricFamily(
        PREFIX + "kernel_drops",
        "Frames that the kernel dropped after the verdict.",
        labels=["interface", "endpoint", "reason"],
    )
    for drop in traffic.lost:
        lost.add_metric([drop.interface, drop.endpoint, drop.reason], drop.frames)
    yield lost
    yield _gauge(
        "kernel_drops_counted",
        "Whether all tracepoints that kernel_drops counts at are there: 1 yes, 0 no.",
        not traffic.uncounted,
    )


def _count(document: Mapping[str, Any], key: str) -> int:
    return int(document[key]["count"]) if key in document else 0


def _gauge(name: str, what: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, what, labels=list(labels or {}))
    family.add_metric(list((labels or {}).values()), value)
    return family


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, what, value=value)


def _family(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    what: str,
    label: str,
    values: Mapping[str, float],
) -> Metric:
    family = kind(PREFIX + name, what, labels=[label])
    for each, value in sorted(values.items()):
        family.add_metric([each], value)
    return family
