// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* XDP on the underlay interface: what other hosts send is delivered, relayed or sent back; the rest passes. */
#include "flow.h"
#include "liveness.h"
#include "toobig.h"

/* Of a key: what transit writes there (make_key). */
static __always_inline ipv4_t key_sender(const struct flow_key *key)
{
	return key->sender;
}

static __always_inline __u32 key_vni(const struct flow_key *key)
{
	return key->sender >> 40;
}

static __always_inline __u8 key_type(const struct flow_key *key)
{
	return key->sender >> 32;
}

static __always_inline __u16 key_port(const struct flow_key *key)
{
	return key->rest;
}

static __always_inline bool key_is_relayed(const struct flow_key *key)
{
	return key->rest & FLOW_RELAYED;
}

/* The inner packet: a relay needs its addresses, delivery its traffic class as well. */
static __always_inline int parse_inner(struct cursor *cursor, const struct tunnel *tunnel, struct ethernet **ethernet,
				       struct packet *packet)
{
	address_t source, destination;
	int error;

	*ethernet = take(cursor, sizeof(**ethernet));
	if (!*ethernet || tunnel->room < sizeof(**ethernet))
		return -REASON_DROP_MALFORMED;
	if ((*ethernet)->protocol == bpf_htons(ETH_P_IP))
		error = parse_ipv4(cursor, packet);
	else if ((*ethernet)->protocol == bpf_htons(ETH_P_IPV6))
		error = parse_ipv6(cursor, packet);
	else
		return -REASON_DROP_NOT_IP;
	if (error)
		return error;
	if (packet->size > tunnel->room - sizeof(**ethernet))
		return -REASON_DROP_MALFORMED;
	if (!packet->to_unicast)
		return -REASON_DROP_MULTICAST;
	source = source_of(&packet->addresses);
	destination = destination_of(&packet->addresses);
	if (!packet->from_unicast || address_equal(&source, &destination))
		return -REASON_DROP_SPOOFED_ADDRESS;
	return 0;
}

static __always_inline bool read_host(ipv4_t address, struct host *host)
{
	struct host_key key = {.address = address};
	const void *row = bpf_map_lookup_elem(&hosts, &key);

	if (row)
		row_copy(host, row, sizeof(*host));
	return row;
}

/* Only hosts of the cluster are believed; foreign ones do not speak of stages and identities. */
static __always_inline int find_host(ipv4_t address, struct host *host)
{
	if (!read_host(address, host) || host->flags & (HOST_SELF | HOST_FOREIGN))
		return -REASON_DROP_UNKNOWN_HOST;
	return 0;
}

/* To an endpoint here, or to one behind a foreign host; where it came from is the direct path back. */
static __always_inline int decide_arrival(const struct flow_key *flow, const struct host *previous,
					  const struct endpoint *row, struct decision *made)
{
	struct endpoint_key source = {.vni = key_vni(flow), .address = source_of(&flow->addresses)};
	struct host sender = *previous;

	/* What was returned is this host's own; what was tried again may come from another than its sender's. */
	if (!(key_type(flow) & OPTION_RETURNED) &&
	    (key_is_relayed(flow) ? !find_host(key_sender(flow), &sender) : !(key_type(flow) & OPTION_RETRIED)))
		path_learn(&source, key_sender(flow), sender.slot);
	if (row->flags & ENDPOINT_LOCAL)
		decide_delivery(made, row);
	else
		decide_hand_over(made, row, REASON_BOUNCED);
	return 0;
}

/* Back to where it came from, once. */
static __always_inline int decide_return(const struct flow_key *flow, const struct host *previous,
					 struct decision *made)
{
	struct hop hop = {.host = key_from(flow), .slot = previous->slot, .stage = key_type(flow) & OPTION_STAGE};

	if (key_type(flow) & (OPTION_RETURNED | OPTION_RETRIED))
		return -REASON_DROP_RETURNED_TWICE;
	decide_hop(made, ACT_RELAY, REASON_RETURNED, &hop);
	made->flags = (key_type(flow) & OPTION_EGRESS_ALLOWED) | OPTION_RETURNED;
	return 0;
}

