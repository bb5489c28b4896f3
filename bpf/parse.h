/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A cursor over a frame's headers: nothing is read that was not checked to be there. */
#ifndef RECONCILER_PARSE_H
#define RECONCILER_PARSE_H

#include "context.h"
#include "row.h"

#define PARSE_EXTENSIONS 6 /* IPv6 extension headers that are walked; RFC 8504, 5.3 lets a node have a limit */
#define PARSE_OPTIONS 4 /* Geneve options likewise */

#define IP_DONT_FRAGMENT 0x4000
#define IP_FRAGMENT_OFFSET 0x1fff
#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */
#define IPPROTO_MOBILITY 135
#define IPPROTO_HIP 139
#define IPPROTO_SHIM6 140

/* RFC 8926, 3.4. */
struct geneve {
	__u8 words; /* version in 2 bits, length of the options in 6 */
	__u8 flags;
	__be16 protocol;
	__be32 vni; /* the last byte is reserved */
};

#define GENEVE_CONTROL 0x80
#define GENEVE_CRITICAL 0x40

/* RFC 8926, 3.5. */
struct geneve_option {
	__be16 class;
	__u8 type;
	__u8 words; /* of the body, 5 bits */
};

#define OPTION_STAGE 7 /* bits of the type */

/* What follows our option: 4 bytes in a direct packet, 8 in a relayed one. */
struct option_body {
	__be32 identity;
	ipv4_t sender; /* underlay address of the sender's host */
};

/* RFC 826 for IPv4 over Ethernet, without holes. */
struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_size;
	__u8 protocol_size;
	__be16 operation;
	mac_t sender_mac;
	__u8 sender[4];
	mac_t target_mac;
	__u8 target[4];
};

struct cursor {
	void *at;
	void *end;
};

/* Source and destination, in as few words as a key (flow.h) and the stack have room for. */
struct addresses {
	__u64 last; /* the last 4 bytes of each: all there is to say of IPv4 */
	__u64 above[3]; /* the first 8 of the source, the next 4 of each, the first 8 of the destination */
};

/* What forwarding needs of an IP packet. Pointers hold until the frame's head or tail moves. */
struct packet {
	void *header;
	__u32 size; /* that it has by its own account, headers and all */
	struct addresses addresses;
	__u8 version;
	__u8 traffic_class;
	__u8 protocol; /* what follows the IP headers */
	bool from_unicast;
	bool to_unicast;
	bool fragment;
	bool later; /* of the fragments not the first: it has no ports, and no ICMP type */
	bool extended; /* by IPv6 extension headers: the cursor stands at the first of them */
	__u32 head; /* the first 4 bytes of what follows, as they lie there; 0 in later fragments */
};

