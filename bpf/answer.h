/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The virtual router's own words: ARP, neighbour discovery and echo, answered on the interface they came from. */
#ifndef RECONCILER_ANSWER_H
#define RECONCILER_ANSWER_H

#include "encap.h"

/* Not from <linux/icmp.h> and <linux/if_arp.h>: those want the C library's headers for another machine. */
#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2
#define ICMP_ECHO_REQUEST 8
#define ICMP_ECHO_REPLY 0
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ND_ROUTER_SOLICITATION 133
#define ND_NEIGHBOUR_SOLICITATION 135
#define ND_NEIGHBOUR_ADVERTISEMENT 136
#define ND_REDIRECT 137
#define ND_OPTION_SOURCE 1
#define ND_OPTION_TARGET 2
#define ND_HOP_LIMIT 255

/* RFC 792 and RFC 4443: both have the same first eight bytes. */
struct echo {
	__u8 type;
	__u8 code;
	__u16 check;
	__be32 number;
};

/* RFC 4861, 4.3 and 4.4. */
struct neighbour {
	__u8 type;
	__u8 code;
	__u16 check;
	__be32 flags;
	struct in6_addr target;
};

/* The one option of neighbour discovery that matters here, for Ethernet. */
struct neighbour_option {
	__u8 type;
	__u8 words;
	mac_t mac;
};

/* The endpoint that a frame comes from, as far as the interface tells. */
struct origin {
	__u32 ifindex;
	__u32 vni;
	mac_t mac; /* the frame's source */
};

/*
 * 0 if `address` and the frame's source MAC belong to the interface's endpoint, whose row is `source` then.
 * Every answer below goes back to the interface of the question, so nobody else can be deceived by it. Global, so that
 * the verifier looks at it once.
 */
__noinline int check_own(const struct origin *origin, const address_t *address)
{
	struct room *room = room_here();
	struct endpoint_key key;
	struct endpoint *row;
	int error;

	if (!origin || !address || !room)
		return -REASON_DROP_HELPER;
	row = &room->source;
	key.vni = origin->vni;
	key.address = *address;
	error = read_endpoint(&key, row);
	if (error == -REASON_DROP_TORN)
		return error;
	if (error || !(row->flags & ENDPOINT_LOCAL) || row->ifindex != origin->ifindex)
		return -REASON_DROP_SPOOFED_ADDRESS;
	if (!mac_equal(&origin->mac, &row->mac))
		return -REASON_DROP_SPOOFED_MAC;
	return 0;
}

static __always_inline void answer_ethernet(struct ethernet *ethernet)
{
	mac_t router = router_mac();

	mac_copy(&ethernet->destination, &ethernet->source);
	mac_copy(&ethernet->source, &router);
}

static __always_inline __be32 arp_address(const __u8 *at)
{
	return *(const __u16 *)at | (__u32) * (const __u16 *)(at + 2) << 16;
}

/* RFC 826: the router has every address but the endpoint's own. Probes and announcements (RFC 5227) get no answer. */
static __always_inline int answer_arp(const struct origin *origin, struct ethernet *ethernet, struct cursor *cursor)
{
	mac_t router = router_mac();
	struct arp *arp = take(cursor, sizeof(*arp));
	address_t sender, target;
	int error;

	if (!arp || arp->hardware != bpf_htons(ARP_ETHERNET) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_size != ETH_ALEN || arp->protocol_size != sizeof(__be32))
		return -REASON_DROP_MALFORMED;
	if (!mac_equal(&arp->sender_mac, &ethernet->source))
		return -REASON_DROP_SPOOFED_MAC;
	sender = address_of_ipv4(arp_address(arp->sender));
	target = address_of_ipv4(arp_address(arp->target));
	if (sender.word[3]) {
		error = check_own(origin, &sender);
		if (error)
			return error;
	}
	if (arp->operation != bpf_htons(ARP_REQUEST) || address_equal(&sender, &target))
		return REASON_UNANSWERED;
	error = check_own(origin, &target);
	if (error != -REASON_DROP_SPOOFED_ADDRESS)
		return error ? error : REASON_UNANSWERED;

	arp->operation = bpf_htons(ARP_REPLY);
	answer_ethernet(ethernet);
	mac_copy(&arp->target_mac, &arp->sender_mac);
	mac_copy(&arp->sender_mac, &router);
	__builtin_memcpy(arp->target, &sender.word[3], sizeof(__be32));
	__builtin_memcpy(arp->sender, &target.word[3], sizeof(__be32));
	return REASON_ANSWERED;
}

