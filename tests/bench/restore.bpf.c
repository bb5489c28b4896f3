// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Gives a program the same frames again and again: BPF_PROG_TEST_RUN repeats on what the run before left. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define FRAMES 4096
#define WORDS 20 /* of each frame's start: all that the programs change */
#define PLACES 8 /* where frames differ from the first, by words of two bytes */

/* What differs is kept apart, so that restoring takes as little of the caches as a card would. */
struct original {
	__u64 word[WORDS];
	__u32 length;
	__u16 place[PLACES]; /* bytes from the start; unused ones as the first */
};

struct difference {
	__u16 value[PLACES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct original);
	__uint(max_entries, 1);
} original SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct difference);
	__uint(max_entries, FRAMES);
} differences SEC(".maps");

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
	__u32 index = turn++ & (frames - 1), zero = 0;
	struct difference *difference = bpf_map_lookup_elem(&differences, &index);
	struct original *first = bpf_map_lookup_elem(&original, &zero);
	int length = bpf_xdp_get_buff_len(ctx);
	__u64 *to;

	if (!first || !difference || bpf_xdp_adjust_head(ctx, length - (int)first->length))
		return XDP_ABORTED;
	to = (void *)(long)ctx->data;
	if ((void *)(to + WORDS) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < WORDS; i++)
		to[i] = first->word[i];
#pragma unroll
	for (int i = 0; i < PLACES; i++) {
		__u16 *differing = (void *)to + (first->place[i] & 0xff);

		if ((void *)(differing + 1) > (void *)(long)ctx->data_end)
			return XDP_ABORTED;
		*differing = difference->value[i];
	}
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
