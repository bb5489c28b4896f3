"""Rows of a table <-> JSON objects that people can read: addresses and MACs as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

import numpy as np

from reconciler.abi.spec import Record
from reconciler.abi.table import Rows
from reconciler.model.mac import format_mac, parse_mac
from reconciler.model.topology import packed, unpacked


class CellError(ValueError):
    """A row does not fit its layout; the message starts with the column."""


def show(record: Record, rows: Rows) -> list[dict[str, Any]]:
    """One object for each row, columns in the order of the layout; zeros at the end of a
    list of numbers are left out."""
    columns = []
    for name in record.dtype.names or ():
        meaning, column = record.meaning.get(name, ""), rows[name]
        if meaning in ("address", "mac"):
            text = (lambda b: str(unpacked(b))) if meaning == "address" else format_mac
            columns.append([text(each.tobytes()) for each in column])
        else:
            columns.append([_show(meaning, each) for each in column.tolist()])
    names = record.dtype.names or ()
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _show(meaning: str, value: Any) -> Any:
    if isinstance(value, list):
        while value and not value[-1]:
            value = value[:-1]
        return [_show(meaning, each) for each in value]
    return str(IPv4Address(value)) if meaning == "ipv4" else value


def parse(record: Record, rows: Sequence[Any]) -> Rows:
    """The opposite of `show`; raises CellError with the row's number in `args[1]`."""
    made = np.zeros(len(rows), record.dtype)
    names = record.dtype.names or ()
    for number, row in enumerate(rows):
        try:
            made[number] = _row(record, names, row)
        except CellError as error:
            raise CellError(str(error), number) from None
    return made


def _row(record: Record, names: Sequence[str], row: Any) -> tuple[Any, ...]:
    if not isinstance(row, Mapping) or set(row) != set(names):
        raise CellError(f"needs exactly the columns {', '.join(names)}")
    fields: Mapping[str, Any] = record.dtype.fields or {}
    return tuple(_parse(record.meaning.get(n, ""), fields[n][0], row[n], n) for n in names)


def _parse(meaning: str, dtype: Any, value: Any, column: str) -> Any:
    if meaning == "address" and isinstance(value, str):
        return list(packed(_address(value, column)))
    if meaning == "mac" and isinstance(value, str):
        try:
            return list(parse_mac(value))
        except ValueError as error:
            raise CellError(f"{column}: {error}") from None
    if dtype.subdtype is not None and meaning not in ("address", "mac"):
        base, (length,) = dtype.subdtype
        if not isinstance(value, list) or len(value) > length:
            raise CellError(f"{column}: needs a list of at most {length}")
        filled = [_parse(meaning, base, each, column) for each in value]
        return filled + [0] * (length - len(filled))
    if meaning == "ipv4" and isinstance(value, str):
        try:
            return int(IPv4Address(value))
        except AddressValueError:
            raise CellError(f"{column}: {value!r} is not an IPv4 address") from None
    if meaning:
        raise CellError(f"{column}: needs a text, not {value!r}")
    return _integer(dtype, value, column)


def _address(value: str, column: str) -> IPv4Address | IPv6Address:
    try:
        return IPv6Address(value) if ":" in value else IPv4Address(value)
    except AddressValueError:
        raise CellError(f"{column}: {value!r} is not an address") from None


def _integer(dtype: Any, value: Any, column: str) -> int:
    limit = 1 << 8 * dtype.itemsize
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise CellError(f"{column}: needs a number from 0 to {limit - 1}, not {value!r}")
    return value