/* Whether an ICMPv6 packet is neighbour or router discovery: answered here or nowhere, whatever address it is for. */
static __always_inline bool is_discovery(const struct packet *packet)
{
	__u8 type = bpf_ntohl(packet->head) >> 24;

	return packet->version == 6 && packet->protocol == IPPROTO_ICMPV6 && type >= ND_ROUTER_SOLICITATION &&
	       type <= ND_REDIRECT;
}

/* Who asked for whom, kept while the frame's tail moves. */
struct solicitation {
	mac_t asker;
	address_t source;
	address_t target;
};

/* The answer: RFC 4861, 4.4 and 7.2.4. */
struct advertisement {
	struct neighbour neighbour;
	struct neighbour_option option;
};

/* `probe`: the one that asks has no address yet, so it was not solicited by anybody. */
static __always_inline void write_advertisement(struct advertisement *at, const struct ipv6hdr *ip, bool probe)
{
	__u64 sum;

	at->neighbour.type = ND_NEIGHBOUR_ADVERTISEMENT;
	at->neighbour.code = 0;
	at->neighbour.check = 0;
	at->neighbour.flags = bpf_htonl(probe ? 0xa0000000 : 0xe0000000); /* router, solicited, override */
	at->neighbour.target = ip->saddr;
	at->option.type = ND_OPTION_TARGET;
	at->option.words = 1;
	at->option.mac = router_mac();
	/* RFC 8200, 8.1: addresses, length and next header, then the message. */
	sum = checksum_words(&ip->saddr, 8, bpf_htonl(sizeof(*at)) + bpf_htonl(IPPROTO_ICMPV6));
	at->neighbour.check = ~checksum_fold(checksum_words(at, sizeof(*at) / 4, sum));
}

/* Written over the question, from the target to the one that asked, or to all nodes. */
static __always_inline int advertise(struct frame *frame, const struct solicitation *question)
{
	bool probe = address_is_unspecified(&question->source);
	address_t asker = question->source;
	mac_t router = router_mac();
	struct ethernet *ethernet;
	struct ipv6hdr *ip;
	int length;
	const int size = sizeof(*ethernet) + sizeof(*ip) + sizeof(struct advertisement);
	struct cursor cursor;

	length = context_length(frame->ctx);
	if (length != size && context_resize(frame->ctx, length, size))
		return -REASON_DROP_HELPER;
	cursor = cursor_of(frame->ctx);
	ethernet = take(&cursor, size);
	if (!ethernet)
		return -REASON_DROP_HELPER;
	ip = (void *)(ethernet + 1);
	mac_copy(&ethernet->destination, &question->asker);
	mac_copy(&ethernet->source, &router);
	if (probe) { /* to all nodes: the unspecified address, less its zeros */
		ethernet->destination = (mac_t){{0x33, 0x33, 0, 0, 0, 1}};
		asker.word[0] = bpf_htonl(0xff020000);
		asker.word[3] = bpf_htonl(1);
	}
	ethernet->protocol = bpf_htons(ETH_P_IPV6);
	*(__be32 *)ip = bpf_htonl(6 << 28);
	ip->payload_len = bpf_htons(sizeof(struct advertisement));
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = ND_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, &question->target, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &asker, sizeof(ip->daddr));
	write_advertisement((void *)(ip + 1), ip, probe);
	return REASON_ANSWERED;
}

