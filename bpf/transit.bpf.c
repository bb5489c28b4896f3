// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* XDP on the underlay interface: what other hosts send is delivered, relayed or sent back; the rest passes. */
#include "liveness.h"
#include "toobig.h"

/* The inner packet: a relay needs its addresses, delivery its traffic class as well. */
static __always_inline int parse_inner(struct cursor *cursor, const struct tunnel *tunnel, struct ethernet **ethernet,
				       struct packet *packet)
{
	__u32 room = tunnel->room - sizeof(**ethernet);
	int error;

	*ethernet = take(cursor, sizeof(**ethernet));
	if (!*ethernet || tunnel->room < sizeof(**ethernet))
		return -REASON_DROP_MALFORMED;
	if ((*ethernet)->protocol == bpf_htons(ETH_P_IP))
		error = parse_ipv4(cursor, packet, room);
	else if ((*ethernet)->protocol == bpf_htons(ETH_P_IPV6))
		error = parse_ipv6(cursor, packet, room);
	else
		return -REASON_DROP_NOT_IP;
	if (error)
		return error;
	if (!packet->to_unicast)
		return -REASON_DROP_MULTICAST;
	if (!packet->from_unicast || address_equal(&packet->source, &packet->destination))
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
static __always_inline int arrive(struct frame *frame, const struct tunnel *tunnel, struct host *previous,
				  struct ethernet *ethernet, struct packet *packet, const struct endpoint *row)
{
	struct endpoint_key source = {.vni = tunnel->vni, .address = packet->source};
	struct host sender = *previous;
	struct outgoing outgoing = {};
	int error = decapsulate_ecn(packet, tunnel->ip->tos);

	if (error)
		return error;
	/* What was returned is this host's own. */
	if (!(tunnel->option->type & OPTION_RETURNED) && (!tunnel->relayed || !find_host(tunnel->sender, &sender)))
		path_learn(&source, tunnel->sender, sender.slot);
	if (row->flags & ENDPOINT_LOCAL)
		return deliver(frame, ethernet, row, tunnel->size);
	outgoing.vni = tunnel->vni;
	outgoing.flow = bpf_ntohs(tunnel->udp->source);
	outgoing.traffic_class = packet->traffic_class;
	error = hand_over(frame, ethernet, &outgoing, row, tunnel->size);
	return error ? error : REASON_BOUNCED;
}

/* Back to where it came from, once. */
static __always_inline int give_back(struct frame *frame, struct tunnel *tunnel, const struct host *previous)
{
	__u8 type = tunnel->option->type;
	struct hop hop = {.host = tunnel->ip->saddr, .slot = previous->slot, .stage = type & OPTION_STAGE};
	int error;

	if (type & (OPTION_RETURNED | OPTION_RETRIED))
		return -REASON_DROP_RETURNED_TWICE;
	error = relay(frame, tunnel, &hop, (type & OPTION_EGRESS_ALLOWED) | OPTION_RETURNED);
	return error ? error : REASON_RETURNED;
}

/* The packet of an endpoint of this host's, or of one that it stands for, came back: try whoever is next. */
static __always_inline int resend(struct frame *frame, struct tunnel *tunnel, struct packet *packet,
				  struct journey *journey, const struct endpoint *row)
{
	struct endpoint_key key = {.vni = tunnel->vni, .address = packet->source};
	struct outgoing outgoing = {
		.vni = tunnel->vni,
		.flow = journey->flow,
		.flags = (tunnel->option->type & OPTION_EGRESS_ALLOWED) | OPTION_RETRIED,
	};
	struct endpoint source = {};
	struct hop hop = {};
	int error = read_endpoint(&key, &source);