/* The packet of an endpoint of this host's, or of one that it stands for, came back: try whoever is next. */
static __always_inline int decide_resending(const struct flow_key *flow, struct journey *journey,
					    const struct endpoint *row, struct decision *made)
{
	struct endpoint_key key = {.vni = key_vni(flow), .address = source_of(&flow->addresses)};
	struct room *room = room_here();
	struct hop hop = {};
	struct endpoint *source;
	int error;

	if (!room)
		return -REASON_DROP_HELPER;
	source = &room->source;
	error = read_endpoint(&key, source);
	if (error == -REASON_DROP_TORN)
		return error;
	if (error || !(source->flags & (ENDPOINT_LOCAL | ENDPOINT_FOREIGN)))
		return -REASON_DROP_RETURNED_TWICE;
	journey->network = source->network;
	journey->stage = STAGE_ACCESS;
	error = depart(journey, row, &hop);
	if (error)
		return error == -REASON_DROP_TORN ? error : -REASON_DROP_RETURNED_TWICE;
	decide_hop(made, ACT_SEND, reason_sent(hop.stage), &hop);
	made->identity = source->identity;
	made->flags = (key_type(flow) & OPTION_EGRESS_ALLOWED) | OPTION_RETRIED;
	return 0;
}

/* To another host. A packet that came back starts over here; OPTION_RETRIED sees to it that it does so once. */
static __always_inline int decide_relaying(const struct flow_key *flow, const struct host *previous,
					   const struct endpoint *row, struct decision *made)
{
	__u8 flags = key_type(flow) & (OPTION_EGRESS_ALLOWED | OPTION_RETRIED);
	struct room *room = room_here();
	struct journey *journey;
	struct hop hop = {};
	int error;

	if (!room)
		return -REASON_DROP_HELPER;
	journey = &room->journey;
	*journey = (struct journey){
		.key = {.vni = key_vni(flow), .address = destination_of(&flow->addresses)},
		.avoid = key_from(flow),
		.flow = key_port(flow),
		.stage = key_type(flow) & OPTION_STAGE,
	};

	if (key_type(flow) & OPTION_RETURNED) {
		journey->not_its_host = journey->stage == STAGE_HOST;
		path_forget(&journey->key, journey->avoid);
		if (row && row->flags & ENDPOINT_LEAVING && row->host == journey->avoid)
			row = NULL; /* not there any more */
		if (key_type(flow) & OPTION_RETRIED)
			return -REASON_DROP_RETURNED_TWICE;
		if (!key_is_relayed(flow) || key_sender(flow) == constants.self)
			return decide_resending(flow, journey, row, made);
		flags |= OPTION_RETRIED;
		journey->stage = STAGE_BOUNCER;
	} else if (row && row->flags & ENDPOINT_LEAVING && journey->stage == STAGE_HOST && !(flags & OPTION_RETRIED)) {
		flags |= OPTION_RETRIED; /* it moved, and this host knows where: after it, nobody else is asked */
		journey->stage = STAGE_NETWORK;
	}
	error = proceed(journey, row, &hop);
	if (!error) {
		decide_hop(made, ACT_RELAY, reason_relayed(hop.stage), &hop);
		made->flags = flags;
		return 0;
	}
	if (error == -REASON_DROP_TORN)
		return error;
	if (flags & OPTION_RETRIED)
		return -REASON_DROP_RETURNED_TWICE;
	if (error == -REASON_DROP_NO_ENDPOINT || error == -REASON_DROP_NO_NETWORK)
		return error;
	return decide_return(flow, previous, made);
}

/*
 * What the tables say about a flow between hosts: 0 and a decision, or a negative reason to drop. Global, so that the
 * verifier looks at it by itself; it has no packet, so that nothing but the key can matter.
 */
__noinline int decide(const struct flow_key *flow, struct decision *made)
{
	struct host previous = {};
	struct room *room = room_here();
	struct endpoint *row;
	struct endpoint_key key;
	int error;

	if (!flow || !made || !room)
		return -REASON_DROP_HELPER;
	row = &room->destination;
	error = find_host(key_from(flow), &previous);
	if (error)
		return error;
	made->vni = key.vni = key_vni(flow);
	made->port = key_port(flow);
	key.address = destination_of(&flow->addresses);
	error = read_endpoint(&key, row);
	if (error == -REASON_DROP_TORN)
		return error;
	if (!error && row->flags & (ENDPOINT_LOCAL | ENDPOINT_FOREIGN))
		return decide_arrival(flow, &previous, row, made);
	if (!error && row->flags & ENDPOINT_GATEWAY)
		return -REASON_DROP_NO_ENDPOINT;
	return decide_relaying(flow, &previous, error ? NULL : row, made);
}

