// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* XDP on the host's side of endpoints' interfaces: what an endpoint sends is checked, answered, switched or sent on. */
#include "answer.h"
#include "flow.h"
#include "toobig.h"

/* The interface's VPC. The row of another interface, read by ill luck, fails check_own. */
static __always_inline int find_origin(__u32 ifindex, const mac_t *mac, struct origin *origin)
{
	struct interface_key key = {.ifindex = ifindex};
	const void *row = bpf_map_lookup_elem(&interfaces, &key);
	struct interface interface;

	if (!row)
		return -REASON_DROP_UNKNOWN_INTERFACE;
	row_copy(&interface, row, sizeof(interface));
	origin->ifindex = ifindex;
	origin->vni = interface.vni;
	mac_copy(&origin->mac, mac);
	return 0;
}

static __always_inline void count_sent(const struct frame *frame, __u32 slot)
{
	struct traffic *traffic = bpf_map_lookup_elem(&counters, &slot);

	if (traffic) {
		traffic->rx_packets++;
		traffic->rx_bytes += frame->length;
	}
}

/* An IP packet, up to the header that its flow's ports or its ICMP type are in. */
static __always_inline int parse_packet(struct frame *frame, const struct ethernet *ethernet, struct cursor *cursor,
					struct packet *packet)
{
	__u32 offset = sizeof(*ethernet) + sizeof(struct ipv6hdr), end;
	int error;

	if (ethernet->protocol == bpf_htons(ETH_P_IP))
		error = parse_ipv4(cursor, packet);
	else if (ethernet->protocol == bpf_htons(ETH_P_IPV6))
		error = parse_ipv6(cursor, packet);
	else
		return -REASON_DROP_NOT_IP;
	if (error)
		return error;
	end = sizeof(*ethernet) + packet->size;
	if (frame_room(frame, end) < end)
		return -REASON_DROP_MALFORMED;
	return packet->version == 4 ? 0 : parse_extensions(frame->ctx, packet, offset, frame->length);
}

/* To a host that has the destination, or knows who has it. */
static __always_inline int decide_sending(const struct flow_key *flow, const struct endpoint *source,
					  const struct endpoint *destination, struct decision *made)
{
	struct journey journey = {
		.key = {.vni = made->vni, .address = destination_of(&flow->addresses)},
		.network = source->network,
		.flow = flow_port(flow),
		.stage = STAGE_ACCESS,
	};
	struct hop hop = {};
	int error;

	made->identity = source->identity;
	made->port = journey.flow;
	if (destination && destination->flags & ENDPOINT_FOREIGN) {
		decide_hand_over(made, destination, REASON_SENT_DIRECT);
		return 0;
	}
	error = depart(&journey, destination, &hop);
	decide_hop(made, ACT_SEND, reason_sent(hop.stage), &hop);
	return error;
}

/*
 * What the tables say about a flow: 0 and a decision, or a negative reason to drop. Global, so that the verifier looks
 * at it by itself; it has no packet, so that nothing but the key can matter.
 */
__noinline int decide(const struct flow_key *flow, struct decision *made)
{
	struct endpoint *source, *destination;
	struct room *room = room_here();
	struct origin origin = {};
	struct endpoint_key key;
	int error;

	if (!flow || !made || !room)
		return -REASON_DROP_HELPER;
	source = &room->source;
	destination = &room->destination;
	error = find_origin(key_from(flow), (const mac_t *)&flow->sender, &origin);
	if (error)
		return error;
	key.address = source_of(&flow->addresses);
	error = check_own(&origin, &key.address);
	if (error)
		return error;
	made->act = ACT_ADMITTED;
	made->sender_counter = source->counter;

	made->vni = key.vni = origin.vni;
	key.address = destination_of(&flow->addresses);
	error = read_endpoint(&key, destination);
	if (error == -REASON_DROP_TORN)
		return error;
	if (!error && destination->flags & ENDPOINT_GATEWAY) {
		made->act = ACT_ECHO;
		made->reason = REASON_ANSWERED;
		return 0;
	}
	if (!error && destination->flags & ENDPOINT_LOCAL) {
		decide_delivery(made, destination);
		return 0;
	}
	if (key_is_ipv6(flow) && address_is_link_local(&key.address))
		return -REASON_DROP_NO_ENDPOINT;
	return decide_sending(flow, source, error ? NULL : destination, made);
}

/* To an endpoint of this host. Only what is larger than its interface has to take need be asked about. */
static __always_inline int hand_locally(struct frame *frame, struct ethernet *ethernet, const struct decision *made)
{
	__u32 uplink = 0, length = frame->length - sizeof(*ethernet);
	const struct uplink *limit = bpf_map_lookup_elem(&uplinks, &uplink);

	if (limit && length + WIRE_OVERHEAD > limit->mtu && context_exceeds(frame->ctx, made->ifindex, &length)) {
		frame->fits = length;
		return -REASON_DROP_TOO_BIG;
	}
	return deliver(frame, ethernet, made, 0);
}

static __always_inline void make_key(struct flow_key *key, const struct frame *frame, const struct ethernet *ethernet,
				     const struct packet *packet)
{
	const quarter_t *mac = (const quarter_t *)&ethernet->source;

	key_start(key, packet, frame->ctx->ingress_ifindex);
	key->sender = mac[0] | (__u32)mac[1] << 16 | (__u64)mac[2] << 32;
}

