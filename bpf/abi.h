/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one place where a layout is written: keys, values, enums and limits shared by the programs and the control plane. */
#ifndef RECONCILER_ABI_H
#define RECONCILER_ABI_H

#include <linux/types.h>

/* Declaration tags, read by bpf/genabi.py: a fact column is filled on the host (compile/bind.py). */
#define __fact __attribute__((btf_decl_tag("fact")))

/* Values are copied by 8-byte words (row.h); in maps they are aligned so anyway. */
#define __words __attribute__((aligned(8)))

/* Typedefs carry the meaning of bytes to Python: how to print them, and that they are in network order. */
typedef __be32 ipv4_t;
typedef struct {
	__u8 byte[6];
} mac_t;
typedef struct {
	__be32 word[4];
} address_t; /* IPv6, or IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2) */

enum limit {
	LIMIT_ENDPOINTS = 1 << 20, /* rows of endpoints: local and, on bouncers, remote */
	LIMIT_INTERFACES = 1 << 14, /* endpoint interfaces of one host */
	LIMIT_NETWORKS = 1 << 16, /* subnets that a divider knows */
	LIMIT_VPCS = 1 << 14,
	LIMIT_HOSTS = 1 << 14, /* host slots */
	LIMIT_SET = 8, /* hosts in a set of bouncers or dividers */
	LIMIT_UPLINKS = 4, /* underlay interfaces of one host */
	LIMIT_PATHS = 1 << 16, /* direct paths remembered */
	LIMIT_COUNTERS = 1 << 14, /* counter slots: one per local endpoint */
	LIMIT_DROPS = 1 << 12, /* interfaces, events and errors of frames that the kernel dropped */
};

/* The wire (bpf/README.md). A direct packet carries a 4-byte option body, a relayed one 8. */
enum wire {
	WIRE_PORT = 6081, /* RFC 8926 */
	WIRE_OPTION_CLASS = 0xff52, /* experimental range of RFC 8926, section 7 */
	/* The underlay's MTU minus this is the endpoints': IPv4 20, UDP 8, Geneve 8, option 12, Ethernet 14. */
	WIRE_OVERHEAD = 62,
	WIRE_TTL = 64,
};

/* Where a packet is on its way; it only ever advances, so nothing loops. Bits 0-2 of the option's type. */
enum stage {
	STAGE_ACCESS = 0, /* has not left its host */
	STAGE_BOUNCER = 1, /* on its way to a bouncer of the sender's network */
	STAGE_DIVIDER = 2, /* to a divider of the VPC */
	STAGE_NETWORK = 3, /* to a bouncer of the destination's network */
	STAGE_HOST = 4, /* to the destination's host */
	STAGE_PROBE = 5, /* no packet of an endpoint's: an agent asks whether the data plane of a host is alive */
	STAGE_ALIVE = 6, /* and that data plane says so */
};

/* The other bits of the option's type. */
enum option_flag {
	OPTION_RETURNED = 1 << 3, /* sent back by a host that could not serve it */
	OPTION_EGRESS_ALLOWED = 1 << 4, /* the sender's CIDR rules allow it (policy) */
	OPTION_RETRIED = 1 << 5, /* was returned once and sent on: a second return drops it */
	OPTION_TOO_BIG = 1 << 6, /* sent back to the sender's host: the first word of the body is what would fit */
	OPTION_CRITICAL = 1 << 7, /* RFC 8926: a tunnel end that does not know it must drop */
};

/* Every verdict is counted under one of these, by the one function that leaves a program (verdict.h). */
enum reason {
	REASON_PASSED = 0, /* not ours: left to the kernel's stack */
	REASON_DELIVERED, /* decapsulated, or switched locally, to an endpoint's interface */
	REASON_SENT_DIRECT, /* encapsulated towards the destination's host */
	REASON_SENT_BOUNCER, /* encapsulated towards a bouncer */
	REASON_BOUNCED, /* relayed by this host as bouncer */
	REASON_DIVIDED, /* relayed by this host as divider */
	REASON_RELAYED_DIVIDER, /* relayed by this bouncer to a divider */
	REASON_RETURNED, /* sent back to the underlay address it came from */
	REASON_ANSWERED, /* ARP, neighbour discovery or echo answered by the virtual router */
	REASON_UNANSWERED, /* ARP or neighbour discovery of an endpoint about its own address: heard, nothing to say */
	REASON_ANSWERED_TOO_BIG, /* does not fit once encapsulated: the endpoint was told what does */
	REASON_PROBE_ANSWERED, /* another host asked whether this one is alive */
	REASON_PROBE_HEARD, /* another host said that it is alive: noted */
	REASON_RETURNED_TOO_BIG, /* does not fit the way on from here: sent back to the sender's host */
	REASON_DROP_MALFORMED, /* a header is cut short or contradicts itself */
	REASON_DROP_UNKNOWN_INTERFACE, /* access runs on an interface no endpoint owns */
	REASON_DROP_SPOOFED_MAC, /* source MAC is not the endpoint's */
	REASON_DROP_SPOOFED_ADDRESS, /* source address is not the endpoint's */
	REASON_DROP_NOT_IP, /* neither IPv4, IPv6 nor ARP */
	REASON_DROP_MULTICAST, /* multicast or broadcast from an endpoint */
	REASON_DROP_UNKNOWN_HOST, /* our option from an underlay address that is no host's, or a foreign one's */
	REASON_DROP_UNKNOWN_VPC, /* neither endpoint, network nor VPC of this packet is known here */
	REASON_DROP_NO_ENDPOINT, /* its last stage, and the destination is not here */
	REASON_DROP_NO_NETWORK, /* a divider knows no network that holds the destination */
	REASON_DROP_NO_BOUNCER, /* the set to choose from is empty or waiting */
	REASON_DROP_NO_NEXT_HOP, /* the underlay next hop of the chosen host is not known yet */
	REASON_DROP_TOO_BIG, /* does not fit once encapsulated, and nobody may or can be told */
	REASON_DROP_ECN, /* outer CE on a transport that is not ECN-capable (RFC 6040) */
	REASON_DROP_TTL, /* outer TTL is used up */
	REASON_DROP_TORN, /* a row changed twice while it was read */
	REASON_DROP_HELPER, /* a kernel helper refused */
	REASON_DROP_RETURNED_TWICE, /* returned, and no other candidate is left */
	REASON_COUNT,
};

