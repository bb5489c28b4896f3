"""MACs of endpoints: derived where none is given, usable, given once in their VPC."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconciler.model.columns import Columns
from reconciler.model.frame import Frame
from reconciler.model.mac import ROUTER_MAC, derive_macs, format_mac
from reconciler.model.repeats import repeats
from reconciler.model.report import Report, seen_from
from reconciler.model.subnets import words

PLACE = ("spec", "mac")


def macs(
    columns: Columns,
    network: NDArray[np.int32],
    frame: Frame,
    report: Report,
) -> NDArray[np.uint8]:
    """(n, 6). `network` (n,) indexes those of `frame`, -1 where it is unknown."""
    vpc = frame.vpc_of[network]
    given: NDArray[np.bool_] = np.any(columns.mac, axis=1)
    found = columns.mac.copy()
    first = np.searchsorted(columns.owner, np.arange(len(columns.names)))
    has_address = np.append(columns.owner, -1)[first] == np.arange(len(first))
    known = np.append(columns.address.any(axis=1), False)[first]
    derive = np.flatnonzero(~given & has_address & known)
    found[derive] = derive_macs(frame.vni_of[vpc[derive]], columns.address[first[derive]])
    routers = np.all(found == np.frombuffer(ROUTER_MAC, np.uint8), axis=1)
    for endpoint in np.flatnonzero(routers).tolist():
        remedy = "choose another, or leave it out" if given[endpoint] else "write another one down"
        message = f"MAC {format_mac(ROUTER_MAC)} is the virtual router's; {remedy}"
        report.add(columns.documents[endpoint], PLACE, "NET1017", message)
    again = _first_address_again(columns, vpc, derive, first[derive])
    _check_twice(columns, np.where(again, -1, vpc), found, given, report)
    return found


def _first_address_again(
    columns: Columns, vpc: NDArray[np.int32], rows: NDArray[np.intp], first: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """(n,) whose MAC is another's because the address is: that is reported as such, and once."""
    again = np.zeros(len(columns.names), np.bool_)
    address = words(columns.address[first])
    for row, _ in repeats((address[:, 1], address[:, 0], vpc[rows])):
        again[rows[row]] = True
    return again


def _check_twice(
    columns: Columns,
    vpc: NDArray[np.int32],
    found: NDArray[np.uint8],
    given: NDArray[np.bool_],
    report: Report,
) -> None:
    known = np.flatnonzero((vpc >= 0) & found.any(axis=1))
    numbers = np.zeros((len(known), 8), np.uint8)
    numbers[:, 2:] = found[known]
    for row, other in repeats((numbers.view(">u8")[:, 0], vpc[known])):
        endpoint, holder = int(known[row]), int(known[other])
        document = columns.documents[endpoint]
        whose = seen_from(document, columns.documents[holder])
        remedy = "choose another, or leave it out" if given[endpoint] else "write another one down"
        kind = "MAC" if given[endpoint] else "derived MAC"
        mac = format_mac(found[endpoint].tobytes())
        place = PLACE if given[endpoint] else ("spec",)
        report.add(document, place, "NET1016", f"{kind} {mac} is that of {whose} too; {remedy}")