	if (error == -REASON_DROP_TORN)
		return error;
	if (error || !(source.flags & (ENDPOINT_LOCAL | ENDPOINT_FOREIGN)))
		return -REASON_DROP_RETURNED_TWICE;
	error = decapsulate_ecn(packet, tunnel->ip->tos);
	if (error)
		return error;
	outgoing.identity = source.identity;
	outgoing.traffic_class = packet->traffic_class;
	journey->network = source.network;
	journey->stage = STAGE_ACCESS;
	error = depart(journey, row, &hop);
	if (error)
		return error == -REASON_DROP_TORN ? error : -REASON_DROP_RETURNED_TWICE;
	error = encapsulate(frame, &outgoing, &hop, tunnel->size);
	return error ? error : reason_sent(hop.stage);
}

/* To another host. A packet that came back starts over here; OPTION_RETRIED sees to it that it does so once. */
static __always_inline int forward(struct frame *frame, struct tunnel *tunnel, struct packet *packet,
				   const struct host *previous, const struct endpoint *row)
{
	__u8 type = tunnel->option->type;
	__u8 flags = type & (OPTION_EGRESS_ALLOWED | OPTION_RETRIED);
	struct journey journey = {
		.key = {.vni = tunnel->vni, .address = packet->destination},
		.avoid = tunnel->ip->saddr,
		.flow = bpf_ntohs(tunnel->udp->source),
		.stage = type & OPTION_STAGE,
	};
	struct hop hop = {};
	int error;

	if (type & OPTION_RETURNED) {
		path_forget(&journey.key, journey.avoid);
		if (type & OPTION_RETRIED)
			return -REASON_DROP_RETURNED_TWICE;
		if (!tunnel->relayed || tunnel->sender == constants.self)
			return resend(frame, tunnel, packet, &journey, row);
		flags |= OPTION_RETRIED;
		journey.stage = STAGE_BOUNCER;
	}
	error = proceed(&journey, row, &hop);
	if (!error) {
		error = relay(frame, tunnel, &hop, flags);
		return error ? error : reason_relayed(hop.stage);
	}
	if (error == -REASON_DROP_TORN)
		return error;
	if (flags & OPTION_RETRIED)
		return -REASON_DROP_RETURNED_TWICE;
	if (error == -REASON_DROP_NO_ENDPOINT || error == -REASON_DROP_NO_NETWORK)
		return error;
	return give_back(frame, tunnel, previous);
}

/* An endpoint's packet on its way from a foreign host, checked as access checks those of this host. */
static __always_inline int admit(struct frame *frame, struct cursor *cursor, struct tunnel *tunnel,
				 struct ethernet **ethernet, struct packet *packet, struct endpoint *source)
{
	struct endpoint_key key = {.vni = tunnel->vni};
	int error = check_lengths(tunnel, frame->length);

