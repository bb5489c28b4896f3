/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Room for what does not fit on the stack, which has 512 bytes for a program and all that it calls. */
#ifndef RECONCILER_ROOM_H
#define RECONCILER_ROOM_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

/* What is said to whom. */
struct notice {
	address_t router;
	address_t endpoint;
	mac_t mac; /* the endpoint's */
	__u16 mtu;
	__u32 strip; /* bytes of outer headers in front of the frame */
	__u32 length; /* of the frame, with them */
	__u32 version;
};

/* A packet that has to leave this host. */
struct journey {
	struct endpoint_key key; /* VNI and destination */
	__u32 network; /* of the sender, if the packet starts here */
	ipv4_t avoid; /* the host that sent it here or back: it cannot serve it. 0: none */
	__u16 flow; /* spreads flows over a set */
	__u8 stage; /* how far it has come */
	bool not_its_host; /* the one to avoid was asked for the endpoint alone: it may know more, as bouncer or divider */
};

/* For one packet at a time. */
struct room {
	struct host_set set;
	struct endpoint source;
	struct endpoint destination;
	struct endpoint_key former_key;
	struct endpoint former;
	struct journey journey;
	struct notice notice;
};

/* The program's own: not pinned, and gone with it. Nobody but this CPU, here and now, looks at it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct room);
	__uint(max_entries, 1);
} rooms SEC(".maps");

static __always_inline struct room *room_here(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&rooms, &key);
}

#endif
