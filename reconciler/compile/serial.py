"""HostState <-> its JSON form, of `compile`, `show` and `apply --from`.

An object with `format`, `version`, `abi` (the digest of the layouts), `host`, `vpcs` (of each VNI
in the tables whose it is, where that is known), `programs`, `links`, `interfaces` and `tables`: for
each owned map its rows, each `{"key": …, "value": …, "origin": …}` on a line of its own, sorted by
key bytes. Columns are named as in bpf/abi.h. Fact columns are 0 until they are bound.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from reconciler.abi.generated import ABI, CONSTANTS, MAPS
from reconciler.abi.table import DuplicateKeyError, Table
from reconciler.compile import cells
from reconciler.compile.parts import SerialError, check_interface, part, take
from reconciler.compile.state import (
    OWNED_MAPS,
    AttachMode,
    HostName,
    HostState,
    Interface,
    InterfaceKind,
    Link,
    Program,
    Route,
)

__all__ = ["FORMAT", "VERSION", "SerialError", "dump", "load", "show_item"]

FORMAT, VERSION = "reconciler host state", 1
LISTS = ("programs", "links", "interfaces")
LIVE = {"fallback", "faults"}  # only what is live has them; left out where empty
RARE = {*LIVE, "offloads"}  # left out likewise


def dump(state: HostState) -> str:
    """The JSON form: stable, sorted, ends with a newline; `load` gives the same state back."""
    lines = ["{"]
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "abi": ABI, "host": state.host}
    if state.vpcs:
        head["vpcs"] = {str(vni): state.vpcs[vni] for vni in sorted(state.vpcs)}
    lines += [f"  {_json(key)}: {_json(value)}," for key, value in head.items()]
    programs = (_show_program(each) for each in state.programs)
    lines += [*_list("  ", "programs", programs, ",")]
    lines += [*_list("  ", "links", (_show_fields(each) for each in state.links), ",")]
    lines += [*_list("  ", "interfaces", (_show_fields(each) for each in state.interfaces), ",")]
    lines.append('  "tables": {')
    for name in OWNED_MAPS:
        comma = "," if name != OWNED_MAPS[-1] else ""
        lines += _list("    ", name, _show_rows(state.tables[name], state.origins), comma)
    return "\n".join([*lines, "  }", "}", ""])


def load(text: str) -> HostState:
    """The state of a text from `dump`; raises SerialError, whose message names the place."""
    try:
        body = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise SerialError("", f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise SerialError("", "is nested too deeply") from None
    except SerialError:
        raise
    except ValueError:  # CPython reads no number of more than 4,300 digits
        raise SerialError("", "has a number that is too long") from None
    _check_head(body)
    take(body, "", {"format", "version", "abi", "host", "tables", *LISTS}, {"vpcs"})
    for name in LISTS:
        part(body, name, list)
    tables, origins = _load_tables(part(body, "tables", dict))
    programs = tuple(
        _load_program(f"programs[{i}]", each) for i, each in enumerate(body["programs"])
    )
    links = tuple(_load_link(f"links[{i}]", each) for i, each in enumerate(body["links"]))
    ends = tuple(
        _load_interface(f"interfaces[{i}]", each) for i, each in enumerate(body["interfaces"])
    )
    for name, values in (
        ("programs", [each.name for each in programs]),
        ("links", [each.interface for each in links]),
        ("interfaces", [each.name for each in ends]),
    ):
        if len(set(values)) != len(values):
            raise SerialError(name, "has two of the same name")
    strangers = {link.program for link in links} - {each.name for each in programs}
    if strangers:
        raise SerialError("links", f"no program is called {min(strangers)}")
    host = HostName(part(body, "host", str))
    return HostState(
        host,
        tables,
        tuple(sorted(programs)),
        tuple(sorted(links)),
        tuple(sorted(ends)),
        origins,
        vpcs=_load_vpcs(part(body, "vpcs", dict)) if "vpcs" in body else {},
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(indent: str, name: str, items: Iterable[object], comma: str) -> list[str]:
    """The lines of a list, one line for each item."""
    lines = [f"{indent}  {_json(item)}" for item in items]
    if not lines:
        return [f"{indent}{_json(name)}: []{comma}"]
    body = [f"{line}," for line in lines[:-1]]
    return [f"{indent}{_json(name)}: [", *body, lines[-1], f"{indent}]{comma}"]


def show_item(item: Program | Link | Interface) -> dict[str, Any]:
    """One program, link or interface as it stands in the JSON form."""
    return _show_program(item) if isinstance(item, Program) else _show_fields(item)


def read_item(kind: str, body: Any) -> Program | Link | Interface:
    """The opposite; `kind` is "programs", "links" or "interfaces". Raises SerialError."""
    if kind == "programs":
        return _load_program(kind, body)
    return _load_link(kind, body) if kind == "links" else _load_interface(kind, body)


def _show_program(program: Program) -> dict[str, Any]:
    constants = np.frombuffer(program.constants, CONSTANTS.dtype)
    shown = cells.show(CONSTANTS, constants)[0] if len(constants) else {}
    body = {"name": program.name, "constants": shown, "digest": program.digest}
    return {**body, "fallback": program.fallback} if program.fallback else body


def _show_fields(value: Link | Interface) -> dict[str, Any]:
    """Fields in order; routes as objects."""
    shown: dict[str, Any] = {each.name: getattr(value, each.name) for each in fields(value)}
    shown = {name: each for name, each in shown.items() if each or name not in RARE}
    if isinstance(value, Interface):
        shown["routes"] = [
            {"destination": each.destination, "gateway": each.gateway} for each in value.routes
        ]
    return shown


def _show_rows(table: Table, origins: tuple[str, ...]) -> Iterable[dict[str, Any]]:
    keys = cells.show(table.spec.key, table.keys)
    values = cells.show(table.spec.value, table.values)
    for key, value, origin in zip(keys, values, table.origins.tolist(), strict=True):
        row = {"key": key, "value": value}
        yield row if origin < 0 else {**row, "origin": origins[origin]}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SerialError("", f"an object has the key {twice!r} twice")
    return body


def _check_head(body: Any) -> None:
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise SerialError("", "is no host state; make one with `reconciler compile --host HOST`")
    if body.get("version") != VERSION:
        raise SerialError(
            "version",
            f"is {body.get('version')!r}, this release reads {VERSION}; compile with this release",
        )
    if body.get("abi") != ABI:
        raise SerialError(
            "abi", f"is {body.get('abi')!r}, this release has {ABI!r}; compile with this release"
        )


def _load_tables(body: dict[str, Any]) -> tuple[dict[str, Table], tuple[str, ...]]:
    take(body, "tables", set(OWNED_MAPS))
    texts: dict[str, list[str]] = {}
    for name in OWNED_MAPS:
        rows = part(body, name, list, "tables")
        texts[name] = [_origin(f"tables.{name}[{i}]", row) for i, row in enumerate(rows)]
    origins = tuple(sorted({text for each in texts.values() for text in each} - {""}))
    numbers = {text: number for number, text in enumerate(origins)}
    tables = {}
    for name in OWNED_MAPS:
        spec = MAPS[name]
        columns = {}
        for side, record in (("key", spec.key), ("value", spec.value)):
            try:
                columns[side] = cells.parse(record, [row[side] for row in body[name]])
            except cells.CellError as error:
                message, number = error.args
                raise SerialError(f"tables.{name}[{number}].{side}", message) from None
        found = np.array([numbers.get(text, -1) for text in texts[name]], np.int32)
        try:
            tables[name] = Table.make(spec, columns["key"], columns["value"], found)
        except DuplicateKeyError as error:
            raise SerialError(f"tables.{name}", str(error)) from None
    return tables, origins


def _load_vpcs(body: dict[str, Any]) -> dict[int, str]:
    found = {}
    for text in body:
        name = part(body, text, str, "vpcs")
        if not (text.isascii() and text.isdecimal()) or len(text) > 10:
            raise SerialError("vpcs", f"{text!r} is no VNI")
        found[int(text)] = str(name)
    return found


def _origin(place: str, row: Any) -> str:
    take(row, place, {"key", "value"}, {"origin"})
    return str(part(row, "origin", str, place)) if "origin" in row else ""


def _load_program(place: str, body: Any) -> Program:
    take(body, place, {"name", "constants", "digest"}, {"fallback"})
    none: list[object] = [] if body["constants"] == {} else [body["constants"]]
    try:
        constants = cells.parse(CONSTANTS, none)
    except cells.CellError as error:
        raise SerialError(f"{place}.constants", error.args[0]) from None
    name, digest = part(body, "name", str, place), part(body, "digest", str, place)
    fallback = part(body, "fallback", str, place) if "fallback" in body else ""
    return Program(name, constants.tobytes(), digest, fallback)


def _load_link(place: str, body: Any) -> Link:
    take(body, place, {each.name for each in fields(Link)} - LIVE, LIVE)
    try:
        mode = AttachMode(body["mode"])
    except ValueError:
        modes = ", ".join(AttachMode)
        raise SerialError(f"{place}.mode", f"{body['mode']!r} is none of {modes}") from None
    interface, program = part(body, "interface", str, place), part(body, "program", str, place)
    fallback = part(body, "fallback", str, place) if "fallback" in body else ""
    return Link(interface, program, mode, fallback)


def _load_interface(place: str, body: Any) -> Interface:
    take(body, place, {each.name for each in fields(Interface)} - RARE, RARE)
    try:
        kind = InterfaceKind(body["kind"])
    except ValueError:
        kinds = ", ".join(InterfaceKind)
        raise SerialError(f"{place}.kind", f"{body['kind']!r} is none of {kinds}") from None
    routes = []
    for number, route in enumerate(part(body, "routes", list, place)):
        here = f"{place}.routes[{number}]"
        take(route, here, {"destination", "gateway"})
        routes.append(
            Route(part(route, "destination", str, here), part(route, "gateway", str, here))
        )
    end = Interface(
        name=part(body, "name", str, place),
        endpoint=part(body, "endpoint", str, place),
        kind=kind,
        vni=part(body, "vni", int, place),
        network=part(body, "network", int, place),
        netns=part(body, "netns", str, place),
        peer=part(body, "peer", str, place),
        mac=part(body, "mac", str, place),
        mtu=part(body, "mtu", int, place),
        addresses=tuple(part(body, "addresses", list, place)),
        routes=tuple(routes),
        offloads="offloads" in body and part(body, "offloads", bool, place),
        faults=tuple(part(body, "faults", list, place)) if "faults" in body else (),
    )
    check_interface(place, end)
    return end
