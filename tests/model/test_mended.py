"""Manifests that break their schema are judged as far as they are right, and no further."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifest.load import load_bytes
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import follow
from reconciler.model.part import read_part
from reconciler.model.part_serial import dump_part, load_part
from reconciler.source.files import Snapshot, SourceFile
from reconciler.source.package import schemas
from tests.model.repository import BASE, problems, read

SCHEMAS = schemas()
VALIDATORS = compile_schemas(SCHEMAS)


def text(kind: str, name: str, spec: str, namespace: str = "shop") -> str:
    """One manifest; the spec stands on line 4, from column 7."""
    version = "reconciler/v1alpha1"
    metadata = f"{{name: {name}{f', namespace: {namespace}' if namespace else ''}}}"
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {metadata}\nspec: {{{spec}}}\n"


def found_in(files: dict[str, str]) -> list[str]:
    """Code and path of every problem, with the word that stands at its place."""
    found = []
    for problem in read({**BASE, **files}).problems:
        rest = files[problem.path].splitlines()[problem.line - 1][problem.column - 1 :]
        word = re.match(r"[-\w.:/]*[-\w/]", rest)
        found.append(f"{problem.code} {problem.path} {word[0] if word else rest[0]}")
    return found


GOOD = text("Endpoint", "a", "network: web, host: edge-1, addresses: [10.1.0.11]")
CASES: dict[str, tuple[dict[str, str], list[str]]] = {
    "five mistakes in one manifest are five problems": (
        {
            "a.yaml": GOOD,
            "b.yaml": text(
                "Endpoint",
                "b",
                "network: wbe, host: rack-7, ports: [{port: 70000, name: http}], color: red, "
                "addresses: [10.1.0.11], mac: none",
            ),
        },
        [
            "REF1002 b.yaml wbe",
            "REF1002 b.yaml rack-7",
            "SCHEMA1007 b.yaml 70000",
            "SCHEMA1003 b.yaml color",
            "SCHEMA1008 b.yaml none",
        ],
    ),
    "an address outside and one used twice beside an unknown field": (
        {
            "a.yaml": GOOD,
            "b.yaml": text(
                "Endpoint",
                "b",
                "color: red, network: web, host: edge-1, addresses: [10.1.9.4, 10.1.0.11]",
            ),
        },
        ["SCHEMA1003 b.yaml color", "NET1012 b.yaml 10.1.9.4", "NET1014 b.yaml 10.1.0.11"],
    ),
    "the addresses beside one that is none": (
        {
            "b.yaml": text(
                "Endpoint", "b", "network: web, host: edge-1, addresses: [10.1.0.300, 10.1.9.4]"
            )
        },
        ["SCHEMA1008 b.yaml 10.1.0.300", "NET1012 b.yaml 10.1.9.4"],
    ),
    "a MAC that is used twice beside a missing host": (
        {
            "a.yaml": text(
                "Endpoint",
                "a",
                'network: web, host: edge-1, addresses: [10.1.0.11], mac: "02:00:00:00:00:09"',
            ),
            "b.yaml": text(
                "Endpoint", "b", 'network: web, addresses: [10.1.0.12], mac: "02:00:00:00:00:09"'
            ),
        },
        ["SCHEMA1004 b.yaml spec", 'NET1016 b.yaml "'],
    ),
    "an endpoint outside a network that has an unknown field": (
        {
            "a.yaml": text("Network", "db", "vpc: shop, cidrs: [10.2.0.0/24], color: red"),
            "b.yaml": text("Endpoint", "b", "network: db, host: edge-1, addresses: [10.1.0.11]"),
        },
        ["SCHEMA1003 a.yaml color", "NET1012 b.yaml 10.1.0.11"],
    ),
    "the ranges beside one that is none": (
        {
            "a.yaml": text(
                "Network", "db", "vpc: shop, cidrs: [10.2.0.1/24, 10.1.0.0/25, 192.168.0.0/24]"
            )
        },
        [
            "SCHEMA1008 a.yaml 10.2.0.1/24",
            "NET1005 a.yaml 10.1.0.0/25",
            "NET1004 a.yaml 192.168.0.0/24",
        ],
    ),
    "a VNI used twice beside a range that is none": (
        {"a.yaml": text("VPC", "zoo", "vni: 4097, cidrs: [10.0.0.0]")},
        ["NET1001 a.yaml 4097", "SCHEMA1008 a.yaml 10.0.0.0"],
    ),
    "an underlay address used twice beside a wrong weight": (
        {"a.yaml": text("Host", "edge-9", "weight: 0, underlay: 172.31.1.11", "")},
        ["SCHEMA1007 a.yaml 0", "NET1002 a.yaml 172.31.1.11"],
    ),
    "a name given twice, once with a mistake": (
        {"a.yaml": GOOD, "b.yaml": GOOD.replace("11]", "12], color: red")},
        ["REF1001 b.yaml a", "SCHEMA1003 b.yaml color"],
    ),
    "two mistakes about the gateways of a network": (
        {
            "a.yaml": text(
                "Network",
                "db",
                "vpc: shop, cidrs: [10.2.0.0/24, 10.3.0.0/24], gateways: [10.2.0.300, 10.4.0.1]",
            )
        },
        ["SCHEMA1008 a.yaml 10.2.0.300", "NET1008 a.yaml 10.4.0.1"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_right_is_judged_beside_what_is_wrong(name: str) -> None:
    files, expected = CASES[name]
    assert sorted(found_in(files)) == sorted(expected)


@pytest.mark.parametrize("name", CASES)
def test_an_agent_that_follows_commits_says_the_same(name: str) -> None:
    files = {**BASE, **CASES[name][0]}
    sources = [SourceFile(path, path, data.encode()) for path, data in sorted(files.items())]
    step = follow(Snapshot("0" * 40, tuple(sources)), VALIDATORS)
    assert step.problems == read(files).problems
    assert step.memory is None


QUIET: dict[str, dict[str, str]] = {
    "a misspelt field that must be there": {
        "a.yaml": GOOD.replace("host:", "hosts:"),
    },
    "a misspelt field that may be absent": {
        "a.yaml": GOOD.replace("addresses", "adresses"),
    },
    "an endpoint at the gateway that a network does not spell right": {
        "a.yaml": text("Network", "db", "vpc: shop, cidrs: [10.2.0.0/24], gateway: [10.2.0.9]"),
        "b.yaml": text("Endpoint", "b", "network: db, host: edge-1, addresses: [10.2.0.1]"),
    },
    "what lies in the range of a network that is wrong": {
        "a.yaml": text("Network", "db", "vpc: shop, cidrs: [10.2.0.1/24, 10.3.0.0/24]"),
        "b.yaml": text("Endpoint", "b", "network: db, host: edge-1, addresses: [10.2.0.9]"),
        "c.yaml": text("Endpoint", "c", "network: db, host: edge-1"),
    },
    "networks of a VPC whose range is wrong": {
        "a.yaml": text("VPC", "zoo", "vni: 7, cidrs: [10.0.0.0/8, 192.168.0.1/16]"),
        "b.yaml": text("Network", "db", "vpc: zoo, cidrs: [192.168.1.0/24]"),
    },
    "who asks from a namespace whose labels are wrong": {
        "a.yaml": "apiVersion: v1\nkind: Namespace\n"
        "metadata: {name: blue, labels: {team: [shop]}}\n",
        "b.yaml": text(
            "Network",
            "db",
            "vpc: shop, cidrs: [10.2.0.0/24], "
            "allowedFrom: [{namespaceSelector: {matchLabels: {team: shop}}}]",
        ),
        "c.yaml": text(
            "Endpoint",
            "b",
            "network: {namespace: shop, name: db}, host: edge-1, addresses: [10.2.0.9]",
            "blue",
        ),
    },
    "who refers to a manifest whose namespace is misspelt": {
        "a.yaml": text("Network", "db", "vpc: shop, cidrs: [10.2.0.0/24]").replace(
            "namespace", "namspace"
        ),
        "b.yaml": text("Endpoint", "b", "network: db, host: edge-1, addresses: [10.2.0.9]"),
    },
    "two addresses that are none": {
        "a.yaml": GOOD.replace("10.1.0.11", "10.1.0.300, 10.1.0.301"),
        "b.yaml": GOOD.replace("name: a", "name: b").replace("10.1.0.11", "10.1.0.300"),
    },
}


@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_concluded_from_what_is_wrong(name: str) -> None:
    found = problems(QUIET[name])
    assert found
    assert all(" SCHEMA1" in each for each in found)


def test_one_misspelt_field_is_one_problem() -> None:
    (only,) = problems({"a.yaml": GOOD.replace("host:", "hosts:")})
    assert "unknown field `spec.hosts`; did you mean `host`?" in only


def test_what_was_mended_survives_the_cache() -> None:
    data = CASES["five mistakes in one manifest are five problems"][0]["b.yaml"].encode()
    part = read_part(data, False, VALIDATORS)
    assert part.mended
    assert load_part(dump_part(part)).mended == part.mended


WHOLE: dict[str, Any] = {
    "host": {
        "apiVersion": "reconciler/v1alpha1",
        "kind": "Host",
        "metadata": {"name": "edge-1", "labels": {"zone": "a"}},
        "spec": {"underlay": "172.31.1.11", "interface": "eth0", "weight": 2, "managed": True},
    },
    "vpc": {
        "apiVersion": "reconciler/v1alpha1",
        "kind": "VPC",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {
            "vni": 4097,
            "cidrs": ["10.0.0.0/8", "2001:db8::/32"],
            "dividers": {"count": 1},
            "allowedFrom": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}],
        },
    },
    "namespace": {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "blue", "labels": {"team": "blue"}},
    },
    "network": {
        "apiVersion": "reconciler/v1alpha1",
        "kind": "Network",
        "metadata": {"name": "web", "namespace": "blue"},
        "spec": {
            "vpc": {"namespace": "shop", "name": "shop"},
            "cidrs": ["10.1.0.0/24", "2001:db8:1::/64"],
            "gateways": ["10.1.0.254", "2001:db8:1::fe"],
            "bouncers": {"count": 1, "zones": "any"},
        },
    },
    "endpoint": {
        "apiVersion": "reconciler/v1alpha1",
        "kind": "Endpoint",
        "metadata": {"name": "web-1", "namespace": "blue", "labels": {"app": "web"}},
        "spec": {
            "network": "web",
            "host": "edge-1",
            "addresses": ["10.1.0.1", "2001:db8:1::1"],
            "mac": "02:00:00:00:00:07",
            "attach": {"host": True},
            "ports": [{"name": "http", "port": 8080}],
        },
    },
}
WHOLE["other"] = copy.deepcopy(WHOLE["endpoint"])
WHOLE["other"]["metadata"]["name"] = "web-2"
WHOLE["other"]["spec"] |= {
    "addresses": ["10.1.0.2"],
    "mac": "02:00:00:00:00:08",
    "attach": {"veth": {"netns": "web", "interface": "net1"}},
}


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Steps to everything that can be damaged."""
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for step, each in members:
        yield (*at, step)
        if isinstance(each, dict | list):
            yield from places(each, (*at, step))


