/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which host a packet goes to next. Nothing here touches the packet; both programs ask. */
#ifndef RECONCILER_ROUTE_H
#define RECONCILER_ROUTE_H

#include <bpf/bpf_endian.h>

#include "path.h"
#include "room.h"

struct hop {
	ipv4_t host;
	__u16 slot;
	__u8 stage;
	bool alive;
};

/* Rendezvous hashing (Thaler, Ravishankar 1998): each flow ranks the hosts, so one that leaves moves only its own. */
static __always_inline __u32 rank(__u16 flow, ipv4_t host)
{
	__u32 x = host ^ flow * 0x9e3779b1;

	x = (x ^ x >> 16) * 0x85ebca6b; /* the finaliser of MurmurHash3 */
	x = (x ^ x >> 13) * 0xc2b2ae35;
	return x ^ x >> 16;
}

/*
 * The best of a set, other than this host and the one to avoid, into `hop`, whose stage is given: 1, or 0 if there is
 * none. A dead one is the best only where all are dead, a new one only where no old one lives. Of bouncers like these the
 * one that refused the endpoint is the best: it must hold another commit than this host. Verified once, by itself.
 */
__attribute__((noinline)) int choose(const struct host_set *set, const struct journey *journey, struct hop *hop)
{
	__u32 best = 0;

	if (!set || !journey || !hop)
		return 0;
#pragma unroll
	for (__u32 i = 0; i < LIMIT_SET; i++) {
		ipv4_t host = set->host[i];
		__u32 alive, score;

		if (i >= set->count || host == constants.self || (host == journey->avoid && !journey->not_its_host))
			continue;
		alive = is_alive(set->host_slot[i]);
		score = rank(journey->flow, host) >> 3 | (i < set->settled) << 30 | alive << 31 | 1;
		if (host == journey->avoid && hop->stage != STAGE_DIVIDER)
			score |= 1 << 29;
		if (score > best) {
			best = score;
			hop->host = host;
			hop->slot = set->host_slot[i];
			hop->alive = alive;
		}
	}
	return best != 0;
}

static __always_inline bool contains(const struct host_set *set, ipv4_t host)
{
	bool found = false;

#pragma unroll
	for (__u32 i = 0; i < LIMIT_SET; i++)
		found |= i < set->count && set->host[i] == host;
	return found;
}

/* On dividers: the network that holds the destination. */
static __always_inline bool find_network(const struct endpoint_key *endpoint, struct network *network)
{
	struct network_key key = {.prefix_length = 160, .vni = bpf_htonl(endpoint->vni), .address = endpoint->address};
	const struct network *row = bpf_map_lookup_elem(&networks, &key);

	if (row)
		row_copy(network, row, sizeof(*network));
	return row;
}

/* The destination's host, if `row` (NULL: none) says that it is another one. */
static __always_inline bool known_host(const struct endpoint *row, const struct journey *journey, struct hop *hop)
{
	if (!row || row->flags & (ENDPOINT_LOCAL | ENDPOINT_GATEWAY))
		return false;
	hop->host = row->host;
	hop->slot = row->host_slot;
	hop->stage = STAGE_HOST;
	hop->alive = is_alive(hop->slot);
	return hop->host != constants.self && hop->host != journey->avoid;
}

/*
 * Where the endpoint was until it moved, into `hop`: 1, or 0 if nothing is known of it. That host has the endpoint as long
 * as it is a commit behind, as the new one is then. Verified once, by itself, with what it reads not on the stack.
 */
__attribute__((noinline)) int former_host(const struct journey *journey, struct hop *hop)
{
	struct room *room = room_here();

	if (!room || !journey || !hop)
		return 0;
	room->former_key = journey->key;
	room->former_key.vni |= VNI_FORMER;
	if (read_endpoint(&room->former_key, &room->former) || room->former.host == constants.self ||
	    room->former.host == journey->avoid)
		return 0;
	hop->host = room->former.host;
	hop->slot = room->former.host_slot;
	hop->stage = STAGE_HOST;
	hop->alive = is_alive(hop->slot);
	return 1;
}

/*
 * To a bouncer of the destination's network, or to one of the sender's, or to a divider, whichever is the furthest that
 * this host knows and the packet has not passed. This host itself is never chosen: it has been asked already.
 * -REASON_DROP_NO_ENDPOINT and -REASON_DROP_NO_NETWORK are final: every host that could know more is this one or has
 * just been asked. Any other reason means that somebody else might.
 */
