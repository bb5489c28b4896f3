/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Outer headers: putting them on, changing them on the way, and what they leave in the inner frame (RFC 6040). */
#ifndef RECONCILER_ENCAP_H
#define RECONCILER_ENCAP_H

#include "checksum.h"
#include "decision.h"
#include "parse.h"
#include "pmtu.h"
#include "verdict.h"

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
	way->mtu = path_mtu(slot, uplink.mtu);
	if (!mac.valid || !uplink.ifindex || mac_is_zero(&next_hop.mac))
		return -REASON_DROP_NO_NEXT_HOP;
	return 0;
}

/* Of the outer headers, without options. */
static const int encap_size = sizeof(struct ethernet) + sizeof(struct iphdr) + sizeof(struct udphdr) +
			      sizeof(struct geneve);

/* Of our option: a packet that is relayed says who the sender's host is. */
static __always_inline int option_size(__u8 stage)
{
	return sizeof(struct geneve_option) + (stage < STAGE_HOST ? sizeof(struct option_body) : sizeof(__be32));
}

/*
 * ECN is copied as it is (RFC 6040, 4.1); an atomic datagram needs no identification (RFC 6864). Written and summed by
 * words: reading back as words what was written as fields would wait for the store.
 */
static __always_inline void write_ip(struct iphdr *ip, ipv4_t destination, __u8 traffic_class, __u16 length)
{
	__u32 word[] = {
		bpf_htonl(4U << 28 | 5 << 24 | traffic_class << 16 | length),
		bpf_htonl(IP_DONT_FRAGMENT),
		bpf_htonl(WIRE_TTL << 24 | IPPROTO_UDP << 16),
		constants.self,
		destination,
	};
	__u32 check = (__u16)~checksum_fold(checksum_words(word, 5, 0));

	word[2] |= check << 16;
	__builtin_memcpy(ip, word, sizeof(word));
}

/* UDP and Geneve with `options` bytes of options, for an inner frame of `length` bytes. */
static __always_inline void write_tunnel(struct udphdr *udp, const struct decision *made, int options, __u32 length)
{
	struct geneve *geneve = (void *)(udp + 1);

	udp->source = bpf_htons(made->port);
	udp->dest = bpf_htons(WIRE_PORT);
	udp->len = bpf_htons(sizeof(*udp) + sizeof(*geneve) + options + length);
	udp->check = 0; /* RFC 8926, 3.3: the inner packet has its own */
	geneve->words = options / 4;
	geneve->flags = options ? GENEVE_CRITICAL : 0;
	geneve->protocol = bpf_htons(ETH_P_TEB);
	geneve->vni = bpf_htonl(made->vni << 8);
}

static __always_inline void write_option(struct geneve_option *option, const struct decision *made)
{
	struct option_body *body = (void *)(option + 1);

	option->class = bpf_htons(WIRE_OPTION_CLASS);
	option->type = OPTION_CRITICAL | made->flags | made->stage;
	option->words = (option_size(made->stage) - sizeof(*option)) / 4;
	body->identity = bpf_htonl(made->identity);
	if (made->stage < STAGE_HOST)
		body->sender = constants.self;
}

/* It does not fit an underlay MTU; the frame is as it was. Who may tell the sender is the program's business. */
static __always_inline int too_big(struct frame *frame, __u32 mtu)
{
	frame->fits = mtu > WIRE_OVERHEAD ? mtu - WIRE_OVERHEAD : 0;
	return -REASON_DROP_TOO_BIG;
}

/* Put outer headers on, without or with our option, instead of `strip` bytes of old ones. */
static __always_inline int wrap(struct frame *frame, const struct decision *made, __u8 traffic_class, __u32 strip,
				bool plain)
{
	int options = plain ? 0 : option_size(made->stage);
	int size = encap_size + options;
	__u32 inner = frame->length - strip;
	struct way way;
	struct cursor cursor;
	struct ethernet *ethernet;
	struct iphdr *ip;
	int error = find_way(made->host_slot, &way);

	if (error)
		return error;
	/* One limit for every path, so that what once fitted always does. */
	if (inner - sizeof(*ethernet) + WIRE_OVERHEAD > way.mtu &&
	    !context_is_cut(frame->ctx, strip + sizeof(*ethernet), way.mtu - WIRE_OVERHEAD))
		return too_big(frame, way.mtu);
	if (context_wrap(frame->ctx, strip, size))
		return -REASON_DROP_HELPER;
	cursor = cursor_of(frame->ctx);
	/* Shorter headers have the inner frame behind them. */
	ethernet = take(&cursor, encap_size + sizeof(struct geneve_option) + sizeof(struct option_body));
	if (!ethernet)
		return -REASON_DROP_HELPER;
	ip = (void *)(ethernet + 1);
	mac_copy(&ethernet->destination, &way.destination);
	mac_copy(&ethernet->source, &way.source);
	ethernet->protocol = bpf_htons(ETH_P_IP);
	write_ip(ip, made->host, traffic_class, size - sizeof(*ethernet) + inner);
	write_tunnel((void *)(ip + 1), made, options, inner);
	if (!plain)
		write_option((void *)ethernet + encap_size, made);
	frame->out = way.ifindex;
	return 0;
}

