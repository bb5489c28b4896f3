"""Made from bpf/abi.h and bpf/maps.h by `make abi`; do not edit.

The layouts of every map, the enums and the program constants, as the objects' BTF has them.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from types import MappingProxyType

import numpy as np

from reconciler.abi.spec import MapKind, MapSpec, Ownership, Record


class EndpointFlag(IntFlag):
    """enum endpoint_flag of bpf/abi.h."""

    LOCAL = 1
    GATEWAY = 2
    FOREIGN = 4
    LEAVING = 8


class Generation(IntEnum):
    """enum generation of bpf/abi.h."""

    WRITTEN = 0
    LEARNED = 1
    COUNT = 2


class HostFlag(IntFlag):
    """enum host_flag of bpf/abi.h."""

    SELF = 1
    FOREIGN = 2


class KernelDrop(IntEnum):
    """enum kernel_drop of bpf/abi.h."""

    REDIRECT = 0
    QUEUE = 1
    TRANSMIT = 2
    EXCEPTION = 3
    FREED = 4


class Limit(IntEnum):
    """enum limit of bpf/abi.h."""

    ENDPOINTS = 1048576
    INTERFACES = 16384
    NETWORKS = 65536
    VPCS = 16384
    HOSTS = 16384
    SET = 8
    UPLINKS = 4
    PATHS = 65536
    COUNTERS = 16384
    DROPS = 4096


class Liveness(IntEnum):
    """enum liveness of bpf/abi.h."""

    SHIFT = 26
    LASTS = 150


class OptionFlag(IntFlag):
    """enum option_flag of bpf/abi.h."""

    RETURNED = 8
    EGRESS_ALLOWED = 16
    RETRIED = 32
    TOO_BIG = 64
    CRITICAL = 128


class Reason(IntEnum):
    """enum reason of bpf/abi.h."""

    PASSED = 0
    DELIVERED = 1
    SENT_DIRECT = 2
    SENT_BOUNCER = 3
    BOUNCED = 4
    DIVIDED = 5
    RELAYED_DIVIDER = 6
    RETURNED = 7
    ANSWERED = 8
    UNANSWERED = 9
    ANSWERED_TOO_BIG = 10
    PROBE_ANSWERED = 11
    PROBE_HEARD = 12
    RETURNED_TOO_BIG = 13
    DROP_MALFORMED = 14
    DROP_UNKNOWN_INTERFACE = 15
    DROP_SPOOFED_MAC = 16
    DROP_SPOOFED_ADDRESS = 17
    DROP_NOT_IP = 18
    DROP_MULTICAST = 19
    DROP_UNKNOWN_HOST = 20
    DROP_UNKNOWN_VPC = 21
    DROP_NO_ENDPOINT = 22
    DROP_NO_NETWORK = 23
    DROP_NO_BOUNCER = 24
    DROP_NO_NEXT_HOP = 25
    DROP_TOO_BIG = 26
    DROP_ECN = 27
    DROP_TTL = 28
    DROP_TORN = 29
    DROP_HELPER = 30
    DROP_RETURNED_TWICE = 31
    COUNT = 32


class Stage(IntEnum):
    """enum stage of bpf/abi.h."""

    ACCESS = 0
    BOUNCER = 1
    DIVIDER = 2
    NETWORK = 3
    HOST = 4
    PROBE = 5
    ALIVE = 6


class VniMark(IntEnum):
    """enum vni_mark of bpf/abi.h."""

    FORMER = 16777216


class Wire(IntEnum):
    """enum wire of bpf/abi.h."""

    PORT = 6081
    OPTION_CLASS = 65362
    OVERHEAD = 62
    TTL = 64


MAPS = MappingProxyType(
    {
        "bouncers": MapSpec(
            "bouncers",
            MapKind.HASH,
            Record(np.dtype([("vni", "<u4"), ("network", "<u4")]), {}, frozenset()),
            Record(
                np.dtype(
                    [
                        ("check", "<u4"),
                        ("count", "<u2"),
                        ("settled", "<u2"),
                        ("host", ">u4", (8,)),
                        ("host_slot", "<u2", (8,)),
                    ]
                ),
                {"host": "ipv4"},
                frozenset({"check", "host_slot"}),
            ),
            65536,
            1,
            Ownership.OWNED,
        ),
        "counters": MapSpec(
            "counters",
            MapKind.PERCPU_ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(
                np.dtype(
                    [
                        ("rx_packets", "<u8"),
                        ("rx_bytes", "<u8"),
                        ("tx_packets", "<u8"),
                        ("tx_bytes", "<u8"),
                    ]
                ),
                {},
                frozenset(),
            ),
            16384,
            0,
            Ownership.DATA_PLANE,
        ),
        "dividers": MapSpec(
            "dividers",
            MapKind.HASH,
            Record(np.dtype([("vni", "<u4")]), {}, frozenset()),
            Record(
                np.dtype(
                    [
                        ("check", "<u4"),
                        ("count", "<u2"),
                        ("settled", "<u2"),
                        ("host", ">u4", (8,)),
                        ("host_slot", "<u2", (8,)),
                    ]
                ),
                {"host": "ipv4"},
                frozenset({"check", "host_slot"}),
            ),
            16384,
            1,
            Ownership.OWNED,
        ),
        "drops": MapSpec(
            "drops",
            MapKind.LRU_HASH,
            Record(
                np.dtype([("ifindex", "<u4"), ("event", "<u4"), ("error", "<u4")]), {}, frozenset()
            ),
            Record(np.dtype([("frames", "<u8")]), {}, frozenset()),
            4096,
            0,
            Ownership.DATA_PLANE,
        ),
        "endpoints": MapSpec(
            "endpoints",
            MapKind.HASH,
            Record(
                np.dtype([("vni", "<u4"), ("address", "|u1", (16,))]),
                {"address": "address"},
                frozenset(),
            ),
            Record(
                np.dtype(
                    [
                        ("check", "<u4"),
                        ("host", ">u4"),
                        ("mac", "|u1", (6,)),
                        ("host_slot", "<u2"),
                        ("ifindex", "<u4"),
                        ("identity", "<u4"),
                        ("network", "<u4"),
                        ("counter", "<u2"),
                        ("flags", "<u2"),
                    ]
                ),
                {"host": "ipv4", "mac": "mac"},
                frozenset({"check", "counter", "host_slot", "ifindex"}),
            ),
            1048576,
            1,
            Ownership.OWNED,
        ),
        "errors": MapSpec(
            "errors",
            MapKind.PERCPU_ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(np.dtype([("seen", "<u4"), ("credit", "<u4")]), {}, frozenset()),
            16384,
            0,
            Ownership.CACHE,
        ),
        "generations": MapSpec(
            "generations",
            MapKind.ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(np.dtype([("index", "<u8")]), {}, frozenset()),
            2,
            0,
            Ownership.SHARED,
        ),
        "health": MapSpec(
            "health",
            MapKind.ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(
                np.dtype(
                    [("heard", "<u4"), ("learned", "<u4"), ("dead", "<u4"), ("reserved", "<u4")]
                ),
                {},
                frozenset(),
            ),
            16384,
            1024,
            Ownership.SHARED,
        ),
        "hosts": MapSpec(
            "hosts",
            MapKind.HASH,
            Record(np.dtype([("address", ">u4")]), {"address": "ipv4"}, frozenset()),
            Record(
                np.dtype([("slot", "<u2"), ("flags", "<u2"), ("reserved", "<u4")]),
                {},
                frozenset({"slot"}),
            ),
            16384,
            1,
            Ownership.OWNED,
        ),
        "interfaces": MapSpec(
            "interfaces",
            MapKind.HASH,
            Record(np.dtype([("ifindex", "<u4")]), {}, frozenset()),
            Record(np.dtype([("vni", "<u4"), ("network", "<u4")]), {}, frozenset()),
            16384,
            1,
            Ownership.OWNED,
        ),
        "networks": MapSpec(
            "networks",
            MapKind.LPM_TRIE,
            Record(
                np.dtype([("prefix_length", "<u4"), ("vni", ">u4"), ("address", "|u1", (16,))]),
                {"address": "address"},
                frozenset(),
            ),
            Record(np.dtype([("number", "<u4"), ("flags", "<u4")]), {}, frozenset()),
            65536,
            1,
            Ownership.OWNED,
        ),
        "next_hops": MapSpec(
            "next_hops",
            MapKind.ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(
                np.dtype([("mac", "|u1", (6,)), ("uplink", "<u2")]), {"mac": "mac"}, frozenset()
            ),
            16384,
            1024,
            Ownership.OWNED,
        ),
        "path_mtus": MapSpec(
            "path_mtus",
            MapKind.ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(np.dtype([("mtu", "<u4"), ("seen", "<u4")]), {}, frozenset()),
            16384,
            0,
            Ownership.CACHE,
        ),
        "paths": MapSpec(
            "paths",
            MapKind.LRU_HASH,
            Record(
                np.dtype([("vni", "<u4"), ("address", "|u1", (16,))]),
                {"address": "address"},
                frozenset(),
            ),
            Record(
                np.dtype([("host", ">u4"), ("host_slot", "<u2"), ("seen", "<u2")]),
                {"host": "ipv4"},
                frozenset(),
            ),
            65536,
            0,
            Ownership.COLLECTED,
        ),
        "reasons": MapSpec(
            "reasons",
            MapKind.PERCPU_ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(np.dtype([("packets", "<u8"), ("bytes", "<u8")]), {}, frozenset()),
            32,
            0,
            Ownership.DATA_PLANE,
        ),
        "routers": MapSpec(
            "routers",
            MapKind.HASH,
            Record(np.dtype([("vni", "<u4"), ("network", "<u4")]), {}, frozenset()),
            Record(
                np.dtype([("check", "<u4"), ("ipv4", ">u4"), ("ipv6", "|u1", (16,))]),
                {"ipv4": "ipv4", "ipv6": "address"},
                frozenset({"check"}),
            ),
            65536,
            1,
            Ownership.OWNED,
        ),
        "uplink_macs": MapSpec(
            "uplink_macs",
            MapKind.ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(np.dtype([("mac", "|u1", (6,)), ("valid", "<u2")]), {"mac": "mac"}, frozenset()),
            4,
            1024,
            Ownership.OWNED,
        ),
        "uplinks": MapSpec(
            "uplinks",
            MapKind.ARRAY,
            Record(np.dtype([("index", "<u4")]), {}, frozenset()),
            Record(np.dtype([("ifindex", "<u4"), ("mtu", "<u4")]), {}, frozenset()),
            4,
            1024,
            Ownership.OWNED,
        ),
    }
)
CONSTANTS = Record(
    np.dtype([("self", ">u4"), ("router_mac", "|u1", (6,)), ("path_seconds", "<u2")]),
    {"self": "ipv4", "router_mac": "mac"},
    frozenset(),
)

# Names this layout in serialised host states.
ABI = "756a0e8ac85ba3ae"