enum endpoint_flag {
	ENDPOINT_LOCAL = 1 << 0, /* attached to this host: ifindex, mac and counter count */
	ENDPOINT_GATEWAY = 1 << 1, /* the virtual router's own address: answers, never delivers */
	ENDPOINT_FOREIGN = 1 << 2, /* on a foreign host, for which this bouncer stands: host and mac count */
	ENDPOINT_LEAVING = 1 << 3, /* of an earlier commit, kept for a while: holds until its host refuses */
};

/* In the key of a row of endpoints, above the VNI's 24 bits. */
enum vni_mark {
	VNI_FORMER = 1 << 24, /* where the endpoint was until it moved: asked if its new host is of no use */
};

/* endpoints: one map for local and remote rows. The address is that of the overlay. */
struct endpoint_key {
	__u32 vni; /* and enum vni_mark */
	address_t address;
};

/* A row is read while it is replaced, and its memory may be given to another key: check covers key and value (row.h). */
struct endpoint {
	__u32 check __fact;
	ipv4_t host; /* underlay address of the host that holds it */
	mac_t mac; /* of local and foreign endpoints; zero in remote rows */
	__u16 host_slot __fact;
	__u32 ifindex __fact; /* local rows only */
	__u32 identity; /* likewise */
	__u32 network;
	__u16 counter __fact; /* slot in counters, local rows only */
	__u16 flags; /* enum endpoint_flag */
} __words;

/* networks: on dividers, which network holds an address; longest prefix first. */
struct network_key {
	__u32 prefix_length; /* 32 for the VNI, and the prefix's own, IPv4 counted from 96 */
	__be32 vni;
	address_t address;
};

struct network {
	__u32 number; /* 32-bit hash of namespace and name */
	__u32 flags; /* zero */
} __words;

/* bouncers: which hosts serve a network; on hosts of its endpoints, on its bouncers and on dividers of its VPC. */
struct bouncer_key {
	__u32 vni;
	__u32 network;
};

/* dividers: which hosts divide a VPC; on the bouncers of its networks. */
struct divider_key {
	__u32 vni;
};

/* While a set changes it has old and new members: the new may not know yet, so they are chosen if no old one lives. */
struct host_set {
	__u32 check __fact;
	__u16 count;
	__u16 settled; /* so many of the first are old; 0: all are equal */
	ipv4_t host[LIMIT_SET]; /* old ones, then new ones, each sorted; the unused are zero */
	__u16 host_slot[LIMIT_SET] __fact;
} __words;

/* hosts: the underlay addresses that are believed; slots index next_hops. */
struct host_key {
	ipv4_t address;
};

struct host {
	__u16 slot __fact;
	__u16 flags; /* enum host_flag */
	__u32 reserved;
} __words;

enum host_flag {
	HOST_SELF = 1 << 0,
	HOST_FOREIGN = 1 << 1, /* managed: false, sends plain Geneve without our option */
};

/* next_hops: by host slot. All zero: not known. */
struct next_hop {
	mac_t mac;
	__u16 uplink; /* index into uplinks */
} __words;

/* uplinks, uplink_macs: this host's underlay interfaces. Two maps, because a value above 8 bytes tears. */
struct uplink {
	__u32 ifindex;
	__u32 mtu;
} __words;

struct uplink_mac {
	mac_t mac;
	__u16 valid; /* 1 */
} __words;

/* interfaces: whose interface a frame came in on. */
struct interface_key {
	__u32 ifindex;
};

struct interface {
	__u32 vni;
	__u32 network;
} __words;