static __always_inline struct cursor cursor_of(const context_t *ctx)
{
	struct cursor cursor = {.at = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return cursor;
}

/* The header under the cursor, which moves past it; NULL if it is cut short. */
static __always_inline void *take(struct cursor *cursor, int size)
{
	void *header = cursor->at;

	if (header + size > cursor->end)
		return NULL;
	cursor->at = header + size;
	return header;
}

static __always_inline address_t address_of_ipv4(__be32 address)
{
	address_t mapped = {.word = {0, 0, bpf_htonl(0xffff), address}};

	return mapped;
}

static __always_inline address_t address_of_ipv6(const struct in6_addr *address)
{
	address_t copy = {.word = {address->in6_u.u6_addr32[0], address->in6_u.u6_addr32[1],
				   address->in6_u.u6_addr32[2], address->in6_u.u6_addr32[3]}};

	return copy;
}

static __always_inline bool address_equal(const address_t *a, const address_t *b)
{
	return !((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) |
		 (a->word[3] ^ b->word[3]));
}

/* ::ffff:a.b.c.d: how maps spell IPv4; on the wire it would take one endpoint's row for another's. */
static __always_inline bool address_is_mapped(const address_t *a)
{
	return !(a->word[0] | a->word[1] | (a->word[2] ^ bpf_htonl(0xffff)));
}

static __always_inline bool address_is_unspecified(const address_t *a)
{
	return !(a->word[0] | a->word[1] | a->word[2] | a->word[3]);
}

static __always_inline bool address_is_link_local(const address_t *a)
{
	return (a->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Neither multicast, broadcast nor nobody's. */
static __always_inline bool ipv4_is_unicast(__be32 a)
{
	return a && a != 0xffffffff && (a & bpf_htonl(0xf0000000)) != bpf_htonl(0xe0000000);
}

static __always_inline bool ipv6_is_unicast(const address_t *a)
{
	return (a->word[0] & bpf_htonl(0xff000000)) != bpf_htonl(0xff000000) && !address_is_unspecified(a);
}

static __always_inline struct addresses addresses_of(const address_t *source, const address_t *destination)
{
	const __be32 *a = source->word, *b = destination->word;

	return (struct addresses){
		.last = a[3] | (__u64)b[3] << 32,
		.above = {a[0] | (__u64)a[1] << 32, a[2] | (__u64)b[2] << 32, b[0] | (__u64)b[1] << 32},
	};
}

static __always_inline address_t source_of(const struct addresses *a)
{
	return (address_t){{a->above[0], a->above[0] >> 32, a->above[1], a->last}};
}

static __always_inline address_t destination_of(const struct addresses *a)
{
	return (address_t){{a->above[2], a->above[2] >> 32, a->above[1] >> 32, a->last >> 32}};
}

static __always_inline bool mac_equal(const mac_t *a, const mac_t *b)
{
	const quarter_t *x = (const quarter_t *)a, *y = (const quarter_t *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]));
}

static __always_inline void mac_copy(mac_t *to, const mac_t *from)
{
	quarter_t *x = (quarter_t *)to;
	const quarter_t *y = (const quarter_t *)from;

	x[0] = y[0];
	x[1] = y[1];
	x[2] = y[2];
}

static __always_inline bool mac_is_zero(const mac_t *a)
{
	const quarter_t *x = (const quarter_t *)a;

	return !(x[0] | x[1] | x[2]);
}

static __always_inline __u32 parse_head(const struct cursor *cursor)
{
	return cursor->at + sizeof(__u32) <= cursor->end ? *(__u32 *)cursor->at : 0;
}

/* Past the IPv4 header and its options. Whether the frame has packet->size bytes from here on is the caller's business. */
static __always_inline int parse_ipv4(struct cursor *cursor, struct packet *packet)
{
	struct iphdr *ip = take(cursor, sizeof(*ip));
	address_t source, destination;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return -REASON_DROP_MALFORMED;
	packet->size = bpf_ntohs(ip->tot_len);
	if (packet->size < ip->ihl * 4 || !take(cursor, ip->ihl * 4 - sizeof(*ip)))
		return -REASON_DROP_MALFORMED;
	packet->header = ip;
	packet->version = 4;
	source = address_of_ipv4(ip->saddr);
	destination = address_of_ipv4(ip->daddr);
	packet->addresses = addresses_of(&source, &destination);
	packet->from_unicast = ipv4_is_unicast(ip->saddr);
	packet->to_unicast = ipv4_is_unicast(ip->daddr);
	packet->traffic_class = ip->tos;
	packet->protocol = ip->protocol;
	packet->fragment = ip->frag_off & bpf_htons(IP_FRAGMENT);
	packet->later = ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET);
	if (!packet->later)
		packet->head = parse_head(cursor);
	return 0;
}

