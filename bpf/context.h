/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What XDP and tc do in different ways, so that all else is the same for both; -DTC compiles the programs for tc. */
#ifndef RECONCILER_CONTEXT_H
#define RECONCILER_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

typedef __u16 __attribute__((may_alias)) quarter_t;
typedef __u32 __attribute__((may_alias)) half_t;
typedef __u64 __attribute__((may_alias)) word_t;

/* <linux/if_ether.h> calls its own packed, so that every access would be by bytes. */
struct ethernet {
	mac_t destination;
	mac_t source;
	__be16 protocol;
} __attribute__((aligned(2)));

_Static_assert(sizeof(struct ethernet) == ETH_HLEN, "ethernet");

#ifndef TC

#define SECTION SEC("xdp.frags")
#define NAMED(program) program
#define ROOMY __always_inline /* a function that tc, whose frames on the stack are larger, does not inline */
#define VERDICT_PASS XDP_PASS
#define VERDICT_DROP XDP_DROP
#define VERDICT_REFUSED XDP_ABORTED /* what bpf_redirect says if it does not */

typedef struct xdp_md context_t;

/* How much there is of a frame whose headers are to be read: all of it, or what can be read in place. */
static __always_inline __u32 context_open(context_t *ctx)
{
	return ctx->data_end - ctx->data;
}

