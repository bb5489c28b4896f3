// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* At the other end of a cable: every host of the underlay at once, whose answers to probes may be lost. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define OPTION_TYPE (14 + 20 + 8 + 8 + 2)
#define ALIVE 0x86

const volatile __u32 lost; /* per cent */

SEC("xdp")
int alive(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = (void *)data;
	struct iphdr *ip = (void *)(ethernet + 1);
	__u8 mac[ETH_ALEN];
	__u32 address;

	if (data + 58 > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	if (bpf_get_prandom_u32() % 100 < lost)
		return XDP_DROP;
	__builtin_memcpy(mac, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, mac, ETH_ALEN);
	address = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = address;
	data[OPTION_TYPE] = ALIVE;
	return bpf_redirect(ctx->ingress_ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
