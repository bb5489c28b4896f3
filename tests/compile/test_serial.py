"""The JSON form of a host state: the same back, and clear words for what is none."""

import json
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.abi.generated import ABI
from reconciler.abi.table import Table
from reconciler.compile.bind import bind
from reconciler.compile.host import compile_all, compile_host
from reconciler.compile.serial import SerialError, dump, load
from reconciler.compile.state import HostName, HostState
from reconciler.manifest.document import Document
from tests.compile.facts import complete
from tests.compile.topologies import built, documents, host, regular

STATE = compile_host(built(regular(3, 2, 12)), HostName("h0000"))
BOUND = bind(STATE, complete(STATE)).state
BODY = json.loads(dump(BOUND))


def same(left: HostState, right: HostState) -> bool:
    """Equal, with the origin of every row too."""
    return left == right and all(
        [left.origins[i] for i in left.tables[name].origins if i >= 0]
        == [right.origins[i] for i in right.tables[name].origins if i >= 0]
        for name in left.tables
    )


@given(documents(), st.booleans())
@settings(max_examples=40)
def test_what_is_dumped_loads_as_it_was(found: list[Document], facts: bool) -> None:
    for state in compile_all(built(found)).values():
        wanted = bind(state, complete(state)).state if facts else state
        text = dump(wanted)
        assert same(load(text), wanted)
        assert dump(load(text)) == text


def test_a_live_state_has_no_origins_and_loads_as_well() -> None:
    tables = {
        name: Table(table.spec, table.keys, table.values, np.full(len(table), -1, np.int32))
        for name, table in BOUND.tables.items()
    }
    live = HostState(BOUND.host, tables, BOUND.programs, BOUND.links, BOUND.interfaces)
    assert '"origin"' not in dump(live)
    assert load(dump(live)) == live == BOUND


def test_an_empty_state_loads_as_it_was() -> None:
    empty = HostState.empty(HostName("h0000"))
    assert load(dump(empty)) == empty


def test_rows_stand_on_lines_of_their_own_in_words_for_people() -> None:
    lines = dump(STATE).splitlines()
    assert (
        '      {"key": {"address": "172.31.0.1"}, "value": {"slot": 0, "flags": 1, "reserved": 0}, '
        '"origin": "Host h0000"},'
    ) in lines
    assert (
        '      {"key": {"vni": 7, "address": "10.0.0.1"}, "value": {"check": 0, '
        '"host": "172.31.0.1", "mac": "02:00:00:00:00:01", "host_slot": 0, "ifindex": 0, '
        '"identity": 0, "network": 3117571414, "counter": 0, "flags": 2}, '
        '"origin": "Network shop/n0000"},'
    ) in lines
    assert lines[1:5] == [
        '  "format": "reconciler host state",',
        '  "version": 1,',
        f'  "abi": "{ABI}",',
        '  "host": "h0000",',
    ]


def test_the_order_of_rows_in_a_file_does_not_matter() -> None:
    body = deepcopy(BODY)
    for rows in body["tables"].values():
        rows.reverse()
    for name in ("programs", "links", "interfaces"):
        body[name].reverse()
    assert same(load(json.dumps(body)), BOUND)


def edited(path: list[str | int], value: Any) -> str:
    """BODY with one value replaced, or removed where `value` is ..."""
    body = deepcopy(BODY)
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(body)