static __always_inline int route(const struct journey *journey, const struct endpoint *row, struct hop *hop)
{
	int missing = -REASON_DROP_UNKNOWN_VPC;
	struct network network = {};
	struct room *room = room_here();
	struct host_set *set;
	int error;

	if (!room)
		return -REASON_DROP_HELPER;
	set = &room->set;
	if (journey->stage < STAGE_NETWORK) {
		if (row)
			network.number = row->network;
		if (row || find_network(&journey->key, &network)) {
			error = read_bouncers(journey->key.vni, network.number, set);
			hop->stage = STAGE_NETWORK;
			if (!error)
				return choose(set, journey, hop) ? 0 : -REASON_DROP_NO_ENDPOINT;
			if (error == -REASON_DROP_TORN)
				return error;
		}
	}
	if (journey->stage < STAGE_BOUNCER) {
		error = read_bouncers(journey->key.vni, journey->network, set);
		if (error == -REASON_DROP_TORN)
			return error;
		if (error || !contains(set, constants.self)) {
			hop->stage = STAGE_BOUNCER;
			if (!error && choose(set, journey, hop))
				return 0;
			missing = -REASON_DROP_NO_BOUNCER;
		}
	}
	if (journey->stage < STAGE_DIVIDER) {
		error = read_dividers(journey->key.vni, set);
		hop->stage = STAGE_DIVIDER;
		if (!error)
			return choose(set, journey, hop) ? 0 : -REASON_DROP_NO_NETWORK;
		if (error == -REASON_DROP_TORN)
			return error;
	}
	return missing;
}

/* Under which reason a packet is counted that goes on to `stage` from its own host. */
static __always_inline int reason_sent(__u8 stage)
{
	switch (stage) {
	case STAGE_HOST:
		return REASON_SENT_DIRECT;
	case STAGE_DIVIDER:
		return REASON_RELAYED_DIVIDER;
	default:
		return REASON_SENT_BOUNCER;
	}
}

/* The same, on a host that relays it. */
static __always_inline int reason_relayed(__u8 stage)
{
	switch (stage) {
	case STAGE_HOST:
		return REASON_BOUNCED;
	case STAGE_DIVIDER:
		return REASON_RELAYED_DIVIDER;
	default:
		return REASON_DIVIDED;
	}
}

/*
 * To where the destination was before it moved, or to whoever may know more, since `direct` (no host: none), which leads
 * straight to the destination's host, is dead. It is taken all the same where nobody is left who is alive: the agent may
 * be wrong, and better there than nowhere.
 */
static __always_inline int detour(const struct journey *journey, const struct endpoint *row, struct hop *direct,
				  struct hop *hop)
{
	int error;

	if (row && journey->stage < STAGE_HOST && former_host(journey, hop)) {
		if (hop->alive)
			return 0;
		if (!direct->host)
			*direct = *hop;
	}
	error = route(journey, row, hop);
	if (!direct->host || error == -REASON_DROP_TORN || (!error && hop->alive))
		return error;
	*hop = *direct;
	return 0;
}

/* On its way: to its host, if that is known and alive, or to whoever may know more. */
static __always_inline int proceed(const struct journey *journey, const struct endpoint *row, struct hop *hop)
{
	struct hop direct = {};

	if (journey->stage < STAGE_HOST && known_host(row, journey, hop)) {
		if (hop->alive)
			return 0;
		direct = *hop;
	}
	return detour(journey, row, &direct, hop);
}

/* From an endpoint of this host: its known host, a direct path, or whoever knows more. */
static __always_inline int depart(const struct journey *journey, const struct endpoint *row, struct hop *hop)
{
	struct path path = {};
	struct hop direct = {};

	if (known_host(row, journey, hop)) {
		if (hop->alive)
			return 0;
		direct = *hop;
	}
	if (path_find(&journey->key, &path) && path.host != journey->avoid) {
		hop->host = path.host;
		hop->slot = path.host_slot;
		hop->stage = STAGE_HOST;
		hop->alive = is_alive(path.host_slot);
		if (hop->alive)
			return 0;
		if (!direct.host)
			direct = *hop;
	}
	return detour(journey, row, &direct, hop);
}

#endif
