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
	__u32 offset = sizeof(*ethernet) + sizeof(struct ipv6hdr), room = frame->length - sizeof(*ethernet);
	int error;

	if (ethernet->protocol == bpf_htons(ETH_P_IP))
		return parse_ipv4(cursor, packet, room);
	if (ethernet->protocol != bpf_htons(ETH_P_IPV6))
		return -REASON_DROP_NOT_IP;
	error = parse_ipv6(cursor, packet, room);
	return error ? error : parse_extensions(frame->ctx, packet, offset, frame->length);
}

/* To a host that has the destination, or knows who has it. */
static __always_inline int decide_sending(const struct flow_key *flow, const struct endpoint *source,
					  const struct endpoint *destination, struct decision *made)
{
	struct journey journey = {
		.key = {.vni = made->vni, .address = flow->destination},
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
	error = find_origin(flow->from, &flow->mac, &origin);
	if (error)
		return error;
	error = check_own(&origin, &flow->source);
	if (error)
		return error;
	made->admitted = 1;
	made->sender_counter = source->counter;
	made->network = source->network;

	made->vni = key.vni = origin.vni;
	key.address = flow->destination;
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
	if (flow->version == 6 && address_is_link_local(&flow->destination))
		return -REASON_DROP_NO_ENDPOINT;
	return decide_sending(flow, source, error ? NULL : destination, made);
}

/* To an endpoint of this host. Only what is larger than its interface has to take need be asked about. */
static __always_inline int hand_locally(struct frame *frame, struct ethernet *ethernet, const struct decision *made)
{
	__u32 uplink = 0, length = frame->length - sizeof(*ethernet);
	const struct uplink *limit = bpf_map_lookup_elem(&uplinks, &uplink);

	if (limit && length + WIRE_OVERHEAD > limit->mtu &&
	    bpf_check_mtu(frame->ctx, made->ifindex, &length, 0, 0) == BPF_MTU_CHK_RET_FRAG_NEEDED) {
		frame->fits = length;
		return -REASON_DROP_TOO_BIG;
	}
	return deliver(frame, ethernet, made, 0);
}

/* What it was admitted by need not be looked up again; the frame may have other MACs by now. */
static __always_inline int refuse_too_big(struct frame *frame, const struct packet *packet, const struct decision *made)
{
	const struct flow *flow = flow_work();
	struct room *room = room_here();

	if (!room || !flow)
		return -REASON_DROP_TOO_BIG;
	mac_copy(&room->source.mac, &flow->key.mac);
	room->source.network = made->network;
	room->source.counter = made->sender_counter;
	room->source.ifindex = frame->ctx->ingress_ifindex;
	return tell_too_big(frame, made->vni, packet, &room->source, 0);
}

static __always_inline int carry_out(struct frame *frame, struct ethernet *ethernet, const struct packet *packet,
				     struct cursor *cursor, const struct decision *made)
{
	int error;

	if (made->act == ACT_DELIVER)
		error = hand_locally(frame, ethernet, made);
	else if (made->act == ACT_SEND)
		error = encapsulate(frame, made, packet->traffic_class, 0);
	else if (made->act == ACT_HAND_OVER)
		error = hand_over(frame, ethernet, made, packet->traffic_class, 0);
	else
		error = answer_echo(ethernet, packet, cursor);
	if (error == -REASON_DROP_TOO_BIG)
		return refuse_too_big(frame, packet, made);
	return error ? error : made->reason;
}

static __always_inline void write_key(struct flow_key *key, const struct frame *frame, const struct ethernet *ethernet,
				      const struct packet *packet)
{
	key->source = packet->source;
	key->destination = packet->destination;
	key->head = flow_head(packet);
	key->protocol = packet->protocol;
	key->version = packet->version;
	key->from = frame->ctx->ingress_ifindex;
	mac_copy(&key->mac, &ethernet->source);
}

/* What a flow's first packet decides. A way through a bouncer is not kept: a shorter one may be learned. */
static __always_inline int decide_anew(const struct frame *frame, bool plain, struct flow_set *set, __u64 hash,
				       struct flow *flow)
{
	struct decision *made = &flow->decision;
	int error;

	*made = (struct decision){};
	error = decide(&flow->key, made);
	if (error && made->admitted)
		count_sent(frame, made->sender_counter);
	if (!error && plain && (made->act == ACT_DELIVER || made->stage == STAGE_HOST))
		flow_keep(set, hash, flow);
	return error;
}

static __always_inline int forward(struct frame *frame, struct ethernet *ethernet, const struct packet *packet,
				   struct cursor *cursor)
{
	bool plain = flow_is_plain(packet);
	const struct decision *made = NULL;
	struct flow *flow = flow_work();
	struct flow_set *set;
	__u64 hash;
	int error;

	if (!flow)
		return -REASON_DROP_HELPER;
	write_key(&flow->key, frame, ethernet, packet);
	hash = flow_hash(&flow->key);
	set = flow_set_of(hash);
	if (!set)
		return -REASON_DROP_HELPER;
	moment_take(&flow->made);
	if (plain)
		made = flow_find(set, hash, flow);
	if (!made) {
		error = decide_anew(frame, plain, set, hash, flow);
		if (error)
			return error;
		made = &flow->decision;
	}
	count_sent(frame, made->sender_counter);
	return carry_out(frame, ethernet, packet, cursor, made);
}

/* ARP and neighbour discovery. Global, for the room that its many small structures need on the stack. */
__noinline int answer_discovery(struct xdp_md *ctx)
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
	return error ? error : answer_neighbour(&frame, &origin, &packet, &cursor);
}

static __always_inline int from_endpoint(struct frame *frame)
{
	struct cursor cursor = cursor_of(frame->ctx);
	struct ethernet *ethernet = take(&cursor, sizeof(*ethernet));
	struct packet packet = {};
	int error;

	if (!ethernet)
		return -REASON_DROP_MALFORMED;
	if (ethernet->protocol == bpf_htons(ETH_P_ARP))
		return answer_discovery(frame->ctx);
	error = parse_packet(frame, ethernet, &cursor, &packet);
	if (error)
		return error;
	if (is_discovery(&packet))
		return answer_discovery(frame->ctx);
	if (ethernet->destination.byte[0] & 1 || !packet.to_unicast)
		return -REASON_DROP_MULTICAST;
	return forward(frame, ethernet, &packet, &cursor);
}

SEC("xdp.frags")
int access(struct xdp_md *ctx)
{
	struct frame frame = frame_of(ctx);

	return leave(&frame, from_endpoint(&frame));
}

char _license[] SEC("license") = "Dual BSD/GPL";