static __always_inline __u32 context_length(context_t *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* Whether it will be cut into several packets. */
static __always_inline bool context_is_large(const context_t *ctx)
{
	return false;
}

/* Whether there is a VLAN tag that the frame does not show. */
static __always_inline bool context_is_tagged(const context_t *ctx)
{
	return false;
}

static __always_inline long context_load(context_t *ctx, __u32 offset, void *to, __u32 size)
{
	return bpf_xdp_load_bytes(ctx, offset, to, size);
}

/* Change the frame's length at its end. */
static __always_inline long context_resize(context_t *ctx, int from, int to)
{
	return bpf_xdp_adjust_tail(ctx, to - from);
}

/* Change the length of the headers in front, of which all are to be written. */
static __always_inline long context_reshape(context_t *ctx, int from, int to)
{
	return bpf_xdp_adjust_head(ctx, from - to);
}

/* Outer headers of `size` bytes instead of `strip`, to be written in front of the inner frame, which stays. */
static __always_inline long context_wrap(context_t *ctx, int strip, int size)
{
	return bpf_xdp_adjust_head(ctx, strip - size);
}

/* Take `strip` bytes of outer headers off. */
static __always_inline long context_unwrap(context_t *ctx, int strip)
{
	return bpf_xdp_adjust_head(ctx, strip);
}

/* Where the inner frame's MACs are to be written before that. */
static __always_inline struct ethernet *context_inner(context_t *ctx, struct ethernet *ethernet, __u32 strip)
{
	return ethernet;
}

/* Two bytes of a packet were changed. */
static __always_inline void context_changed(context_t *ctx, __u16 from, __u16 to)
{
}

/* Whether the IP packet behind `offset` bytes, too big as a whole, will be cut into packets of at most `mtu` bytes. */
static __always_inline bool context_is_cut(context_t *ctx, __u32 offset, __u32 mtu)
{
	return false;
}

/* The same of a frame between hosts, with all that is around the inner packet. */
static __always_inline bool context_tunnel_is_cut(context_t *ctx, __u32 mtu)
{
	return false;
}

/* Whether an IP packet is too big for an interface; `length` becomes the latter's MTU. */
static __always_inline bool context_exceeds(context_t *ctx, __u32 ifindex, __u32 *length)
{
	return bpf_check_mtu(ctx, ifindex, length, 0, 0) == BPF_MTU_CHK_RET_FRAG_NEEDED;
}

#else

#define SECTION SEC("tc")
#define NAMED(program) program##_tc
#define ROOMY __attribute__((noinline, unused))
#define VERDICT_PASS TC_ACT_UNSPEC /* on to whoever else has a program there */
#define VERDICT_DROP TC_ACT_SHOT
#define VERDICT_REFUSED TC_ACT_STOLEN /* never said */
#define HEADERS 448 /* the most that is read in place: two IPv4 headers and Geneve's, with all their options */

typedef struct __sk_buff context_t;

static __always_inline __u32 context_open(context_t *ctx)
{
	__u32 length = ctx->len, present = ctx->data_end - ctx->data;

	if (present < HEADERS && present < length)
		bpf_skb_pull_data(ctx, length < HEADERS ? length : HEADERS);
	return length;
}

static __always_inline __u32 context_length(context_t *ctx)
{
	return ctx->len;
}

static __always_inline bool context_is_large(const context_t *ctx)
{
	return ctx->gso_size;
}

static __always_inline bool context_is_tagged(const context_t *ctx)
{
	return ctx->vlan_present;
}

static __always_inline long context_load(context_t *ctx, __u32 offset, void *to, __u32 size)
{
	return bpf_skb_load_bytes(ctx, offset, to, size);
}

static __always_inline long context_resize(context_t *ctx, int from, int to)
{
	return bpf_skb_change_tail(ctx, to, 0);
}

/* Room is made and taken behind the Ethernet header, which stays what it is in front. */
static __always_inline long context_reshape(context_t *ctx, int from, int to)
{
	return from == to ? 0 : bpf_skb_adjust_room(ctx, to - from, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

static __always_inline long context_wrap(context_t *ctx, int strip, int size)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
			    BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	quarter_t *from, *to;

	if (strip) /* the kernel knows of the inner frame already, if it has to */
		return context_reshape(ctx, strip, size);
	/* It will cut segments and write checksums of the inner frame, unless that is a tunnel's and has its own. */
	if (bpf_skb_adjust_room(ctx, size, BPF_ADJ_ROOM_MAC, flags) && (ctx->gso_size || context_reshape(ctx, 0, size)))
		return -1;
	from = (void *)(long)ctx->data;
	to = (void *)from + (size & 127);
	if ((void *)from + ETH_HLEN > (void *)(long)ctx->data_end ||
	    (void *)to + ETH_HLEN > (void *)(long)ctx->data_end)
		return -1;
#pragma unroll
	for (int i = 0; i < ETH_HLEN / 2; i++)
		to[i] = from[i];
	return 0;
}

static __always_inline long context_unwrap(context_t *ctx, int strip)
{
	return context_reshape(ctx, strip, 0);
}

/* The outer Ethernet header is what stays; what a card summed up does not include it. */
static __always_inline struct ethernet *context_inner(context_t *ctx, struct ethernet *ethernet, __u32 strip)
{
	struct ethernet *outer = (void *)(long)ctx->data;

	if (!strip || (void *)(outer + 1) > (void *)(long)ctx->data_end)
		return ethernet;
	outer->protocol = ethernet->protocol;
	return outer;
}

/* A card may have summed up the whole of it. */
static __always_inline void context_changed(context_t *ctx, __u16 from, __u16 to)
{
	bpf_csum_update(ctx, (__u16)~from + to);
}

static ROOMY bool context_is_cut(context_t *ctx, __u32 offset, __u32 mtu)
{
	__u32 header = sizeof(struct ipv6hdr), size = ctx->gso_size, protocol = offsetof(struct ipv6hdr, nexthdr);
	__u8 byte;

	/* Outer headers say how long the whole is. */
	if (!size || ctx->len > 0xffff - WIRE_OVERHEAD || bpf_skb_load_bytes(ctx, offset, &byte, 1))
		return false;
	if (byte >> 4 == 4) {
		header = (byte & 15) * 4;
		protocol = offsetof(struct iphdr, protocol);
	}
	if (bpf_skb_load_bytes(ctx, offset + protocol, &byte, 1))
		return false;
	if (byte == IPPROTO_UDP)
		return header + sizeof(struct udphdr) + size <= mtu;
	if (byte != IPPROTO_TCP || bpf_skb_load_bytes(ctx, offset + header + 12, &byte, 1))
		return false;
	return header + (byte >> 4) * 4 + size <= mtu;
}

/* Where the inner IP packet is in a frame between hosts. */
static __always_inline __u32 context_tunnel(context_t *ctx)
{
	__u32 offset = ETH_HLEN;
	__u8 byte = 0;

	bpf_skb_load_bytes(ctx, offset, &byte, 1);
	offset += (byte & 15) * 4 + sizeof(struct udphdr);
	bpf_skb_load_bytes(ctx, offset, &byte, 1);
	return offset + 8 + (byte & 63) * 4 + ETH_HLEN;
}

static ROOMY bool context_tunnel_is_cut(context_t *ctx, __u32 mtu)
{
	__u32 offset = context_tunnel(ctx);

	return context_is_cut(ctx, offset, mtu - (offset - ETH_HLEN));
}

static __always_inline bool context_exceeds(context_t *ctx, __u32 ifindex, __u32 *length)
{
	if (ctx->gso_size)
		*length = 0; /* ask about what it is cut into */
	return bpf_check_mtu(ctx, ifindex, length, 0, ctx->gso_size ? BPF_MTU_CHK_SEGS : 0) > 0;
}

#endif

#endif
