// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Gives a program the same frames again and again: BPF_PROG_TEST_RUN repeats on what the run before left. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define FRAMES 4096
#define WORDS 20 /* of each frame's start: all that the programs change */

struct original {
	__u64 length;
	__u64 word[WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct original);
	__uint(max_entries, FRAMES);
} originals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
} target SEC(".maps");

const volatile __u32 frames = 1;
static __u32 turn;

SEC("xdp.frags")
int restore(struct xdp_md *ctx)
{
	__u32 index = turn++ & (frames - 1);
	struct original *original = bpf_map_lookup_elem(&originals, &index);
	int length = bpf_xdp_get_buff_len(ctx);
	__u64 *to;

	if (!original || bpf_xdp_adjust_head(ctx, length - (int)original->length))
		return XDP_ABORTED;
	to = (void *)(long)ctx->data;
	if ((void *)(to + WORDS) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < WORDS; i++)
		to[i] = original->word[i];
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

/* The kernel's own limits: what a program costs that does nothing, and one that sends the frame back. */
SEC("xdp.frags")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp.frags")
int swap(struct xdp_md *ctx)
{
	__u16 *mac = (void *)(long)ctx->data;

	if ((void *)(mac + 6) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < 3; i++) {
		__u16 kept = mac[i];

		mac[i] = mac[i + 3];
		mac[i + 3] = kept;
	}
	return XDP_TX;
}

SEC("xdp.frags")
int nothing(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
