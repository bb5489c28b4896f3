/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Outer headers: putting them on, changing them on the way, and what they leave in the inner frame (RFC 6040). */
#ifndef RECONCILER_ENCAP_H
#define RECONCILER_ENCAP_H

#include "checksum.h"
#include "parse.h"
#include "route.h"
#include "verdict.h"

#define ENCAP_SIZE(body)                                                                                               \
	(sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr) + sizeof(struct geneve) +                \
	 sizeof(struct geneve_option) + (body))

#define FLOW_PORT 49152 /* RFC 6335, 6: 49152-65535 are dynamic */
#define ECN 3
#define ECN_ECT1 1
#define ECN_ECT0 2
#define ECN_CE 3

/* The underlay as seen from here: how a frame gets to a host. */
struct way {
	mac_t source;
	mac_t destination;
	__u32 ifindex;
	__u32 mtu;
};

static __always_inline int find_way(__u16 slot, struct way *way)
{
	__u32 key = slot;
	const void *row = bpf_map_lookup_elem(&next_hops, &key);
	struct next_hop next_hop;
	struct uplink uplink;
	struct uplink_mac mac;

	if (!row)
		return -REASON_DROP_NO_NEXT_HOP;
	row_copy(&next_hop, row, sizeof(next_hop));
	key = next_hop.uplink;
	row = bpf_map_lookup_elem(&uplinks, &key);
	if (!row)
		return -REASON_DROP_NO_NEXT_HOP;
	row_copy(&uplink, row, sizeof(uplink));
	row = bpf_map_lookup_elem(&uplink_macs, &key);
	if (!row)
		return -REASON_DROP_NO_NEXT_HOP;
	row_copy(&mac, row, sizeof(mac));
	way->source = mac.mac;
	way->destination = next_hop.mac;
	way->ifindex = uplink.ifindex;
	way->mtu = uplink.mtu;
	if (!mac.valid || !uplink.ifindex || mac_is_zero(&next_hop.mac))
		return -REASON_DROP_NO_NEXT_HOP;
	return 0;
}

/* The outer source port, from the inner flow: ports only where there are some for certain (RFC 8926, 3.3). */
static __always_inline __u16 flow_port(const struct packet *packet)
{
	const __u32 *source = packet->source.word, *destination = packet->destination.word;
	__u64 sum = packet->protocol;

	switch (packet->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		if (!packet->fragment)
			sum |= (__u64)packet->head << 32;
	}
	sum *= row_factor(0);
	sum += (source[0] | (__u64)source[1] << 32) * row_factor(1);
	sum += (source[2] | (__u64)source[3] << 32) * row_factor(2);
	sum += (destination[0] | (__u64)destination[1] << 32) * row_factor(3);
	sum += (destination[2] | (__u64)destination[3] << 32) * row_factor(4);
	sum = (sum ^ sum >> 32) * row_factor(5);
	return FLOW_PORT + (sum >> 50);
}

/* What a packet of this host's own endpoint gets around it. */
struct outgoing {
	__u32 vni;
	__u32 identity;
	__u16 flow; /* source port */
	__u8 traffic_class;
	__u8 flags; /* enum option_flag */
};

static __always_inline void write_ip(struct iphdr *ip, ipv4_t destination, __u8 traffic_class, __u16 length)
{
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = traffic_class; /* RFC 6040, 4.1: ECN is copied as it is */
	ip->tot_len = bpf_htons(length);
	ip->id = 0; /* RFC 6864: an atomic datagram needs none */
	ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
	ip->ttl = WIRE_TTL;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = constants.self;
	ip->daddr = destination;
	ip->check = ~checksum_fold(checksum_words((const __u32 *)ip, sizeof(*ip) / 4, 0));
}