/* The inner MACs, as the virtual router hands a frame to an endpoint. */
static __always_inline void write_macs(struct ethernet *ethernet, const struct decision *made)
{
	mac_t router = router_mac();

	mac_copy(&ethernet->destination, &made->mac);
	mac_copy(&ethernet->source, &router);
}

/* To a host that runs these programs. */
static __always_inline int encapsulate(struct frame *frame, const struct decision *made, __u8 traffic_class,
				       __u32 strip)
{
	return wrap(frame, made, traffic_class, strip, false);
}

/* To a foreign host: as its own switch would hand the frame to the endpoint, in plain Geneve. */
static __always_inline int hand_over(struct frame *frame, struct ethernet *ethernet, const struct decision *made,
				     __u8 traffic_class, __u32 strip)
{
	write_macs(ethernet, made);
	return wrap(frame, made, traffic_class, strip, true);
}

/* Send a frame of the tunnel on to another host, or back: the headers stay, addresses and the option's type change. */
static __always_inline int relay(struct frame *frame, struct tunnel *tunnel, const struct decision *made)
{
	struct iphdr *ip = tunnel->ip;
	struct way way;
	int error = find_way(made->host_slot, &way);

	if (error)
		return error;
	if (bpf_ntohs(ip->tot_len) > way.mtu && !context_tunnel_is_cut(frame->ctx, way.mtu))
		return too_big(frame, way.mtu);
	if (ip->ttl <= 1)
		return -REASON_DROP_TTL;
	/* daddr, this host, is the new source; besides, the TTL is one less. */
	checksum_change(&ip->check, (__u64)(__u32)~ip->saddr + made->host + (__u16)~bpf_htons(1 << 8));
	ip->saddr = ip->daddr;
	ip->daddr = made->host;
	ip->ttl--;
	tunnel->udp->check = 0; /* as this system sends it; any other would be wrong now */
	tunnel->option->type = OPTION_CRITICAL | made->flags | made->stage;
	mac_copy(&tunnel->ethernet->destination, &way.destination);
	mac_copy(&tunnel->ethernet->source, &way.source);
	frame->out = way.ifindex;
	return 0;
}

static __always_inline void write_ecn(context_t *ctx, struct packet *packet, __u8 ecn)
{
	struct ipv6hdr *ipv6 = packet->header;
	struct iphdr *ip = packet->header;
	quarter_t *start = packet->header, before = *start;

	packet->traffic_class = (packet->traffic_class & ~ECN) | ecn;
	if (packet->version == 6) {
		ipv6->flow_lbl[0] = (ipv6->flow_lbl[0] & ~(ECN << 4)) | ecn << 4;
		context_changed(ctx, before, *start);
		return;
	}
	checksum_replace(&ip->check, bpf_htons(ip->tos), bpf_htons((ip->tos & ~ECN) | ecn));
	ip->tos = (ip->tos & ~ECN) | ecn;
}

/* What the underlay said about congestion goes into the inner header (RFC 6040, 4.2). DSCP stays the inner one's. */
static __always_inline int decapsulate_ecn(context_t *ctx, struct packet *packet, __u8 outer)
{
	__u8 inner = packet->traffic_class & ECN;

	outer &= ECN;
	if (outer == ECN_CE && !inner)
		return -REASON_DROP_ECN;
	if ((outer == ECN_CE && inner != ECN_CE) || (outer == ECN_ECT1 && inner == ECN_ECT0))
		write_ecn(ctx, packet, outer);
	return 0;
}

/* Hand the frame, less `strip` bytes of outer headers, to an endpoint of this host. */
static __always_inline int deliver(struct frame *frame, struct ethernet *ethernet, const struct decision *made,
				   __u32 strip)
{
	__u32 slot = made->counter;
	struct traffic *traffic;

	write_macs(context_inner(frame->ctx, ethernet, strip), made);
	if (strip && context_unwrap(frame->ctx, strip))
		return -REASON_DROP_HELPER;
	traffic = bpf_map_lookup_elem(&counters, &slot);
	if (traffic) {
		traffic->tx_packets++;
		traffic->tx_bytes += frame->length - strip;
	}
	frame->out = made->ifindex;
	return 0;
}

#endif
