/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Path MTU discovery: an endpoint hears from its virtual router what would have fitted (RFC 1191, RFC 8201). */
#ifndef RECONCILER_TOOBIG_H
#define RECONCILER_TOOBIG_H

#include "encap.h"

#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMPV6_PACKET_TOO_BIG 2
#define ICMPV6_INFORMATION 128 /* types from here on are no errors: RFC 4443, 2.1 */
/* The ICMP types that are no errors, as bits: echo and its reply, 13 to 18 (RFC 1122, 3.2.2). */
#define ICMP_QUERIES (1 << 0 | 1 << 8 | 0x3f << 13)

/* How much of the packet is quoted: until the answer has 576 bytes (RFC 1812, 4.3.2.3), or 1280 (RFC 4443, 2.4 c). */
#define QUOTE_IPV4 (576 - 28)
#define QUOTE_IPV6 (1280 - 48)

/* RFC 1812, 4.3.2.8 and RFC 4443, 2.4 f, for each endpoint and CPU: 50 at once, then one in 10 ms. */
#define ERROR_COST 10 /* milliseconds, nearly */
#define ERROR_BURST (50 * ERROR_COST)

/* The first eight bytes of either: RFC 1191, 4, whose MTU has its upper half zero, and RFC 4443, 3.2. */
struct too_big {
	__u8 type;
	__u8 code;
	__u16 check;
	__be32 mtu;
};

/* What is said to whom. */
struct notice {
	address_t router;
	address_t endpoint;
	mac_t mac; /* the endpoint's */
	__u16 mtu;
	__u32 strip; /* bytes of outer headers in front of the frame */
	__u32 length; /* of the frame, with them */
	__u32 version;
};

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

/* The sum of `words` 32-bit words, which may end where the frame does; -1 if they do not lie there. */
static __always_inline __s64 sum_quote(const sum_word_t *word, const void *end, __u32 words)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < QUOTE_IPV6 / 4; i++) {
		const sum_word_t *next = word + 1;

		if (i >= words)
			break;
		asm volatile("" : "+r"(next)); /* or clang calculates with the end, which the verifier forbids */
		if ((const void *)next > end)
			return -1;
		sum += *word;
		word = next;
	}
	return sum;
}

/* Internet control, as RFC 1812, 4.3.2.5 wants it; atomic. */
static __always_inline int write_ipv4_notice(struct cursor cursor, const struct notice *notice, __u32 quote)
{
	struct iphdr *ip = take(&cursor, sizeof(*ip));
	struct too_big *icmp = take(&cursor, sizeof(*icmp));
	__s64 sum = sum_quote(cursor.at, cursor.end, quote / 4);

	if (!ip || !icmp || sum < 0)
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
	icmp->check = ~checksum_fold(checksum_words(icmp, 2, sum));
	return 0;
}

static __always_inline int write_ipv6_notice(struct cursor cursor, const struct notice *notice, __u32 quote)
{
	struct ipv6hdr *ip = take(&cursor, sizeof(*ip));
	struct too_big *icmp = take(&cursor, sizeof(*icmp));
	__s64 sum = sum_quote(cursor.at, cursor.end, quote / 4);

	if (!ip || !icmp || sum < 0)
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
	sum += bpf_htonl(sizeof(*icmp) + quote) + (__u64)bpf_htonl(IPPROTO_ICMPV6);
	sum = checksum_words(&ip->saddr, 8, sum);
	icmp->check = ~checksum_fold(checksum_words(icmp, 2, sum));
	return 0;
}

/*
 * Make of a frame what the virtual router says about it. Not inlined: the verifier looks at it once, apart from the
 * many ways that lead here. 0, or -1: the frame is spoilt.
 */
__attribute__((noinline)) int write_notice(struct xdp_md *ctx, const struct notice *notice)
{
	struct cursor cursor = cursor_of(ctx);
	__u32 room = cursor.end - cursor.at; /* of the first buffer: what may lie in others is not quoted */
	mac_t router = router_mac();
	struct ethernet *ethernet;
	__u32 inner, quote, size;

	if (!notice)
		return -1;
	inner = notice->strip + sizeof(*ethernet);
	size = sizeof(struct too_big) + (notice->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	quote = notice->version == 4 ? QUOTE_IPV4 : QUOTE_IPV6;
	if (room < inner || room > notice->length)
		return -1;
	if (quote > room - inner)
		quote = (room - inner) & ~3;
	if (bpf_xdp_adjust_tail(ctx, -(int)(notice->length - inner - quote)))
		return -1;
	if (bpf_xdp_adjust_head(ctx, (int)notice->strip - (int)size))
		return -1;
	cursor = cursor_of(ctx);
	ethernet = take(&cursor, sizeof(*ethernet));
	if (!ethernet)
		return -1;
	mac_copy(&ethernet->destination, &notice->mac);
	mac_copy(&ethernet->source, &router);
	if (notice->version == 4) {
		ethernet->protocol = bpf_htons(ETH_P_IP);
		return write_ipv4_notice(cursor, notice, quote);
	}
	ethernet->protocol = bpf_htons(ETH_P_IPV6);
	return write_ipv6_notice(cursor, notice, quote);
}

/*
 * Instead of the packet of `source`, which is local and whose network's VNI is `vni`, its interface gets the news; a
 * packet that may be fragmented is refused as well, for its sender's kernel can do it, and here it would cost a copy.
 */
static __always_inline int tell_too_big(struct frame *frame, __u32 vni, const struct packet *packet,
					const struct endpoint *source, __u32 strip)
{
	struct notice notice = {
		.endpoint = packet->source,
		.mac = source->mac,
		.mtu = frame->fits,
		.strip = strip,
		.length = frame->length,
		.version = packet->version,
	};
	struct router router = {};

	if (!may_be_told(packet) || read_router(vni, source->network, &router))
		return -REASON_DROP_TOO_BIG;
	notice.router = packet->version == 4 ? address_of_ipv4(router.ipv4) : router.ipv6;
	if (!(packet->version == 4 ? router.ipv4 : notice.router.word[0]) || !allowed(source->counter))
		return -REASON_DROP_TOO_BIG;
	if (write_notice(frame->ctx, &notice))
		return -REASON_DROP_HELPER;
	frame->out = source->ifindex;
	return REASON_ANSWERED_TOO_BIG;
}

#endif