/* What the endpoint says of itself must be true: source address, link-layer address, advertised target. */
static __always_inline int check_neighbour(const struct origin *origin, const struct packet *packet,
					   const struct neighbour *neighbour, struct cursor *cursor)
{
	bool advertisement = neighbour->type == ND_NEIGHBOUR_ADVERTISEMENT;
	address_t target = address_of_ipv6(&neighbour->target), source = source_of(&packet->addresses);
	int error;

	if (advertisement && !address_is_link_local(&target)) {
		error = check_own(origin, &target);
		if (error)
			return error;
	}
	if (!address_is_unspecified(&source) && !address_is_link_local(&source)) {
		error = check_own(origin, &source);
		if (error)
			return error;
	}
#pragma unroll
	for (int i = 0; i < PARSE_OPTIONS; i++) {
		struct neighbour_option *option = cursor->at;

		if ((void *)(option + 1) > cursor->end)
			return 0;
		if (!option->words || !take(cursor, option->words * 8))
			return -REASON_DROP_MALFORMED;
		if (option->type != ND_OPTION_SOURCE && option->type != ND_OPTION_TARGET)
			continue;
		if (address_is_unspecified(&source))
			return -REASON_DROP_MALFORMED; /* RFC 4861, 7.1.1 */
		if (!mac_equal(&option->mac, &origin->mac))
			return -REASON_DROP_SPOOFED_MAC;
	}
	return 0;
}

/*
 * RFC 4861: the router has every address but the endpoint's own. Probes for that (RFC 4862, 5.4), link-local targets,
 * advertisements, and router discovery get no answer, and none of them ever leaves the host.
 */
static __always_inline int answer_neighbour(struct frame *frame, const struct origin *origin,
					    const struct packet *packet, struct cursor *cursor)
{
	const struct ipv6hdr *ip = packet->header;
	struct neighbour *neighbour = take(cursor, sizeof(*neighbour));
	__u8 type = bpf_ntohl(packet->head) >> 24;
	struct solicitation question;
	int error;

	if (type != ND_NEIGHBOUR_SOLICITATION && type != ND_NEIGHBOUR_ADVERTISEMENT)
		return -REASON_DROP_MULTICAST;
	if (packet->extended || !neighbour || ip->hop_limit != ND_HOP_LIMIT || neighbour->code)
		return -REASON_DROP_MALFORMED;
	error = check_neighbour(origin, packet, neighbour, cursor);
	if (error)
		return error;
	question.target = address_of_ipv6(&neighbour->target);
	if (type == ND_NEIGHBOUR_ADVERTISEMENT || address_is_link_local(&question.target))
		return REASON_UNANSWERED;
	if (!ipv6_is_unicast(&question.target) || address_is_mapped(&question.target))
		return -REASON_DROP_MALFORMED;
	error = check_own(origin, &question.target);
	if (error != -REASON_DROP_SPOOFED_ADDRESS)
		return error ? error : REASON_UNANSWERED;
	mac_copy(&question.asker, &origin->mac);
	question.source = source_of(&packet->addresses);
	return advertise(frame, &question);
}

/* The sum of a swapped pair of addresses is what it was: only the type tells. */
static __always_inline void write_echo(struct echo *echo, __u8 type)
{
	checksum_replace(&echo->check, bpf_htons(echo->type << 8), bpf_htons(type << 8));
	echo->type = type;
}

/* The gateway's address answers echo requests, and nothing else. */
static __always_inline int answer_echo(struct ethernet *ethernet, const struct packet *packet, struct cursor *cursor)
{
	address_t source = source_of(&packet->addresses), destination = destination_of(&packet->addresses);
	struct echo *echo = take(cursor, sizeof(*echo));
	struct ipv6hdr *ipv6 = packet->header;
	struct iphdr *ip = packet->header;

	if (packet->extended || packet->fragment || !echo || echo->code)
		return -REASON_DROP_NO_ENDPOINT;
	if (packet->version == 4) {
		if (packet->protocol != IPPROTO_ICMP || echo->type != ICMP_ECHO_REQUEST)
			return -REASON_DROP_NO_ENDPOINT;
		write_echo(echo, ICMP_ECHO_REPLY);
		ip->saddr = destination.word[3];
		ip->daddr = source.word[3];
	} else {
		if (packet->protocol != IPPROTO_ICMPV6 || echo->type != ICMPV6_ECHO_REQUEST)
			return -REASON_DROP_NO_ENDPOINT;
		if ((void *)(ipv6 + 1) > cursor->end) /* for the verifier, which sees no link to the version */
			return -REASON_DROP_MALFORMED;
		write_echo(echo, ICMPV6_ECHO_REPLY);
		__builtin_memcpy(&ipv6->saddr, &destination, sizeof(ipv6->saddr));
		__builtin_memcpy(&ipv6->daddr, &source, sizeof(ipv6->daddr));
	}
	answer_ethernet(ethernet);
	return REASON_ANSWERED;
}

#endif