/* routers: the virtual router's addresses in a network, from which it speaks; on hosts of its endpoints. */
struct router_key {
	__u32 vni;
	__u32 network;
};

struct router {
	__u32 check __fact;
	ipv4_t ipv4; /* of its gateways the first of each family; zero: none */
	address_t ipv6;
} __words;

/* paths: learned by the data plane from what arrives; the key is a remote endpoint. Valid while seen lately. */
struct path {
	ipv4_t host;
	__u16 host_slot;
	__u16 seen; /* coarse monotonic clock in units of 2^30 ns (1.07 s), modulo 2^16 */
} __words;

/* Time in health is the coarse monotonic clock's, in units of 2^LIVENESS_SHIFT ns, modulo 2^32 (9 years). */
enum liveness {
	LIVENESS_SHIFT = 26, /* 67 ms */
	LIVENESS_LASTS = 150, /* 10 s: for so long a host stays dead without the agent saying it again */
};

/* health: of other hosts, by host slot. Each column has one writer, and is read and written by itself. */
struct health {
	__u32 heard; /* when it last answered a probe: transit */
	__u32 learned; /* when a direct path to it was last learned or confirmed: transit */
	__u32 dead; /* when it was last found dead, 0 if it is not: the agent */
	__u32 reserved;
} __words;

/* generations: what makes decisions about flows stale (flow.h). Each row is only ever raised. */
enum generation {
	GENERATION_WRITTEN = 0, /* the control plane has written to a map */
	GENERATION_LEARNED, /* a direct path was forgotten, or leads elsewhere now */
	GENERATION_COUNT,
};

struct traffic {
	__u64 rx_packets; /* received from the endpoint */
	__u64 rx_bytes;
	__u64 tx_packets; /* delivered to the endpoint */
	__u64 tx_bytes;
};

/* path_mtus: what a router on the way to a host said that it takes, by host slot. */
struct path_mtu {
	__u32 mtu; /* of the outer packet; 0: nobody said anything */
	__u32 seen; /* when, as in struct path */
} __words;

/* errors: how many ICMP errors an endpoint may get now, by counter slot. */
struct allowance {
	__u32 seen; /* coarse monotonic clock in units of 2^20 ns (1.05 ms), modulo 2^32 */
	__u32 credit; /* in the same units; an error costs ERROR_COST */
};

struct count {
	__u64 packets;
	__u64 bytes;
};

/* What became of frames that the kernel dropped after our verdict; `error` is an errno unless said otherwise. */
enum kernel_drop {
	KERNEL_REDIRECT, /* refused to redirect: the interface is down, gone, or takes no frames from XDP */
	KERNEL_QUEUE, /* redirected, and not taken by the interface; error 0: its queue is full */
	KERNEL_TRANSMIT, /* likewise, of frames sent back out of their own interface */
	KERNEL_EXCEPTION, /* a verdict that cannot be carried out; error is the XDP action */
	KERNEL_FREED, /* redirected by tc, and dropped on its way; error is the kernel's enum skb_drop_reason */
};

struct drop_key {
	__u32 ifindex; /* the interface it was to leave by; of an exception that it came in on */
	enum kernel_drop event;
	__u32 error;
};

struct drop {
	__u64 frames;
};

/* Frozen at load, in .rodata of every program. The empty arrays only anchor enums in BTF. */
struct constants {
	ipv4_t self; /* this host's underlay address */
	mac_t router_mac; /* the virtual router's, the same in every network */
	__u16 path_seconds; /* a direct path not seen for so long is not used; counted as `seen` is */
	enum limit limits[0];
	enum wire wires[0];
	enum stage stages[0];
	enum reason reasons[0];
	enum option_flag option_flags[0];
	enum endpoint_flag endpoint_flags[0];
	enum vni_mark vni_marks[0];
	enum host_flag host_flags[0];
	enum liveness livenesses[0];
	enum generation generations[0];
};

_Static_assert(sizeof(struct endpoint_key) == 20, "endpoint_key");
_Static_assert(sizeof(struct endpoint) == 32, "endpoint");
_Static_assert(sizeof(struct network_key) == 24, "network_key");
_Static_assert(sizeof(struct network) == 8, "network");
_Static_assert(sizeof(struct host_set) == 56, "host_set");
_Static_assert(sizeof(struct host) == 8, "host");
_Static_assert(sizeof(struct next_hop) == 8, "next_hop");
_Static_assert(sizeof(struct uplink) == 8, "uplink");
_Static_assert(sizeof(struct uplink_mac) == 8, "uplink_mac");
_Static_assert(sizeof(struct interface) == 8, "interface");
_Static_assert(sizeof(struct path) == 8, "path");
_Static_assert(sizeof(struct router) == 24, "router");
_Static_assert(sizeof(struct path_mtu) == 8, "path_mtu");
_Static_assert(sizeof(struct allowance) == 8, "allowance");
_Static_assert(sizeof(struct health) == 16, "health");
_Static_assert(sizeof(struct constants) == 12, "constants");

#endif