	if (error)
		return error;
	error = parse_inner(cursor, tunnel, ethernet, packet);
	if (error)
		return error;
	key.address = packet->source;
	error = read_endpoint(&key, source);
	if (error == -REASON_DROP_TORN)
		return error;
	if (error || !(source->flags & ENDPOINT_FOREIGN) || source->host != tunnel->ip->saddr)
		return -REASON_DROP_SPOOFED_ADDRESS;
	return decapsulate_ecn(packet, tunnel->ip->tos);
}

/*
 * Plain Geneve. A foreign host's, of a VPC that this host bounces for, starts its journey here: this host stands for the
 * endpoint, so what cannot be served comes back to here, and never to the foreign host. Any other passes.
 */
static __always_inline int from_foreign(struct frame *frame, struct cursor *cursor, struct tunnel *tunnel)
{
	struct divider_key vpc = {.vni = tunnel_vni(tunnel)};
	struct journey journey = {.stage = STAGE_ACCESS};
	struct outgoing outgoing = {};
	struct endpoint source = {}, row = {};
	struct ethernet *ethernet;
	struct packet packet = {};
	struct host previous = {};
	struct hop hop = {};
	int error;

	if (!read_host(tunnel->ip->saddr, &previous) || !(previous.flags & HOST_FOREIGN))
		return REASON_PASSED;
	if (tunnel->geneve->protocol != bpf_htons(ETH_P_TEB) || tunnel->geneve->flags & GENEVE_CONTROL ||
	    !bpf_map_lookup_elem(&dividers, &vpc))
		return REASON_PASSED;
	tunnel->vni = vpc.vni;
	error = admit(frame, cursor, tunnel, &ethernet, &packet, &source);
	if (error)
		return error;
	outgoing.vni = journey.key.vni = vpc.vni;
	outgoing.identity = source.identity;
	outgoing.flow = journey.flow = bpf_ntohs(tunnel->udp->source);
	outgoing.traffic_class = packet.traffic_class;
	journey.key.address = packet.destination;
	journey.network = source.network;
	error = read_endpoint(&journey.key, &row);
	if (error == -REASON_DROP_TORN)
		return error;
	if (!error && row.flags & ENDPOINT_LOCAL)
		return deliver(frame, ethernet, &row, tunnel->size);
	if (!error && (row.flags & ENDPOINT_GATEWAY || row.host == source.host))
		return -REASON_DROP_NO_ENDPOINT; /* its neighbour there: back it would go for ever */
	if (!error && row.flags & ENDPOINT_FOREIGN) {
		error = hand_over(frame, ethernet, &outgoing, &row, tunnel->size);
		return error ? error : REASON_SENT_DIRECT;
	}
	error = depart(&journey, error ? NULL : &row, &hop);
	if (error)
		return error;
	error = encapsulate(frame, &outgoing, &hop, tunnel->size);
	return error ? error : reason_sent(hop.stage);
}

/*
 * A frame of ours that does not fit the way on from here, or that its sender's host gets back for that reason: told here
 * if the sender is here, and otherwise by its host. Looked at anew and not inlined, so that neither the verifier nor the
 * stack has to carry this along on every other way.
 */
static __attribute__((noinline)) int refuse_too_big(struct frame *frame)
{
	struct cursor cursor = cursor_of(frame->ctx);
	struct ethernet *ethernet;
	struct tunnel tunnel = {};
	struct packet packet = {};
	struct host sender = {};
	__u8 type;

	if (!parse_outer(&cursor, &tunnel, constants.self) || !parse_option(&cursor, &tunnel) || !tunnel.option ||
	    check_tunnel(&cursor, &tunnel, frame->length) || parse_inner(&cursor, &tunnel, &ethernet, &packet))
		return -REASON_DROP_TOO_BIG;
	type = tunnel.option->type;
	if (type & OPTION_TOO_BIG || tunnel.sender == constants.self || (type & OPTION_RETURNED && !tunnel.relayed))
		return tell_source(frame, &tunnel, &packet);
	if (find_host(tunnel.sender, &sender))
		return -REASON_DROP_TOO_BIG;
	return report_too_big(frame, &tunnel, &sender);
}

static __attribute__((noinline)) int from_underlay(struct frame *frame)
{
	struct cursor cursor = cursor_of(frame->ctx);
	struct endpoint_key key;
	struct ethernet *ethernet;
	struct tunnel tunnel = {};
	struct packet packet = {};
	struct endpoint row = {};
	struct host previous = {};
	int error;

	if (!parse_outer(&cursor, &tunnel, constants.self)) {
		hear_router(frame->ctx);
		return REASON_PASSED;
	}
	if (!parse_option(&cursor, &tunnel))
		return REASON_PASSED;
	if (!tunnel.option)
		return from_foreign(frame, &cursor, &tunnel);
	error = find_host(tunnel.ip->saddr, &previous);
	if (error)
		return error;
	if (is_control(&tunnel))
		return from_prober(frame, &tunnel, &previous);
	error = check_tunnel(&cursor, &tunnel, frame->length);
	if (error)
		return error;
	error = parse_inner(&cursor, &tunnel, &ethernet, &packet);
	if (error)
		return error;
	if (tunnel.option->type & OPTION_TOO_BIG) {
		frame->fits = bpf_ntohl(tunnel.body->identity);
		return -REASON_DROP_TOO_BIG;
	}
	key.vni = tunnel.vni;
	key.address = packet.destination;
	error = read_endpoint(&key, &row);
	if (error == -REASON_DROP_TORN)
		return error;
	if (!error && row.flags & (ENDPOINT_LOCAL | ENDPOINT_FOREIGN))
		return arrive(frame, &tunnel, &previous, ethernet, &packet, &row);
	if (!error && row.flags & ENDPOINT_GATEWAY)
		return -REASON_DROP_NO_ENDPOINT;
	return forward(frame, &tunnel, &packet, &previous, error ? NULL : &row);
}

SEC("xdp.frags")
int transit(struct xdp_md *ctx)
{
	struct frame frame = frame_of(ctx);
	int outcome = from_underlay(&frame);

	if (outcome == -REASON_DROP_TOO_BIG)
		outcome = refuse_too_big(&frame);
	return leave(&frame, outcome);
}

char _license[] SEC("license") = "Dual BSD/GPL";
