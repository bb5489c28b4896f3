/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Path MTU discovery: an endpoint hears from its virtual router what would have fitted (RFC 1191, RFC 8201). */
#ifndef RECONCILER_TOOBIG_H
#define RECONCILER_TOOBIG_H

#include "encap.h"
#include "room.h"

#define ICMPV6_PACKET_TOO_BIG 2
#define ICMPV6_INFORMATION 128 /* types from here on are no errors: RFC 4443, 2.1 */
/* The ICMP types that are no errors, as bits: echo and its reply, 13 to 18 (RFC 1122, 3.2.2). */
#define ICMP_QUERIES (1 << 0 | 1 << 8 | 0x3f << 13)

/* How much of the packet is quoted: until the answer has 576 bytes (RFC 1812, 4.3.2.3), or 1280 (RFC 4443, 2.4 c). */
#define QUOTE_IPV4 (576 - 28)
#define QUOTE_IPV6 (1280 - 48)
#define QUOTE_LEAST 128 /* of one that has less, or less in its first buffer: more than any header with 8 bytes */

/* RFC 1812, 4.3.2.8 and RFC 4443, 2.4 f, for each endpoint and CPU: 50 at once, then one in 10 ms. */
#define ERROR_COST 10 /* milliseconds, nearly */
#define ERROR_BURST (50 * ERROR_COST)

/* Never about an error, never about a fragment that is not the first: RFC 1122, 3.2.2; RFC 4443, 2.4 e. */
static __always_inline bool may_be_told(const struct packet *packet)
{
	__u8 type = bpf_ntohl(packet->head) >> 24;

	if (packet->later)
		return false;
	if (packet->version == 4)
		return packet->protocol != IPPROTO_ICMP || (type < 32 && ICMP_QUERIES >> type & 1);
	return packet->protocol != IPPROTO_ICMPV6 || type >= ICMPV6_INFORMATION;
}

/* Take an error's cost from the endpoint's allowance on this CPU. */
static __always_inline bool allowed(__u16 counter)
{
	__u32 now = bpf_ktime_get_coarse_ns() >> 20, slot = counter, credit;
	struct allowance *allowance = bpf_map_lookup_elem(&errors, &slot);

	if (!allowance)
		return false;
	credit = now - allowance->seen;
	if (credit > ERROR_BURST || credit + allowance->credit > ERROR_BURST)
		credit = ERROR_BURST;
	else
		credit += allowance->credit;
	if (credit < ERROR_COST)
		return false;
	allowance->seen = now;
	allowance->credit = credit - ERROR_COST;
	return true;
}

/* The sum of what is quoted, `size` bytes at `from`, which have been checked to be there. */
static __always_inline __u64 sum_quote(const void *from, int size)
{
	const sum_word_t *word = from;
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < size / 4; i++)
		sum += word[i];
	return sum;
}

/* Internet control, as RFC 1812, 4.3.2.5 wants it; atomic. */
static __always_inline int write_ipv4_notice(struct cursor cursor, const struct notice *notice, int quote)
{
	struct iphdr *ip = take(&cursor, sizeof(*ip) + sizeof(struct too_big) + quote);
	struct too_big *icmp = (void *)(ip + 1);

	if (!ip)
		return -1;
	*(__be32 *)ip = bpf_htonl(4U << 28 | 5 << 24 | 0xc0 << 16 | (sizeof(*ip) + sizeof(*icmp) + quote));
	*((__be32 *)ip + 1) = bpf_htonl(IP_DONT_FRAGMENT);
	ip->ttl = WIRE_TTL;
	ip->protocol = IPPROTO_ICMP;
	ip->check = 0;
	ip->saddr = notice->router.word[3];
	ip->daddr = notice->endpoint.word[3];
	ip->check = ~checksum_fold(checksum_words(ip, 5, 0));
	icmp->type = ICMP_UNREACHABLE;
	icmp->code = ICMP_FRAGMENTATION_NEEDED;
	icmp->check = 0;
	icmp->mtu = bpf_htonl(notice->mtu);
	icmp->check = ~checksum_fold(checksum_words(icmp, 2, sum_quote(icmp + 1, quote)));
	return 0;
}

static __always_inline int write_ipv6_notice(struct cursor cursor, const struct notice *notice, int quote)
{
	struct ipv6hdr *ip = take(&cursor, sizeof(*ip) + sizeof(struct too_big) + quote);
	struct too_big *icmp = (void *)(ip + 1);
	__u64 sum;

	if (!ip)
		return -1;
	*(__be32 *)ip = bpf_htonl(6U << 28 | 0xc0 << 20);
	ip->payload_len = bpf_htons(sizeof(*icmp) + quote);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = WIRE_TTL;
	__builtin_memcpy(&ip->saddr, &notice->router, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &notice->endpoint, sizeof(ip->daddr));
	icmp->type = ICMPV6_PACKET_TOO_BIG;
	icmp->code = 0;
	icmp->check = 0;
	icmp->mtu = bpf_htonl(notice->mtu);
	/* RFC 8200, 8.1: addresses, length and next header, then the message. */
	sum = sum_quote(icmp + 1, quote) + bpf_htonl(sizeof(*icmp) + quote) + (__u64)bpf_htonl(IPPROTO_ICMPV6);
	sum = checksum_words(&ip->saddr, 8, sum);
	icmp->check = ~checksum_fold(checksum_words(icmp, 2, sum));
	return 0;
}