PLACES = [(name, place) for name, body in WHOLE.items() for place in places(body)]
DAMAGE = [None, -1, 3.5, "", "Not A Name!", "x" * 300, [], {}, [[]], {"a": {}}, "lost", "misspelt"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(DAMAGE))
def test_a_single_mistake_is_never_two_kinds_of_problem(
    where: tuple[str, tuple[str | int, ...]], damage: Any
) -> None:
    bodies = copy.deepcopy(WHOLE)
    name, (*above, last) = where
    holder = bodies[name]
    for step in above:
        holder = holder[step]
    if damage in ("lost", "misspelt"):
        value = holder.pop(last)
        if damage == "misspelt" and isinstance(holder, dict):
            holder[f"{last}s"] = value
    else:
        holder[last] = damage
    files = {f"{key}.json": json.dumps(body) for key, body in bodies.items()}
    data = files[f"{name}.json"].encode()
    if not load_bytes(data, True, VALIDATORS).findings:
        return  # valid still, so what it means is up to the others
    found = [str(each) for each in read(files).problems]
    assert found
    assert all(each.startswith(f"{name}.json") for each in found), found
    assert not [each for each in found if " NET1" in each or " REF1" in each], found


def test_the_manifests_of_that_test_have_no_problem() -> None:
    assert not read({f"{key}.json": json.dumps(body) for key, body in WHOLE.items()}).problems
