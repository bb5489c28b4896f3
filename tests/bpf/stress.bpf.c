// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Gives a program frames again and again, each for another row, and looks at what the run before sent: every frame must
 * have been made of one version of its own row. BPF_PROG_TEST_RUN repeats on what the run before left. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ROWS 32
#define WORDS 20 /* of each frame's start: all that the programs change */
#define PORT 34 /* of UDP's source port: another flow each time */

struct original {
	__u64 length;
	__u64 word[WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct original);
	__uint(max_entries, ROWS);
} originals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
} target SEC(".maps");

/* What test_stress.py reads: frames sent on, those that contradict themselves, those of another row, and one of these. */
struct seen {
	__u64 sent;
	__u64 torn;
	__u64 foreign;
	__u64 example[WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct seen);
	__uint(max_entries, 1);
} seen SEC(".maps");

const volatile __u32 of_next_hops = 0; /* what the rows are: next hops, or what names a host and its slot */
static __u32 turn, started;

/* A host's row number and version stand in its address, and in its next hop's MAC. */
static __always_inline void check_host(struct seen *found, const __u8 *frame, __u32 row)
{
	if (frame[4] != frame[32] || frame[5] != frame[33])
		found->torn++;
	else if (frame[4] != row)
		found->foreign++;
	else
		return;
	__builtin_memcpy(found->example, frame, sizeof(found->example));
}

/* A next hop's version stands in every octet of its MAC, and chooses the uplink, whose MAC tells. */
static __always_inline void check_next_hop(struct seen *found, const __u8 *frame)
{
	__u8 version = frame[5];

	if (frame[1] == version && frame[2] == version && frame[3] == version && frame[4] == version &&
	    frame[11] == (version & 3))
		return;
	found->torn++;
	__builtin_memcpy(found->example, frame, sizeof(found->example));
}

static __always_inline void check(const __u8 *frame, __u32 row)
{
	__u32 zero = 0;
	struct seen *found = bpf_map_lookup_elem(&seen, &zero);

	/* From the uplink, 02:aa:...: the run before sent it; unless back to its 172.16.0.2, for want of a row. */
	if (!found || frame[6] != 0x02 || frame[7] != 0xaa || (!of_next_hops && frame[30] == 172))
		return;
	found->sent++;
	if (of_next_hops)
		check_next_hop(found, frame);
	else
		check_host(found, frame, row);
}

SEC("xdp.frags")
int stress(struct xdp_md *ctx)
{
	__u8 *frame = (void *)(long)ctx->data;
	__u32 row = turn % ROWS;
	struct original *original;
	int length = bpf_xdp_get_buff_len(ctx);

	if (started && (void *)(frame + WORDS * 8) <= (void *)(long)ctx->data_end)
		check(frame, (turn - 1) % ROWS);
	started = 1;
	original = bpf_map_lookup_elem(&originals, &row);
	if (!original || bpf_xdp_adjust_head(ctx, length - (int)original->length))
		return XDP_ABORTED;
	frame = (void *)(long)ctx->data;
	if ((void *)(frame + WORDS * 8) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < WORDS; i++)
		((__u64 *)frame)[i] = original->word[i];
	*(__u16 *)(frame + PORT) = turn++;
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "Dual BSD/GPL";