ENDPOINT: list[str | int] = ["tables", "endpoints", 3]
INTERFACE: list[str | int] = ["interfaces", 0]
WRONG: list[tuple[list[str | int], Any, str]] = [
    (["format"], "else", "is no host state; make one with `reconciler compile --host HOST`"),
    (["version"], 2, "version: is 2, this release reads 1; compile with this release"),
    (
        ["abi"],
        "0" * 16,
        f"abi: is '{'0' * 16}', this release has '{ABI}'; compile with this release",
    ),
    (["host"], 5, "host: needs a text"),
    (["links"], {}, "links: needs a list"),
    (["tables"], ..., "lacks tables"),
    (["more"], 1, "'more' means nothing here"),
    (["tables", "hosts"], ..., "tables: lacks hosts"),
    (["tables", "other"], [], "tables: 'other' means nothing here"),
    (["tables", "hosts", 0], 7, "tables.hosts[0]: needs an object"),
    ([*ENDPOINT, "key"], ..., "tables.endpoints[3]: lacks key"),
    ([*ENDPOINT, "note"], "", "tables.endpoints[3]: 'note' means nothing here"),
    ([*ENDPOINT, "origin"], 1, "tables.endpoints[3].origin: needs a text"),
    (
        [*ENDPOINT, "key", "vni"],
        ...,
        "tables.endpoints[3].key: needs exactly the columns vni, address",
    ),
    (
        [*ENDPOINT, "key", "vni"],
        1 << 32,
        "tables.endpoints[3].key: vni: needs a number from 0 to 4294967295, not 4294967296",
    ),
    (
        [*ENDPOINT, "value", "counter"],
        -1,
        "tables.endpoints[3].value: counter: needs a number from 0 to 65535, not -1",
    ),
    (
        [*ENDPOINT, "value", "counter"],
        True,
        "tables.endpoints[3].value: counter: needs a number from 0 to 65535, not True",
    ),
    (
        [*ENDPOINT, "key", "address"],
        "10.0.0.256",
        "tables.endpoints[3].key: address: '10.0.0.256' is not an address",
    ),
    (
        [*ENDPOINT, "key", "address"],
        7,
        "tables.endpoints[3].key: address: needs a text, not 7",
    ),
    (
        [*ENDPOINT, "value", "mac"],
        "02:00",
        "tables.endpoints[3].value: mac: not a MAC address: '02:00'",
    ),
    (
        [*ENDPOINT, "value", "host"],
        "::1",
        "tables.endpoints[3].value: host: '::1' is not an IPv4 address",
    ),
    (
        ["tables", "bouncers", 0, "value", "host"],
        ["10.0.0.1"] * 9,
        "tables.bouncers[0].value: host: needs a list of at most 8",
    ),
    (
        ["tables", "hosts", 1, "key", "address"],
        BODY["tables"]["hosts"][0]["key"]["address"],
        "tables.hosts: hosts: key (2887712769,) occurs twice",
    ),
    (
        ["programs", 0, "constants", "self"],
        "edge-1",
        "programs[0].constants: self: 'edge-1' is not an IPv4 address",
    ),
    (["programs", 1, "name"], "access", "programs: has two of the same name"),
    (["links", 0, "program"], "other", "links: no program is called other"),
    (["links", 0, "mode"], "fast", "links[0].mode: 'fast' is none of native, generic, offload, tc"),
    ([*INTERFACE, "kind"], "tun", "interfaces[0].kind: 'tun' is none of veth, tap, existing"),
    (
        [*INTERFACE, "name"],
        "../../etc",
        "interfaces[0].name: '../../etc' is no name of an interface",
    ),
    (
        [*INTERFACE, "name"],
        "x" * 16,
        f"interfaces[0].name: '{'x' * 16}' is no name of an interface",
    ),
    ([*INTERFACE, "peer"], "a b", "interfaces[0].peer: 'a b' is no name of an interface"),
    (
        [*INTERFACE, "netns"],
        "../run",
        "interfaces[0].netns: '../run' is neither a name nor an absolute path",
    ),
    ([*INTERFACE, "vni"], -1, "interfaces[0].vni: -1 is no 32-bit number"),
    ([*INTERFACE, "mac"], "zz", "interfaces[0].mac: 'zz' cannot be read"),
    (
        [*INTERFACE, "addresses", 0],
        "10.0.0.1/40",
        "interfaces[0].addresses[0]: '10.0.0.1/40' cannot be read",
    ),
    ([*INTERFACE, "addresses", 0], 7, "interfaces[0].addresses[0]: 7 cannot be read"),
    (
        [*INTERFACE, "routes", 0, "gateway"],
        "next",
        "interfaces[0].routes[0].gateway: 'next' cannot be read",
    ),
    (
        [*INTERFACE, "routes", 0, "destination"],
        "10.0.0.1/8",
        "interfaces[0].routes[0].destination: '10.0.0.1/8' cannot be read",
    ),
    ([*INTERFACE, "mtu"], ..., "interfaces[0]: lacks mtu"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_the_place_and_the_mistake_are_named(
    path: list[str | int], value: Any, message: str
) -> None:
    with pytest.raises(SerialError) as caught:
        load(edited(path, value))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: Expecting value"),
        ('{"a": 1,\n}', "line 2, column 1: Expecting property name enclosed in double quotes"),
        ("[]", "is no host state; make one with `reconciler compile --host HOST`"),
        ('{"a": 1, "a": 2}', "an object has the key 'a' twice"),
        ("[" * 100_000, "is nested too deeply"),
        ("1" * 5000, "has a number that is too long"),
    ],
)
def test_a_text_that_is_no_host_state_is_refused(text: str, message: str) -> None:
    with pytest.raises(SerialError) as caught:
        load(text)
    assert str(caught.value) == message


def places(body: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of everything in a JSON value."""
    if not isinstance(body, dict | list):
        return [path]
    items = body.items() if isinstance(body, dict) else enumerate(body)
    inner = [each for key, value in items for each in places(value, (*path, key))]
    return [path, *inner] if path else inner


ANYTHING = st.sampled_from(
    [..., None, True, -1, 0, 1 << 70, 1.5, "", "x", "10.0.0.1", "::", [], {}, [[]], [None], {"": 1}]
)


@given(st.sampled_from(places(BODY)), ANYTHING)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_stands_anywhere_is_read_or_refused(
    path: tuple[str | int, ...], value: Any
) -> None:
    try:
        state = load(edited(list(path), value))
    except SerialError:
        return
    assert load(dump(state)) == state


def test_a_foreign_host_and_two_families_are_shown() -> None:
    topology = built([*regular(1, 1, 1), host(9, managed=False)])
    text = dump(compile_host(topology, HostName("h0000")))
    assert '"flags": 2, "reserved": 0}, "origin": "Host h0009"' in text
    assert '"address": "2001:db8::1"' in text