/* The same about a flow that a foreign host's endpoint begins, checked as access checks those of this host. */
__noinline int decide_foreign(const struct flow_key *flow, struct decision *made)
{
	struct endpoint *source, *row;
	struct room *room = room_here();
	struct journey journey = {.stage = STAGE_ACCESS};
	struct endpoint_key key;
	struct hop hop = {};
	int error;

	if (!flow || !made || !room)
		return -REASON_DROP_HELPER;
	source = &room->source;
	row = &room->destination;
	made->vni = journey.key.vni = key.vni = key_vni(flow);
	made->port = journey.flow = key_port(flow);
	journey.key.address = destination_of(&flow->addresses);
	key.address = source_of(&flow->addresses);
	error = read_endpoint(&key, source);
	if (error == -REASON_DROP_TORN)
		return error;
	if (error || !(source->flags & ENDPOINT_FOREIGN) || source->host != key_from(flow))
		return -REASON_DROP_SPOOFED_ADDRESS;
	made->identity = source->identity;
	journey.network = source->network;
	error = read_endpoint(&journey.key, row);
	if (error == -REASON_DROP_TORN)
		return error;
	if (!error && row->flags & ENDPOINT_LOCAL) {
		decide_delivery(made, row);
		return 0;
	}
	if (!error && (row->flags & ENDPOINT_GATEWAY || row->host == source->host))
		return -REASON_DROP_NO_ENDPOINT; /* its neighbour there: back it would go for ever */
	if (!error && row->flags & ENDPOINT_FOREIGN) {
		decide_hand_over(made, row, REASON_SENT_DIRECT);
		return 0;
	}
	error = depart(&journey, error ? NULL : row, &hop);
	decide_hop(made, ACT_SEND, reason_sent(hop.stage), &hop);
	return error;
}

/* Out of the tunnel, and perhaps into another; what the underlay said about congestion is kept (RFC 6040). */
static __always_inline int unwrap(struct frame *frame, const struct tunnel *tunnel, struct ethernet *ethernet,
				  struct packet *packet, const struct decision *made)
{
	int error = decapsulate_ecn(frame->ctx, packet, tunnel->ip->tos);

	if (error)
		return error;
	if (made->act == ACT_DELIVER)
		error = deliver(frame, ethernet, made, tunnel->size);
	else if (made->act == ACT_SEND)
		error = encapsulate(frame, made, packet->traffic_class, tunnel->size);
	else
		error = hand_over(frame, ethernet, made, packet->traffic_class, tunnel->size);
	return error ? error : made->reason;
}

static __always_inline int carry_out(struct frame *frame, struct tunnel *tunnel, struct ethernet *ethernet,
				     struct packet *packet, const struct decision *made)
{
	int error;

	if (made->act != ACT_RELAY || !tunnel->option) /* the latter for the verifier: plain Geneve is never relayed */
		return unwrap(frame, tunnel, ethernet, packet, made);
	error = relay(frame, tunnel, made);
	return error ? error : made->reason;
}

static __always_inline void make_key(struct flow_key *key, const struct tunnel *tunnel, const struct packet *packet)
{
	__u32 option = tunnel->vni << 8 | (tunnel->option ? tunnel->option->type : 0);

	key_start(key, packet, tunnel->ip->saddr);
	key->sender = tunnel->sender | (__u64)option << 32;
	key->rest |= bpf_ntohs(tunnel->udp->source) | (tunnel->relayed ? FLOW_RELAYED : 0);
}

/* What a flow's first packet decides. That it goes back is not kept: the next may be served; nor what foreign hosts send. */
static __always_inline int decide_anew(bool foreign, bool plain, struct work *work)
{
	int error;

	work->decision = (struct decision){};
	if (foreign)
		return decide_foreign(&work->key, &work->decision);
	error = decide(&work->key, &work->decision);
	if (!error && plain && !(key_type(&work->key) & OPTION_RETURNED) && work->decision.reason != REASON_RETURNED)
		flow_keep(work);
	return error;
}

static __always_inline int forward(struct frame *frame, struct tunnel *tunnel, struct ethernet *ethernet,
				   struct packet *packet)
{
	bool foreign = !tunnel->option, plain = flow_is_plain(packet);
	const struct decision *made = NULL;
	struct work *work = work_here();
	int error;

	if (!work)
		return -REASON_DROP_HELPER;
	make_key(&work->key, tunnel, packet);
	if (plain && !foreign)
		made = flow_find(work);
	if (!made) {
		error = decide_anew(foreign, plain, work);
		if (error)
			return error;
		made = &work->decision;
	}
	return carry_out(frame, tunnel, ethernet, packet, made);
}

static __always_inline int check_control(struct frame *frame, struct tunnel *tunnel)
{
	struct host previous = {};
	int error = find_host(tunnel->ip->saddr, &previous);

	return error ? error : from_prober(frame, tunnel, &previous);
}

