"""Frames in and out, built and read by scapy, which knows these formats without our help."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from reconciler.abi.generated import OptionFlag, Stage, Wire
from reconciler.datapath.prober import CLASS, payload
from tests.bpf.harness import ROUTER, SELF, UPLINK, next_hop

BLUE, RED = 7, 8  # VNIs
WEB, DB = 1, 2  # networks
ME, PEER, OTHER = "10.0.0.1", "10.0.0.2", "10.0.1.9"
ME6, PEER6, OTHER6 = "2001:db8::1", "2001:db8::2", "2001:db8:1::9"
GATEWAY, GATEWAY6 = "10.0.0.254", "2001:db8::fe"
MY_MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
B, C, D = "172.16.0.2", "172.16.0.3", "172.16.0.4"  # other hosts


def ip(source: str, destination: str, **fields: Any) -> Packet:
    """An IPv4 or IPv6 header; `tos` is the traffic class of either."""
    if ":" not in source:
        return IP(src=source, dst=destination, **fields)
    if "tos" in fields:
        fields["tc"] = fields.pop("tos")
    return IPv6(src=source, dst=destination, **fields)


def ping(source: str, destination: str, hardware: str = MY_MAC, **fields: Any) -> Packet:
    """An echo request as an endpoint sends it: to the router's MAC."""
    echo = ICMPv6EchoRequest(data=b"hello") if ":" in source else ICMP() / b"hello"
    return Ether(src=hardware, dst=ROUTER) / ip(source, destination, **fields) / echo


def datagram(source: str, destination: str, sport: int = 1000, dport: int = 53) -> Packet:
    """A UDP packet as an endpoint sends it."""
    head = Ether(src=MY_MAC, dst=ROUTER) / ip(source, destination)
    return head / UDP(sport=sport, dport=dport) / b"hello"


def option(
    stage: Stage,
    flags: int = 0,
    identity: int = 42,
    sender: str | None = None,
    kind: int = OptionFlag.CRITICAL,
) -> GeneveOptions:
    """Our option; relayed packets say who the sender's host is."""
    body = identity.to_bytes(4, "big") + (IPv4Address(sender).packed if sender else b"")
    return GeneveOptions(classid=Wire.OPTION_CLASS, type=kind | flags | stage, data=body)


def tunnel(
    inner: Packet,
    stage: Stage = Stage.HOST,
    *,
    vni: int = BLUE,
    source: str = B,
    destination: str = SELF,
    flags: int = 0,
    sender: str | None = None,
    outer: dict[str, Any] | None = None,
    options: list[Any] | None = None,
    port: int = 50000,
) -> Packet:
    """A frame as it arrives from host `source`; `outer` are fields of its IP header."""
    if options is None:
        options = [option(stage, flags, sender=sender)]
    return (
        Ether(src="02:bb:00:00:00:ff", dst=UPLINK)
        / IP(**{"src": source, "dst": destination, "ttl": 64, "flags": "DF", **(outer or {})})
        / UDP(sport=port, dport=Wire.PORT, chksum=0)
        / GENEVE(vni=vni, critical=1, proto=0x6558, options=options)
        / inner
    )


def probe(source: str = B, data: bytes | None = None, destination: str = SELF) -> Packet:
    """What the agent of `source` sends."""
    return (
        Ether(src=next_hop(source), dst=UPLINK)
        / IP(src=source, dst=destination, tos=CLASS)
        / UDP(sport=50000, dport=Wire.PORT)
        / Raw(payload() if data is None else data)
    )


def answer(source: str = B) -> Packet:
    """What the data plane of `source` answers."""
    sent = bytearray(payload())
    sent[10] = OptionFlag.CRITICAL | Stage.ALIVE
    return probe(source, bytes(sent))


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame of the tunnel, taken apart."""

    ether: Packet
    outer: Packet
    udp: Packet
    geneve: Packet
    stage: Stage
    flags: int
    identity: int
    sender: str | None
    inner: Packet


def opened(frame: bytes) -> Seen:
    """Take a frame of the tunnel apart; its lengths and checksums must be right."""
    ether = Ether(frame)
    assert_right(ether)
    outer, udp, geneve = ether[IP], ether[UDP], ether[GENEVE]
    assert outer.len == len(frame) - 14
    assert udp.len == outer.len - 20
    [ours] = geneve.options
    assert ours.classid == Wire.OPTION_CLASS
    assert geneve.optionlen * 4 == 4 + len(ours.data)
    identity, sender = ours.data[:4], ours.data[4:]
    return Seen(
        ether=ether,
        outer=outer,
        udp=udp,
        geneve=geneve,
        stage=Stage(ours.type & 7),
        flags=ours.type & ~7,
        identity=int.from_bytes(identity, "big"),
        sender=str(IPv4Address(sender)) if sender else None,
        inner=Ether(bytes(geneve.payload)),
    )


def flows(frame: Packet, count: int) -> list[bytes]:
    """A tunnelled frame as that many flows have it: they differ in the outer source port."""
    raw = bytes(frame)
    return [raw[:34] + port.to_bytes(2, "big") + raw[36:] for port in range(49152, 49152 + count)]


def next_host(frame: bytes) -> str:
    """The host that a tunnelled frame is addressed to."""
    return str(IPv4Address(frame[30:34]))


def assert_right(packet: Packet) -> None:
    """Every checksum in the frame is what scapy would have written."""
    again = Ether(bytes(packet))
    layer: Any = again
    while layer and not isinstance(layer, Raw):
        for field in ("chksum", "cksum"):
            if field in layer.fields and not (isinstance(layer, UDP) and layer.chksum == 0):
                del layer.fields[field]
        layer = layer.payload
    assert bytes(again) == bytes(packet)
