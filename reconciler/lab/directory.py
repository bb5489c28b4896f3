"""Topology -> Directory: what the lab's names stand for: a namespace, addresses, a VPC.

Kept beside the lab as JSON, so that `lab exec` knows names without reading the repository again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path

from reconciler.lab.layout import LabError
from reconciler.model.topology import Address, AttachKind, Topology, unpacked

UNDERLAY = "underlay"
SIX = re.compile(r"-6|.*/?[a-z]+6")  # ping -6, ping6, ndisc6


@dataclass(frozen=True, slots=True)
class Member:
    """A host ("edge-1") or an endpoint ("shop/web-1"). `vni` is 0 for hosts."""

    name: str
    host: str
    netns: Path
    addresses: tuple[Address, ...]
    vni: int = 0
    vpc: str = ""
    attach: AttachKind = AttachKind.HOST
    interface: str = ""
    zone: str = ""
    managed: bool = True

    def address(self, version: int | None = None) -> Address:
        """Its first address of that IP version, or of any, IPv4 first."""
        for wanted in (version,) if version else (4, 6):
            for each in self.addresses:
                if each.version == wanted:
                    return each
        raise LabError(f"{self.name} has no IPv{version or 4} address")


@dataclass(frozen=True, slots=True)
class Directory:
    """Everybody in the lab as of `commit`, sorted by name; `underlay` is the router's namespace."""

    commit: str
    underlay: Path
    hosts: tuple[Member, ...]
    endpoints: tuple[Member, ...]

    @property
    def everybody(self) -> tuple[Member, ...]:
        """Hosts first."""
        return self.hosts + self.endpoints

    def find(self, name: str) -> Member:
        """A host by name, an endpoint as "shop.web-1" or "shop/web-1", "underlay"; or LabError."""
        for each in self.everybody:
            if name in _spellings(each.name):
                return each
        if name == UNDERLAY:
            return Member(name, "", self.underlay, ())
        close = [each for each in self.names() if name and name in each]
        hint = f"did you mean {', '.join(close[:3])}?" if close else self._some()
        raise LabError(f"no host or endpoint is called {name}; {hint}")

    def _some(self) -> str:
        names = self.names()
        return f"there are {', '.join(names[:10])}{', …' if len(names) > 10 else ''}"

    def names(self) -> list[str]:
        """What `find` takes, hosts first."""
        return [each.name.replace("/", ".") for each in self.everybody]

    def resolve(self, arguments: Sequence[str], six: bool = False) -> list[str]:
        """The arguments with names replaced by addresses; `six`, or a `-6` or ping6, wants IPv6."""
        six = six or any(SIX.fullmatch(each) for each in (*arguments[:1], *_options(arguments)))
        version = 6 if six else None
        hosts = {each.name: each for each in self.hosts}
        known = {name: each for each in self.endpoints for name in _spellings(each.name)}
        either = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
        pattern = re.compile(rf"(?:(?<=://)|(?<![\w./-]))({either})(?![\w-]|\.\w)")
        replaced = list(arguments[:1])
        for each in arguments[1:]:
            user, at, host = each.rpartition("@")
            if host in hosts:  # a short word: replaced only where nothing else can be meant
                replaced.append(f"{user}{at}{hosts[host].address()}")
            else:
                replaced.append(_replace(pattern, known, each, version) if known else each)
        return replaced

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1, default=str)

    @classmethod
    def load(cls, text: str) -> Directory:
        """The inverse of `dump`."""
        data = json.loads(text)
        hosts, endpoints = (
            [_member(**each) for each in data[key]] for key in ("hosts", "endpoints")
        )
        return cls(data["commit"], Path(data["underlay"]), tuple(hosts), tuple(endpoints))


def make_directory(
    commit: str, topology: Topology, host_netns: Mapping[str, Path], router: Path
) -> Directory:
    """Hosts of `host_netns`, in the namespaces it gives, and their endpoints, beside `router`."""
    hosts = tuple(
        Member(
            host.name,
            host.name,
            host_netns[host.name],
            (host.underlay,),
            zone=host.zone,
            managed=host.managed,
        )
        for host in topology.hosts
        if host.name in host_netns
    )
    endpoints = _endpoints(topology, host_netns, router.parent)
    return Directory(commit, router, hosts, tuple(endpoints))


def _endpoints(
    topology: Topology, host_netns: Mapping[str, Path], folder: Path
) -> Iterator[Member]:
    columns = topology.endpoints
    addresses: list[list[Address]] = [[] for _ in columns.names]
    for owner, address in zip(columns.address_owner, columns.address, strict=True):
        addresses[owner].append(unpacked(address.tobytes()))
    for number, name in enumerate(columns.names):
        host = topology.hosts[columns.host[number]]
        attachment = topology.attachments[columns.attachment[number]]
        if host.name not in host_netns or not host.managed:
            continue  # behind a foreign host nobody here makes anything
        if attachment.kind is AttachKind.TAP:
            continue  # a virtual machine, which the lab does not start
        vpc = topology.vpcs[topology.networks[columns.network[number]].vpc]
        inside = folder / (attachment.netns or name.replace("/", "."))
        yield Member(
            name,
            host.name,
            host_netns[host.name] if attachment.kind is AttachKind.HOST else inside,
            tuple(addresses[number]),
            int(vpc.vni),
            f"{vpc.namespace}/{vpc.name}",
            attachment.kind,
            attachment.interface,
        )


def _spellings(name: str) -> tuple[str, ...]:
    return (name, name.replace("/", ".")) if "/" in name else (name,)


def _options(arguments: Sequence[str]) -> list[str]:
    return [each for each in arguments[1:] if each.startswith("-")]


def _replace(
    pattern: re.Pattern[str], known: Mapping[str, Member], argument: str, version: int | None
) -> str:
    """In URLs and before a port an IPv6 address stands in brackets (RFC 3986, 3.2.2)."""

    def address(match: re.Match[str]) -> str:
        found = known[match[1]].address(version)
        before, after = argument[: match.start()], argument[match.end() :]
        bracketed = found.version == 6 and (before.endswith("://") or after.startswith(":"))
        return f"[{found}]" if bracketed else str(found)

    return pattern.sub(address, argument)


def _member(addresses: list[str], attach: str, netns: str, **rest: object) -> Member:
    return Member(
        addresses=tuple(map(ip_address, addresses)),
        attach=AttachKind(attach),
        netns=Path(netns),
        **rest,  # type: ignore[arg-type]  # written by dump
    )
