/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is to become of a packet: asking the tables makes a decision, carrying it out changes the packet. */
#ifndef RECONCILER_DECISION_H
#define RECONCILER_DECISION_H

#include "route.h"

/* What is done to a packet once the tables have been asked. */
enum act {
	ACT_DELIVER = 1, /* to an endpoint of this host */
	ACT_SEND, /* encapsulated, to another host */
	ACT_HAND_OVER, /* encapsulated without our option, to a foreign host */
	ACT_RELAY, /* between hosts, to another one */
	ACT_ECHO, /* to the virtual router: answered if it is a request */
	ACT_ADMITTED, /* access: nothing yet, but it comes from where it says, so it is counted there */
};

/* Complete: carrying it out asks no table but those of next hops and uplinks, which follow the kernel's own. */
struct decision {
	__u8 act;
	__u8 reason; /* what the packet is counted under */
	__u8 stage; /* that it goes on in */
	__u8 flags; /* enum option_flag */
	__u32 vni;
	__u32 identity; /* of the sender */
	union {
		ipv4_t host; /* that it goes to */
		__u32 ifindex; /* ACT_DELIVER: of the endpoint that it goes to */
	};
	mac_t mac; /* of the endpoint that it goes to */
	__u16 counter; /* likewise */
	__u16 host_slot;
	__u16 port; /* outer source port */
	__u16 sender_counter; /* access: of the endpoint that it comes from */
	__u16 reserved;
};

_Static_assert(sizeof(struct decision) == 32, "decision");

/* To the endpoint of `row`, which is local. */
static __always_inline void decide_delivery(struct decision *made, const struct endpoint *row)
{
	made->act = ACT_DELIVER;
	made->reason = REASON_DELIVERED;
	made->ifindex = row->ifindex;
	made->mac = row->mac;
	made->counter = row->counter;
}

/* On to another host. */
static __always_inline void decide_hop(struct decision *made, __u8 act, __u8 reason, const struct hop *hop)
{
	made->act = act;
	made->reason = reason;
	made->stage = hop->stage;
	made->host = hop->host;
	made->host_slot = hop->slot;
}

/* To the foreign host of `row`. */
static __always_inline void decide_hand_over(struct decision *made, const struct endpoint *row, __u8 reason)
{
	struct hop hop = {.host = row->host, .slot = row->host_slot, .stage = STAGE_HOST};

	decide_hop(made, ACT_HAND_OVER, reason, &hop);
	made->mac = row->mac;
}

#endif