/* The frame, cut to `quote` bytes of its IP packet, behind the headers of an answer of that version. */
static __always_inline int enclose(context_t *ctx, const struct notice *notice, int quote)
{
	bool ipv4 = notice->version == 4;
	__u32 size = sizeof(struct too_big) + (ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	mac_t router = router_mac();
	struct ethernet *ethernet;
	struct cursor cursor;

	if (context_resize(ctx, notice->length, notice->strip + sizeof(*ethernet) + quote))
		return -1;
	if (context_reshape(ctx, notice->strip, size))
		return -1;
	cursor = cursor_of(ctx);
	ethernet = take(&cursor, sizeof(*ethernet));
	if (!ethernet)
		return -1;
	mac_copy(&ethernet->destination, &notice->mac);
	mac_copy(&ethernet->source, &router);
	ethernet->protocol = ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	return ipv4 ? write_ipv4_notice(cursor, notice, quote) : write_ipv6_notice(cursor, notice, quote);
}

/*
 * Make of a frame what the virtual router says about it: 0, or -1, and it is spoilt. Not inlined: so the verifier looks
 * at it once, apart from the many ways that lead here.
 */
__attribute__((noinline)) int write_notice(context_t *ctx, const struct notice *notice)
{
	struct cursor cursor = cursor_of(ctx);
	__u32 before, room = cursor.end - cursor.at; /* of the first buffer: what lies in others is not quoted */

	if (!notice)
		return -1;
	before = notice->strip + sizeof(struct ethernet);
	if (notice->version == 4 && room >= before + QUOTE_IPV4)
		return enclose(ctx, notice, QUOTE_IPV4);
	if (notice->version == 6 && room >= before + QUOTE_IPV6)
		return enclose(ctx, notice, QUOTE_IPV6);
	return room < before + QUOTE_LEAST ? -1 : enclose(ctx, notice, QUOTE_LEAST);
}

/*
 * Instead of the packet of `source`, which is local and whose network's VNI is `vni`, its interface gets the news; a
 * packet that may be fragmented is refused as well, for its sender's kernel can do it, and here it would cost a copy.
 */
static __always_inline int tell_too_big(struct frame *frame, __u32 vni, const struct packet *packet,
					const struct endpoint *source, __u32 strip)
{
	struct room *room = room_here();
	struct router router = {};
	struct notice *notice;

	/* Less than what would be quoted fits anywhere: another host errs, or lies. */
	if (frame->length < strip + sizeof(struct ethernet) + QUOTE_LEAST)
		return -REASON_DROP_TOO_BIG;
	if (!room || !may_be_told(packet) || read_router(vni, source->network, &router))
		return -REASON_DROP_TOO_BIG;
	notice = &room->notice;
	notice->router = packet->version == 4 ? address_of_ipv4(router.ipv4) : router.ipv6;
	if (!(packet->version == 4 ? router.ipv4 : notice->router.word[0]) || !allowed(source->counter))
		return -REASON_DROP_TOO_BIG;
	notice->endpoint = source_of(&packet->addresses);
	notice->mac = source->mac;
	notice->mtu = frame->fits;
	notice->strip = strip;
	notice->length = context_length(frame->ctx);
	notice->version = packet->version;
	if (write_notice(frame->ctx, notice))
		return -REASON_DROP_HELPER;
	frame->out = source->ifindex;
	return REASON_ANSWERED_TOO_BIG;
}

/* The same about a packet within a tunnel, whose source may be anybody: only an endpoint of this host is told. */
static __always_inline int tell_source(struct frame *frame, const struct tunnel *tunnel, struct packet *packet)
{
	struct endpoint_key key = {.vni = tunnel->vni, .address = source_of(&packet->addresses)};
	__u32 offset = tunnel->size + sizeof(struct ethernet) + sizeof(struct ipv6hdr);
	struct room *room = room_here();
	struct endpoint *source;

	if (!room)
		return -REASON_DROP_TOO_BIG;
	source = &room->source;
	if (read_endpoint(&key, source) || !(source->flags & ENDPOINT_LOCAL))
		return -REASON_DROP_TOO_BIG;
	if (packet->version == 6 && parse_extensions(frame->ctx, packet, offset, frame->length))
		return -REASON_DROP_TOO_BIG;
	return tell_too_big(frame, tunnel->vni, packet, source, tunnel->size);
}

/*
 * It does not fit the way on from here. The host of its sender, or the one that stands for it, gets it back whole, with
 * what would have fitted in the place of the identity: that host has the endpoint, its router and the allowance.
 */
static __always_inline int report_too_big(struct frame *frame, struct tunnel *tunnel, const struct host *sender)
{
	struct decision back = {
		.host = tunnel->sender,
		.host_slot = sender->slot,
		.stage = tunnel->option->type & OPTION_STAGE,
		.flags = OPTION_TOO_BIG,
	};
	__u32 fits = frame->fits;
	int error = relay(frame, tunnel, &back);

	if (error)
		return error;
	tunnel->body->identity = bpf_htonl(fits);
	return REASON_RETURNED_TOO_BIG;
}

#endif
