// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The least that programs between two hosts could do: a fixed header on, a fixed header off, nothing looked at. What
 * forwards by tables is measured against it, and live frames against `forward`.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define HEADER 50 /* Ethernet, IPv4, UDP, Geneve without options */

struct header {
	__u64 word[6];
	__u16 rest;
} __attribute__((packed));

const volatile struct {
	__u32 target; /* the interface that frames leave by */
	__u32 mac[3]; /* of the original frames, destination first */
	__u64 word[6];
	__u64 rest;
} settings = {};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} ended SEC(".maps");

SEC("xdp.frags")
int push(struct xdp_md *ctx)
{
	struct header *header;

	if (bpf_xdp_adjust_head(ctx, -HEADER))
		return XDP_ABORTED;
	header = (void *)(long)ctx->data;
	if ((void *)(header + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < 6; i++)
		header->word[i] = settings.word[i];
	header->rest = settings.rest;
	return bpf_redirect(settings.target, 0);
}

SEC("xdp.frags")
int pop(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, HEADER))
		return XDP_ABORTED;
	return bpf_redirect(settings.target, 0);
}

SEC("xdp.frags")
int forward(struct xdp_md *ctx)
{
	return bpf_redirect(settings.target, 0);
}

/* Where live frames end. They are used again as they are, so those that were delivered get their own MACs back. */
SEC("xdp.frags")
int end(struct xdp_md *ctx)
{
	__u32 *mac = (void *)(long)ctx->data, key = 0;
	__u64 *count = bpf_map_lookup_elem(&ended, &key);

	if (!count || (void *)(mac + 3) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	++*count;
	mac[0] = settings.mac[0];
	mac[1] = settings.mac[1];
	mac[2] = settings.mac[2];
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
