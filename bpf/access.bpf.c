// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* XDP on the host's side of endpoints' interfaces: what an endpoint sends is checked, answered, switched or sent on. */
#include "answer.h"
#include "toobig.h"

/* The interface's VPC. The row of another interface, read by ill luck, fails check_own. */
static __always_inline int find_origin(const struct frame *frame, struct origin *origin)
{
	struct interface_key key = {.ifindex = frame->ctx->ingress_ifindex};
	const void *row = bpf_map_lookup_elem(&interfaces, &key);
	struct interface interface;

	if (!row)
		return -REASON_DROP_UNKNOWN_INTERFACE;
	row_copy(&interface, row, sizeof(interface));
	origin->ifindex = key.ifindex;
	origin->vni = interface.vni;
	return 0;
}

static __always_inline void count_sent(const struct frame *frame, const struct endpoint *source)
{
	__u32 slot = source->counter;
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
static __always_inline int send_out(struct frame *frame, const struct origin *origin, struct ethernet *ethernet,
				    const struct packet *packet, const struct endpoint *source,
				    const struct endpoint *destination)
{
	struct outgoing outgoing = {
		.vni = origin->vni,
		.identity = source->identity,
		.flow = flow_port(packet),
		.traffic_class = packet->traffic_class,
	};
	struct journey journey = {
		.key = {.vni = origin->vni, .address = packet->destination},
		.network = source->network,
		.flow = outgoing.flow,
		.stage = STAGE_ACCESS,
	};
	struct hop hop = {};
	int error;

	if (destination && destination->flags & ENDPOINT_FOREIGN) {
		error = hand_over(frame, ethernet, &outgoing, destination, 0);
		return error ? error : REASON_SENT_DIRECT;
	}
	error = depart(&journey, destination, &hop);
	if (error)
		return error;
	error = encapsulate(frame, &outgoing, &hop, 0);
	return error ? error : reason_sent(hop.stage);
}

/* To an endpoint of this host. Only what is larger than its interface has to take need be asked about. */
static __always_inline int hand_locally(struct frame *frame, struct ethernet *ethernet, const struct endpoint *row)
{
	__u32 uplink = 0, length = frame->length - sizeof(*ethernet);
	const struct uplink *limit = bpf_map_lookup_elem(&uplinks, &uplink);

	if (limit && length + WIRE_OVERHEAD > limit->mtu &&
	    bpf_check_mtu(frame->ctx, row->ifindex, &length, 0, 0) == BPF_MTU_CHK_RET_FRAG_NEEDED) {
		frame->fits = length;
		return -REASON_DROP_TOO_BIG;
	}
	return deliver(frame, ethernet, row, 0);
}

static __always_inline int from_endpoint(struct frame *frame)
{
	struct cursor cursor = cursor_of(frame->ctx);
	struct ethernet *ethernet = take(&cursor, sizeof(*ethernet));
	struct endpoint source = {}, destination = {};
	struct endpoint_key key;
	struct origin origin = {};
	struct packet packet = {};
	int error = find_origin(frame, &origin);

	if (error)
		return error;
	if (!ethernet)
		return -REASON_DROP_MALFORMED;
	origin.ethernet = ethernet;
	if (ethernet->protocol == bpf_htons(ETH_P_ARP))
		return answer_arp(&origin, &cursor);
	error = parse_packet(frame, ethernet, &cursor, &packet);
	if (error)
		return error;
	if (is_discovery(&packet))
		return answer_neighbour(frame, &origin, &packet, &cursor);
	if (ethernet->destination.byte[0] & 1 || !packet.to_unicast)
		return -REASON_DROP_MULTICAST;
	error = check_own(&origin, &packet.source, &source);
	if (error)
		return error;
	count_sent(frame, &source);

	key.vni = origin.vni;
	key.address = packet.destination;
	error = read_endpoint(&key, &destination);
	if (error == -REASON_DROP_TORN)
		return error;
	if (!error && destination.flags & ENDPOINT_GATEWAY)
		return answer_echo(ethernet, &packet, &cursor);
	if (!error && destination.flags & ENDPOINT_LOCAL)
		error = hand_locally(frame, ethernet, &destination);
	else if (packet.version == 6 && address_is_link_local(&packet.destination))
		return -REASON_DROP_NO_ENDPOINT;
	else
		error = send_out(frame, &origin, ethernet, &packet, &source, error ? NULL : &destination);
	if (error == -REASON_DROP_TOO_BIG)
		return tell_too_big(frame, origin.vni, &packet, &source, 0);
	return error;
}

SEC("xdp.frags")
int access(struct xdp_md *ctx)
{
	struct frame frame = frame_of(ctx);

	return leave(&frame, from_endpoint(&frame));
}

char _license[] SEC("license") = "Dual BSD/GPL";
