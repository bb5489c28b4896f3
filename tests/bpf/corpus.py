"""Two crowded VPCs, and frames that the programs understand: what fuzzing begins with."""

from __future__ import annotations

import itertools
from typing import Any

from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from reconciler.abi.generated import OptionFlag, Stage
from tests.bpf.frames import (
    BLUE,
    DB,
    GATEWAY,
    GATEWAY6,
    ME,
    ME6,
    MY_MAC,
    OTHER,
    PEER,
    PEER6,
    RED,
    WEB,
    B,
    C,
    D,
    answer,
    datagram,
    ip,
    option,
    ping,
    probe,
    tunnel,
)
from tests.bpf.harness import INTERFACE, ROUTER, SELF, World, address

OF = {BLUE: "02:00:00:00:07", RED: "02:00:00:00:08"}  # the VPC's endpoints' MACs begin so

F, BEHIND = "172.16.0.21", "10.0.0.5"  # a foreign host, and an endpoint there
FOREIGN = bytes(map(int, F.split(".")))
HOSTS = {bytes(map(int, each.split("."))) for each in (B, C, D)}
OWN = {bytes(address(ME))[-4:], bytes(address(ME6))}


NOBODY = "172.16.0.99"
MAPPED = f"::ffff:{PEER}"
LONG = bytes(380)  # more than the MTU of some tests
OURS = option(Stage.HOST)
FRAGMENTS: tuple[dict[str, Any], ...] = ({"flags": "MF"}, {"frag": 9})


def crowd(world: World) -> World:
    """Two VPCs with the same addresses, in every role; they differ in the endpoints' MACs."""
    world.uplink(0, ifindex=INTERFACE + 2).host(F, foreign=True)
    world.uplink(1, ifindex=INTERFACE + 3, mtu=300).host(D, uplink=1)
    for vni, prefix in OF.items():
        world.router(vni, WEB, GATEWAY, GATEWAY6)
        world.gateway(vni, GATEWAY).gateway(vni, GATEWAY6)
        for last, where in enumerate((PEER, PEER6), start=1):
            world.local(vni, where, f"{prefix}:{last:02x}", network=WEB, ifindex=INTERFACE + 1)
        world.foreign(vni, BEHIND, F, f"{prefix}:09", network=WEB)
        world.remote(vni, "10.0.0.3", B, WEB).remote(vni, "2001:db8::3", C, WEB)
        world.bouncers(vni, WEB, B, C).bouncers(vni, DB, C, D).dividers(vni, D, SELF)
        world.network(vni, "10.0.1.0/24", DB).network(vni, "2001:db8:1::/64", DB)
    world.interface(BLUE, WEB)
    world.local(BLUE, ME, MY_MAC, network=WEB)
    world.local(BLUE, ME6, MY_MAC, network=WEB)
    return world