/* Past the fixed IPv6 header; likewise. */
static __always_inline int parse_ipv6(struct cursor *cursor, struct packet *packet)
{
	struct ipv6hdr *ip = take(cursor, sizeof(*ip));
	address_t source, destination;

	if (!ip || ip->version != 6)
		return -REASON_DROP_MALFORMED;
	packet->size = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	packet->header = ip;
	packet->version = 6;
	source = address_of_ipv6(&ip->saddr);
	destination = address_of_ipv6(&ip->daddr);
	if (address_is_mapped(&source) || address_is_mapped(&destination))
		return -REASON_DROP_MALFORMED;
	packet->addresses = addresses_of(&source, &destination);
	packet->from_unicast = ipv6_is_unicast(&source);
	packet->to_unicast = ipv6_is_unicast(&destination);
	packet->traffic_class = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	packet->protocol = ip->nexthdr;
	packet->head = parse_head(cursor);
	return 0;
}

/* Bytes of the extension header under the cursor, whose second byte is `length`; 0: it is none (RFC 8200, 4.1). */
static __always_inline __u32 extension_size(__u8 protocol, __u8 length)
{
	switch (protocol) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MOBILITY:
	case IPPROTO_HIP:
	case IPPROTO_SHIM6:
		return (length + 1) * 8;
	case IPPROTO_FRAGMENT:
		return 8;
	case IPPROTO_AH:
		return (length + 2) * 4;
	default:
		return 0;
	}
}

/*
 * Walk the extension headers, from `offset` in the frame to `end` at most. They are loaded, not pointed at: so the
 * verifier forgets after each header what it was, instead of following every order of them.
 */
static __always_inline int parse_extensions(context_t *ctx, struct packet *packet, __u32 offset, __u32 end)
{
	__u8 header[8];
	__u32 head;

	for (int i = 0; i < PARSE_EXTENSIONS && extension_size(packet->protocol, 0); i++) {
		if (context_load(ctx, offset, header, sizeof(header)))
			return -REASON_DROP_MALFORMED;
		offset += extension_size(packet->protocol, header[1]);
		if (offset > end)
			return -REASON_DROP_MALFORMED;
		packet->extended = true;
		if (packet->protocol == IPPROTO_FRAGMENT) {
			packet->fragment = true;
			if (header[2] || header[3] & 0xf8) { /* what follows is payload */
				packet->protocol = header[0];
				packet->later = true;
				packet->head = 0;
				return 0;
			}
		}
		packet->protocol = header[0];
	}
	if (extension_size(packet->protocol, 0))
		return -REASON_DROP_MALFORMED;
	if (packet->extended)
		packet->head = context_load(ctx, offset, &head, sizeof(head)) ? 0 : head;
	return 0;
}

/* A frame between hosts. Pointers hold until the frame's head moves. */
struct tunnel {
	struct ethernet *ethernet;
	struct iphdr *ip;
	struct udphdr *udp;
	struct geneve *geneve;
	struct geneve_option *option;
	struct option_body *body;
	__u32 size; /* of all these headers */
	__u32 room; /* bytes of the inner frame, by UDP's length */
	__u32 vni;
	ipv4_t sender; /* the sender's host */
	bool relayed; /* the option's body says so */
};

/*
 * Whether this is for this host's tunnel port: if not, the frame is none of our business. Most frames of most hosts are
 * not, so that is found out in one look; `tunnel->ip` is there if it is IPv4, of the length that any frame of ours has.
 */
static __always_inline bool parse_outer(struct cursor *cursor, struct tunnel *tunnel, ipv4_t self)
{
	struct ethernet *ethernet = cursor->at;
	struct iphdr *ip = (void *)(ethernet + 1);
	void *options = ip + 1;

	tunnel->ip = NULL;
	if (options + sizeof(struct udphdr) + sizeof(struct geneve) > cursor->end ||
	    ethernet->protocol != bpf_htons(ETH_P_IP))
		return false;
	tunnel->ethernet = ethernet;
	tunnel->ip = ip;
	if (ip->protocol != IPPROTO_UDP || ip->daddr != self || ip->version != 4 || ip->ihl < 5 ||
	    ip->frag_off & bpf_htons(IP_FRAGMENT))
		return false;
	tunnel->udp = options + ip->ihl * 4 - sizeof(*ip);
	tunnel->geneve = (void *)(tunnel->udp + 1);
	cursor->at = tunnel->geneve + 1;
	return cursor->at <= cursor->end && tunnel->udp->dest == bpf_htons(WIRE_PORT) &&
	       tunnel->geneve->words >> 6 == 0;
}