/*
 * Plain Geneve. A foreign host's, of a VPC that this host bounces for, starts its journey here: this host stands for the
 * endpoint, so what cannot be served comes back to here, and never to the foreign host. Any other passes.
 */
static __always_inline bool is_foreign(const struct tunnel *tunnel)
{
	struct divider_key vpc = {.vni = tunnel->vni};
	struct host previous = {};

	return read_host(tunnel->ip->saddr, &previous) && previous.flags & HOST_FOREIGN &&
	       tunnel->geneve->protocol == bpf_htons(ETH_P_TEB) && !(tunnel->geneve->flags & GENEVE_CONTROL) &&
	       bpf_map_lookup_elem(&dividers, &vpc);
}

/* The sender's host hears what does not fit on the way; only a host of the cluster may say so. */
static __always_inline int hear_too_big(struct frame *frame, const struct tunnel *tunnel)
{
	struct host previous = {};
	int error = find_host(tunnel->ip->saddr, &previous);

	frame->fits = bpf_ntohl(tunnel->body->identity);
	return error ? error : -REASON_DROP_TOO_BIG;
}

static __always_inline int from_underlay(struct frame *frame)
{
	struct cursor cursor = cursor_of(frame->ctx);
	struct ethernet *ethernet;
	struct tunnel tunnel = {};
	struct packet packet = {};
	__u32 room;
	int error;

	if (!parse_outer(&cursor, &tunnel, constants.self)) {
		if (tunnel.ip && tunnel.ip->protocol == IPPROTO_ICMP)
			hear_router(frame->ctx);
		return REASON_PASSED;
	}
	if (!parse_option(&cursor, &tunnel))
		return REASON_PASSED;
	if (tunnel.option && is_control(&tunnel))
		return check_control(frame, &tunnel);
	if (!tunnel.option && !is_foreign(&tunnel))
		return REASON_PASSED;
	room = frame_room(frame, tunnel_end(&tunnel));
	error = tunnel.option ? check_tunnel(&cursor, &tunnel, room) : check_lengths(&tunnel, room);
	if (error)
		return error;
	error = parse_inner(&cursor, &tunnel, &ethernet, &packet);
	if (error)
		return error;
	/* Frames that were merged on the way here have the headers of the first only. */
	if (context_is_large(frame->ctx) && packet.size != tunnel.room - sizeof(*ethernet))
		return -REASON_DROP_MALFORMED;
	if (tunnel.option && tunnel.option->type & OPTION_TOO_BIG)
		return hear_too_big(frame, &tunnel);
	return forward(frame, &tunnel, ethernet, &packet);
}

/*
 * A frame of ours that does not fit the way on from here, or that its sender's host gets back for that reason: told here
 * if the sender is here, and otherwise by its host. Looked at anew and not inlined, so that neither the verifier nor the
 * stack has to carry this along on every other way.
 */
static __always_inline int refuse_too_big(struct frame *frame)
{
	struct cursor cursor = cursor_of(frame->ctx);
	struct ethernet *ethernet;
	struct tunnel tunnel = {};
	struct packet packet = {};
	struct host sender = {};
	__u8 type;

	if (!parse_outer(&cursor, &tunnel, constants.self) || !parse_option(&cursor, &tunnel) || !tunnel.option ||
	    check_tunnel(&cursor, &tunnel, frame_room(frame, tunnel_end(&tunnel))) ||
	    parse_inner(&cursor, &tunnel, &ethernet, &packet))
		return -REASON_DROP_TOO_BIG;
	type = tunnel.option->type;
	if (type & OPTION_TOO_BIG || tunnel.sender == constants.self || (type & OPTION_RETURNED && !tunnel.relayed))
		return tell_source(frame, &tunnel, &packet);
	if (find_host(tunnel.sender, &sender))
		return -REASON_DROP_TOO_BIG;
	return report_too_big(frame, &tunnel, &sender);
}

static __attribute__((noinline)) int leave_too_big(context_t *ctx, __u32 fits)
{
	struct frame frame = frame_of(ctx);

	frame.fits = fits;
	return leave(&frame, refuse_too_big(&frame));
}

SECTION
int NAMED(transit)(context_t *ctx)
{
	struct frame frame = frame_of(ctx);
	int outcome = context_is_tagged(ctx) ? REASON_PASSED : from_underlay(&frame);

	return outcome == -REASON_DROP_TOO_BIG ? leave_too_big(ctx, frame.fits) : leave(&frame, outcome);
}

char _license[] SEC("license") = "Dual BSD/GPL";
