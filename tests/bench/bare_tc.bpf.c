// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* As bare.bpf.c, for tc: a fixed header on and off, where large segments stay whole. TARGET is an interface's index. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETHERNET 14
#define HEADER 50 /* IPv4, UDP, Geneve, and the inner Ethernet header */
#define FLAGS                                                                                                          \
	(BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |                       \
	 BPF_F_ADJ_ROOM_ENCAP_L2(ETHERNET) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH)

struct outer {
	__u8 ethernet[ETHERNET];
	__be16 version, length, id, fragment, ttl, check;
	__be32 source, destination;
	__be16 sport, dport, size, none;
	__u8 geneve[8];
	__u8 inner[ETHERNET];
} __attribute__((packed));

SEC("tc")
int push(struct __sk_buff *skb)
{
	struct outer outer = {
		.version = bpf_htons(0x4500),
		.fragment = bpf_htons(0x4000),
		.ttl = bpf_htons(0x4011),
		.source = bpf_htonl(0xac1f0001),
		.destination = bpf_htonl(0xac1f0002),
		.sport = bpf_htons(50000),
		.dport = bpf_htons(6081),
	};
	__u32 length = skb->len;

	if (bpf_skb_load_bytes(skb, 0, outer.inner, ETHERNET))
		return TC_ACT_SHOT;
	__builtin_memcpy(outer.ethernet, outer.inner, ETHERNET);
	if (bpf_skb_adjust_room(skb, HEADER, BPF_ADJ_ROOM_MAC, FLAGS))
		return TC_ACT_SHOT;
	outer.length = bpf_htons(length + HEADER - ETHERNET);
	outer.size = bpf_htons(length + 16);
	bpf_skb_store_bytes(skb, 0, &outer, sizeof(outer), 0);
	return bpf_redirect(TARGET, 0);
}

SEC("tc/pop")
int pop(struct __sk_buff *skb)
{
	__u8 inner[ETHERNET];

	if (bpf_skb_load_bytes(skb, HEADER, inner, ETHERNET) ||
	    bpf_skb_adjust_room(skb, -HEADER, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return TC_ACT_SHOT;
	bpf_skb_store_bytes(skb, 0, inner, ETHERNET, 0);
	return bpf_redirect(TARGET, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