/* Put the outer headers on, instead of `strip` bytes of old ones, and send the frame to `hop`. */
static __always_inline int encapsulate(struct frame *frame, const struct outgoing *outgoing, const struct hop *hop,
				       __u32 strip)
{
	int body_size = hop->stage < STAGE_HOST ? sizeof(struct option_body) : sizeof(__be32);
	int size = ENCAP_SIZE(body_size);
	__u32 inner = frame->length - strip;
	struct way way;
	struct cursor cursor;
	struct ethhdr *ethernet;
	struct iphdr *ip;
	struct udphdr *udp;
	struct geneve *geneve;
	struct geneve_option *option;
	struct option_body *body;
	int error = find_way(hop->slot, &way);

	if (error)
		return error;
	/* One limit for every path, so that what once fitted always does. Here "too big" will be told to the sender. */
	if (inner - sizeof(struct ethhdr) + WIRE_OVERHEAD > way.mtu)
		return -REASON_DROP_TOO_BIG;
	if (bpf_xdp_adjust_head(frame->ctx, (int)strip - size))
		return -REASON_DROP_HELPER;
	cursor = cursor_of(frame->ctx);
	ethernet = take(&cursor, ENCAP_SIZE(sizeof(*body)));
	if (!ethernet)
		return -REASON_DROP_HELPER;
	ip = (void *)(ethernet + 1);
	udp = (void *)(ip + 1);
	geneve = (void *)(udp + 1);
	option = (void *)(geneve + 1);
	body = (void *)(option + 1);

	mac_copy(ethernet->h_dest, &way.destination);
	mac_copy(ethernet->h_source, &way.source);
	ethernet->h_proto = bpf_htons(ETH_P_IP);
	write_ip(ip, hop->host, outgoing->traffic_class, size - sizeof(*ethernet) + inner);
	udp->source = bpf_htons(outgoing->flow);
	udp->dest = bpf_htons(WIRE_PORT);
	udp->len = bpf_htons(size - sizeof(*ethernet) - sizeof(*ip) + inner);
	udp->check = 0; /* RFC 8926, 3.3: the inner packet has its own */
	geneve->words = (sizeof(*option) + body_size) / 4;
	geneve->flags = GENEVE_CRITICAL;
	geneve->protocol = bpf_htons(ETH_P_TEB);
	geneve->vni = bpf_htonl(outgoing->vni << 8);
	option->class = bpf_htons(WIRE_OPTION_CLASS);
	option->type = OPTION_CRITICAL | outgoing->flags | hop->stage;
	option->words = body_size / 4;
	body->identity = bpf_htonl(outgoing->identity);
	if (hop->stage < STAGE_HOST)
		body->sender = constants.self;
	frame->out = way.ifindex;
	return 0;
}

/* Send a frame of the tunnel on to another host, or back: the headers stay, addresses and the option's type change. */
static __always_inline int relay(struct frame *frame, struct tunnel *tunnel, const struct hop *hop, __u8 flags)
{
	struct iphdr *ip = tunnel->ip;
	struct way way;
	int error = find_way(hop->slot, &way);

	if (error)
		return error;
	if (bpf_ntohs(ip->tot_len) > way.mtu)
		return -REASON_DROP_TOO_BIG;
	if (ip->ttl <= 1)
		return -REASON_DROP_TTL;
	checksum_replace(&ip->check, ip->saddr, ip->daddr); /* daddr is this host: the new source */
	checksum_replace(&ip->check, ip->daddr, hop->host);
	checksum_replace(&ip->check, bpf_htons(1 << 8), 0); /* the TTL, less one */
	ip->saddr = ip->daddr;
	ip->daddr = hop->host;
	ip->ttl--;
	tunnel->udp->check = 0; /* as this system sends it; any other would be wrong now */
	tunnel->option->type = OPTION_CRITICAL | flags | hop->stage;
	mac_copy(tunnel->ethernet->h_dest, &way.destination);
	mac_copy(tunnel->ethernet->h_source, &way.source);
	frame->out = way.ifindex;
	return 0;
}

static __always_inline void write_ecn(struct packet *packet, __u8 ecn)
{
	struct ipv6hdr *ipv6 = packet->header;
	struct iphdr *ip = packet->header;

	packet->traffic_class = (packet->traffic_class & ~ECN) | ecn;
	if (packet->version == 6) {
		ipv6->flow_lbl[0] = (ipv6->flow_lbl[0] & ~(ECN << 4)) | ecn << 4;
		return;
	}
	checksum_replace(&ip->check, bpf_htons(ip->tos), bpf_htons((ip->tos & ~ECN) | ecn));
	ip->tos = (ip->tos & ~ECN) | ecn;
}

/* What the underlay said about congestion goes into the inner header (RFC 6040, 4.2). DSCP stays the inner one's. */
static __always_inline int decapsulate_ecn(struct packet *packet, __u8 outer)
{
	__u8 inner = packet->traffic_class & ECN;

	outer &= ECN;
	if (outer == ECN_CE && !inner)
		return -REASON_DROP_ECN;
	if ((outer == ECN_CE && inner != ECN_CE) || (outer == ECN_ECT1 && inner == ECN_ECT0))
		write_ecn(packet, outer);
	return 0;
}

/* Hand the frame, less `strip` bytes of outer headers, to the endpoint of `row`, which is local. */
static __always_inline int deliver(struct frame *frame, struct ethhdr *ethernet, const struct endpoint *row, __u32 strip)
{
	__u32 slot = row->counter;
	mac_t router = router_mac();
	struct traffic *traffic;

	mac_copy(ethernet->h_dest, &row->mac);
	mac_copy(ethernet->h_source, &router);
	if (strip && bpf_xdp_adjust_head(frame->ctx, strip))
		return -REASON_DROP_HELPER;
	traffic = bpf_map_lookup_elem(&counters, &slot);
	if (traffic) {
		traffic->tx_packets++;
		traffic->tx_bytes += frame->length - strip;
	}
	frame->out = row->ifindex;
	return REASON_DELIVERED;
}

#endif