/* What a flow's first packet decides. A way through a bouncer is not kept: a shorter one may be learned. */
static __always_inline int decide_anew(const struct frame *frame, bool plain, struct work *work)
{
	struct decision *made = &work->decision;
	int error;

	*made = (struct decision){};
	error = decide(&work->key, made);
	if (error && made->act)
		count_sent(frame, made->sender_counter);
	if (!error && plain && (made->act == ACT_DELIVER || made->stage == STAGE_HOST))
		flow_keep(work);
	return error;
}

/*
 * What the virtual router says itself, to ARP, neighbour discovery and echo. Global, for the room that its many small
 * structures need on the stack.
 */
__noinline int answer(context_t *ctx)
{
	struct frame frame = frame_of(ctx);
	struct cursor cursor = cursor_of(ctx);
	struct ethernet *ethernet = take(&cursor, sizeof(*ethernet));
	struct origin origin = {};
	struct packet packet = {};
	int error;

	if (!ethernet)
		return -REASON_DROP_MALFORMED;
	error = find_origin(ctx->ingress_ifindex, &ethernet->source, &origin);
	if (error)
		return error;
	if (ethernet->protocol == bpf_htons(ETH_P_ARP))
		return answer_arp(&origin, ethernet, &cursor);
	error = parse_packet(&frame, ethernet, &cursor, &packet);
	if (error)
		return error;
	return is_discovery(&packet) ? answer_neighbour(&frame, &origin, &packet, &cursor)
				     : answer_echo(ethernet, &packet, &cursor);
}

static __always_inline int carry_out(struct frame *frame, struct ethernet *ethernet, __u8 traffic_class,
				     const struct decision *made)
{
	int error;

	if (made->act == ACT_DELIVER)
		error = hand_locally(frame, ethernet, made);
	else if (made->act == ACT_SEND)
		error = encapsulate(frame, made, traffic_class, 0);
	else if (made->act == ACT_HAND_OVER)
		error = hand_over(frame, ethernet, made, traffic_class, 0);
	else
		return answer(frame->ctx);
	return error ? error : made->reason;
}

static __always_inline int forward(struct frame *frame, struct ethernet *ethernet, const struct packet *packet)
{
	bool plain = flow_is_plain(packet);
	const struct decision *made = NULL;
	struct work *work = work_here();
	int error;

	if (!work)
		return -REASON_DROP_HELPER;
	make_key(&work->key, frame, ethernet, packet);
	if (plain)
		made = flow_find(work);
	if (!made) {
		error = decide_anew(frame, plain, work);
		if (error)
			return error;
		made = &work->decision;
	}
	count_sent(frame, made->sender_counter);
	return carry_out(frame, ethernet, packet->traffic_class, made);
}

static __always_inline int from_endpoint(struct frame *frame)
{
	struct cursor cursor = cursor_of(frame->ctx);
	struct ethernet *ethernet = take(&cursor, sizeof(*ethernet));
	struct packet packet = {};
	int error;

	if (!ethernet)
		return -REASON_DROP_MALFORMED;
	if (context_is_tagged(frame->ctx))
		return -REASON_DROP_NOT_IP;
	if (ethernet->protocol == bpf_htons(ETH_P_ARP))
		return answer(frame->ctx);
	error = parse_packet(frame, ethernet, &cursor, &packet);
	if (error)
		return error;
	if (is_discovery(&packet))
		return answer(frame->ctx);
	if (ethernet->destination.byte[0] & 1 || !packet.to_unicast)
		return -REASON_DROP_MULTICAST;
	return forward(frame, ethernet, &packet);
}

/* Looked at anew and not inlined, so that neither the verifier nor the stack has to carry this along on every way. */
static __always_inline int refuse_too_big(struct frame *frame)
{
	struct cursor cursor = cursor_of(frame->ctx);
	struct ethernet *ethernet = take(&cursor, sizeof(*ethernet));
	struct room *room = room_here();
	struct endpoint_key key;
	struct origin origin = {};
	struct packet packet = {};

	if (!room || !ethernet || parse_packet(frame, ethernet, &cursor, &packet) ||
	    find_origin(frame->ctx->ingress_ifindex, &ethernet->source, &origin))
		return -REASON_DROP_TOO_BIG;
	key.vni = origin.vni;
	key.address = source_of(&packet.addresses);
	if (read_endpoint(&key, &room->source))
		return -REASON_DROP_TOO_BIG;
	return tell_too_big(frame, origin.vni, &packet, &room->source, 0);
}

static __attribute__((noinline)) int leave_too_big(context_t *ctx, __u32 fits)
{
	struct frame frame = frame_of(ctx);

	frame.fits = fits;
	return leave(&frame, refuse_too_big(&frame));
}

SECTION
int NAMED(access)(context_t *ctx)
{
	struct frame frame = frame_of(ctx);
	int outcome = from_endpoint(&frame);

	return outcome == -REASON_DROP_TOO_BIG ? leave_too_big(ctx, frame.fits) : leave(&frame, outcome);
}

char _license[] SEC("license") = "Dual BSD/GPL";