def from_endpoint() -> list[bytes]:
    """Frames that access understands."""
    ether = Ether(src=MY_MAC, dst=ROUTER)
    solicit = ICMPv6ND_NS(tgt=GATEWAY6) / ICMPv6NDOptSrcLLAddr(lladdr=MY_MAC)
    frames: list[Packet] = [
        *more_from_endpoint(),
        *(ping(ME, each) for each in (PEER, GATEWAY, OTHER, "10.0.0.3", "192.0.2.1")),
        *(ping(ME6, each) for each in (PEER6, GATEWAY6, "2001:db8:1::9", "2001:db8::3")),
        datagram(ME, PEER),
        datagram(ME, BEHIND),
        *(
            datagram(each, to) / bytes(300)
            for each, to in ((ME, "10.0.9.9"), (ME6, "2001:db8:9::9"))
        ),
        ether / ip(ME, PEER, options=[IPOption(b"\x94\x04\x00\x00")]) / TCP(),
        ether / ARP(op=1, hwsrc=MY_MAC, psrc=ME, pdst=GATEWAY),
        Ether(src=MY_MAC, dst="33:33:ff:00:00:fe") / IPv6(src=ME6, dst="ff02::1:ff00:fe") / solicit,
        ether / IPv6(src=ME6, dst=PEER6) / ICMPv6ND_NA(tgt=ME6),
        ether / ip(ME6, PEER6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(),
        ether / ip(ME6, PEER6) / IPv6ExtHdrFragment(m=1) / TCP(),
    ]
    return [bytes(each) for each in frames]


def from_underlay() -> list[bytes]:
    """Frames that transit understands."""
    frames = []
    for inner in (
        ping("10.0.9.9", PEER),
        ping("2001:db8:9::9", PEER6),
        ping(PEER, "10.0.0.3"),
        ping(PEER, OTHER),
        ping(ME, "192.0.2.1"),
        datagram(ME6, "2001:db8:1::9"),
    ):
        for vni in (BLUE, RED, 9):
            frames.append(tunnel(inner, vni=vni))
            frames.append(tunnel(inner, vni=vni, flags=OptionFlag.RETURNED))
            frames.append(tunnel(inner / bytes(1400), vni=vni, flags=OptionFlag.TOO_BIG))
            frames.append(tunnel(inner / bytes(300), Stage.BOUNCER, vni=vni, sender=C))
            for stage in (Stage.BOUNCER, Stage.DIVIDER, Stage.NETWORK):
                frames.append(tunnel(inner, stage, vni=vni, sender=D))
        frames.append(tunnel(inner, options=[option(Stage.HOST), option(Stage.HOST)]))
    for vni in (BLUE, RED, 9):
        frames.append(tunnel(ping("10.0.9.9", BEHIND), vni=vni))
        frames.append(tunnel(ping("10.0.9.9", BEHIND), Stage.NETWORK, vni=vni, sender=D))
        for where in (PEER, "10.0.0.3", OTHER, "192.0.2.1", BEHIND):
            plain = tunnel(ping(BEHIND, where), vni=vni, source=F, options=[])
            plain[GENEVE].critical = 0
            frames.append(plain)
    frames += [probe(B), probe(D), answer(C), *more_from_underlay()]
    return [bytes(each) for each in frames]


def more_from_endpoint() -> list[Packet]:
    """What an adversary would try first: announcements of others, fragments, disguises."""
    ether, everybody = Ether(src=MY_MAC, dst=ROUTER), Ether(src=MY_MAC, dst="ff:ff:ff:ff:ff:ff")
    nodes = Ether(src=MY_MAC, dst="33:33:00:00:00:01")
    six, tcp = IPv6(src=ME6, dst=PEER6, hlim=255), TCP(sport=1, dport=2)
    telling = ICMPv6ND_NA(tgt=PEER6, O=1) / ICMPv6NDOptDstLLAddr(lladdr=MY_MAC)
    routed = IPOption(b"\x83\x07\x04\x0a\x00\x01\x09\x00")
    announced = [(op, at) for op in (1, 2) for at in (ME, PEER)]
    disguised = [tunnel(ping(at, OTHER), vni=RED)[GENEVE] for at in (ME, PEER)]
    return [
        *(everybody / ARP(op=op, hwsrc=MY_MAC, psrc=at, pdst=at) for op, at in announced),
        ether / ARP(op=2, hwsrc=MY_MAC, psrc=PEER, hwdst="02:00:00:00:07:01", pdst=PEER),
        *(nodes / IPv6(src=at, dst="ff02::1", hlim=255) / telling for at in (ME6, PEER6)),
        ether / six / IPv6ExtHdrHopByHop() / telling,
        ether / six / IPv6ExtHdrFragment(nh=58, m=1) / telling,
        ether / IPv6(src=ME6, dst="ff02::2", hlim=255) / ICMPv6ND_RS(),
        *(ether / IPv6(src=at, dst=to) / tcp for at, to in ((ME6, MAPPED), (MAPPED, PEER6))),
        *(ether / IP(src=ME, dst=PEER, **each) / tcp for each in FRAGMENTS),
        ether / IP(src=PEER, dst=OTHER, options=[routed]) / tcp,
        ether / ip(ME6, PEER6) / IPv6ExtHdrRouting(addresses=[PEER6]) / tcp,
        ether / ip(ME6, PEER6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(offset=9) / tcp,
        *(ether / ip(ME, PEER) / UDP(sport=50000, dport=6081) / each for each in disguised),
        *(ping(ME, each) / LONG for each in (BEHIND, "10.0.0.3", OTHER)),
        *(ping(ME6, each) / LONG for each in ("2001:db8::3", "2001:db8:1::9")),
        ether / Dot1Q(vlan=7) / ip(ME, PEER) / tcp,
    ]


def more_from_underlay() -> list[Packet]:
    """Forged options, foreign hosts that say too much, and hosts that are none."""
    inner, inside = ping("10.0.9.9", PEER), Ether(src=MY_MAC, dst=ROUTER)
    wrong = GeneveOptions(classid=0x0102, type=0x80, data=bytes(4))
    extensions = IPv6ExtHdrHopByHop(), IPv6ExtHdrFragment(m=1), IPv6ExtHdrRouting()
    outers: list[dict[str, Any]] = [*FRAGMENTS, {"ttl": 1}, {"tos": 3}]
    outers.append({"options": [IPOption(b"\x94\x04\x00\x00")]})
    kinds = itertools.product((0, 1, 4, 5, 7), (0, 8, 32), (BLUE, RED))  # stages, flags, VNIs
    return [
        *(tunnel(inner, source=each) for each in (F, SELF, NOBODY)),
        *(tunnel(inner, options=[*each]) for each in itertools.permutations((wrong, OURS))),
        *(tunnel(inner, sender=each) for each in (SELF, NOBODY)),
        tunnel(inner, Stage.DIVIDER, sender=F),
        tunnel(datagram(ME6, MAPPED)),
        tunnel(ping(PEER6, "2001:db8::3") / LONG, Stage.NETWORK, sender=D),
        *(tunnel(inner, outer=each) for each in outers),
        *(tunnel(inside / IP(src="10.0.9.9", dst=PEER, **each) / UDP()) for each in FRAGMENTS),
        *(tunnel(inside / ip(ME6, PEER6) / each / TCP()) for each in extensions),
        *(tunnel(ping(PEER, ME), each, flags=flags, vni=vni) for each, flags, vni in kinds),
    ]