/* Find our option, if there is one; false: nothing to be read by us. The cursor moves to the inner frame. */
static __always_inline bool parse_option(struct cursor *cursor, struct tunnel *tunnel)
{
	__u32 left = (tunnel->geneve->words & 0x3f) * 4;

	tunnel->option = NULL;
	tunnel->vni = bpf_ntohl(tunnel->geneve->vni) >> 8;
	tunnel->size = sizeof(struct ethernet) + tunnel->ip->ihl * 4 + sizeof(struct udphdr) + sizeof(struct geneve) +
		       left;
#pragma unroll
	for (int i = 0; i < PARSE_OPTIONS; i++) {
		struct geneve_option *option;
		__u32 body;

		if (left < sizeof(*option))
			break;
		option = take(cursor, sizeof(*option));
		if (!option)
			return false;
		body = (option->words & 0x1f) * 4;
		if (body > left - sizeof(*option) || !take(cursor, body))
			return false;
		left -= sizeof(*option) + body;
		if (option->class == bpf_htons(WIRE_OPTION_CLASS))
			tunnel->option = option;
		else if (option->type & OPTION_CRITICAL)
			return false;
	}
	return !left;
}

/* Whether lengths agree with one another. `room` is the length of the frame. */
static __always_inline int check_lengths(struct tunnel *tunnel, __u32 room)
{
	__u32 header = tunnel->ip->ihl * 4;
	__u32 length = bpf_ntohs(tunnel->ip->tot_len);

	if (length + sizeof(struct ethernet) > room || length + sizeof(struct ethernet) < tunnel->size)
		return -REASON_DROP_MALFORMED;
	if (bpf_ntohs(tunnel->udp->len) != length - header)
		return -REASON_DROP_MALFORMED;
	tunnel->room = length + sizeof(struct ethernet) - tunnel->size;
	return 0;
}

/* Where the outer packet ends in the frame, by its own account. */
static __always_inline __u32 tunnel_end(const struct tunnel *tunnel)
{
	return sizeof(struct ethernet) + bpf_ntohs(tunnel->ip->tot_len);
}

/* The same for the headers of a frame of ours. */
static __always_inline int check_tunnel(const struct cursor *cursor, struct tunnel *tunnel, __u32 room)
{
	__u32 words = tunnel->option->words & 0x1f;
	__u32 stage = tunnel->option->type & OPTION_STAGE;
	int error = check_lengths(tunnel, room);

	if (error)
		return error;
	if (tunnel->geneve->protocol != bpf_htons(ETH_P_TEB) || tunnel->geneve->flags != GENEVE_CRITICAL)
		return -REASON_DROP_MALFORMED;
	if (stage < STAGE_BOUNCER || stage > STAGE_HOST || !(tunnel->option->type & OPTION_CRITICAL))
		return -REASON_DROP_MALFORMED;
	if (words != 2 && (words != 1 || stage != STAGE_HOST))
		return -REASON_DROP_MALFORMED;
	/* An inner frame follows, so that this much is there whether the body has 4 bytes or 8. */
	tunnel->body = (void *)(tunnel->option + 1);
	if ((void *)(tunnel->body + 1) > cursor->end)
		return -REASON_DROP_MALFORMED;
	tunnel->relayed = words == 2;
	tunnel->sender = tunnel->relayed ? tunnel->body->sender : tunnel->ip->saddr;
	return 0;
}

#endif
