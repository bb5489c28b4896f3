// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Millions of mutated frames a system call: each run judges what the run before did with its frame, makes another, and
 * gives it to the program under test. BPF_PROG_TEST_RUN repeats on what the run before left. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../../bpf/abi.h"

#define SIZE 512 /* of a frame of the corpus */
#define ROOM 768 /* of a frame before and after: all of it is compared */
#define MASK 511 /* of an offset in a frame that is read or written by octets */
#define SAMPLES 256
#define FINDINGS 8
#define TAIL 2048 /* where frames end in the page of a test run */
#define INNER 14 /* Ethernet */

#define always static __always_inline
#define alone __attribute__((noinline)) /* and not static: verified once, by itself */

enum rule {
	RULE_NONE,
	RULE_COUNTED_ONCE, /* one reason for each frame */
	RULE_REASON, /* one that the program may give */
	RULE_OUTER, /* from this host's uplink and address */
	RULE_VNI, /* the one it had */
	RULE_HOST, /* to a host that is known */
	RULE_FOREIGN, /* to a foreign host: plain, and for an endpoint behind it */
	RULE_RECEIVER, /* delivered to an endpoint of its VPC, by the router */
	RULE_SOURCE, /* from an address of its own */
	RULE_PAYLOAD, /* what was inside is what was sent */
	RULE_ANSWER, /* an answer is the router's, for who asked */
	RULE_UNTOUCHED, /* what passes is as it came */
	RULE_BELIEVED, /* only known hosts are believed */
	RULE_CHECKSUM, /* of the outer header */
	RULE_HARNESS, /* a frame could not be made: nothing about the program */
};

struct sample {
	__u64 length;
	__u64 word[SIZE / 8];
};

struct octets {
	__u8 byte[ROOM + SIZE + 64];
};

struct finding {
	__u32 rule;
	__u32 reason;
	__u32 before_length;
	__u32 after_length;
	__u8 before[SIZE];
	__u8 after[SIZE];
};

struct state {
	__u64 seed;
	__u64 position; /* of the frame's end, an address */
	__u64 frames;
	__u64 violations;
	__u32 started;
	__u32 length; /* of the frame before */
	__u64 reasons[64];
};

#define ARRAY(name, of, count)                                                                                         \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                      \
		__type(key, __u32);                                                                                    \
		__type(value, of);                                                                                     \
		__uint(max_entries, count);                                                                            \
	} name SEC(".maps")

ARRAY(samples, struct sample, SAMPLES);
ARRAY(buffers, struct octets, 2); /* the frame before and after */
ARRAY(findings, struct finding, FINDINGS);
ARRAY(states, struct state, 1);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
} target SEC(".maps");

/* The program's own: test_fuzz.py puts it here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct count);
	__uint(max_entries, REASON_COUNT);
} reasons SEC(".maps");

/* What the world is like (test_fuzz.py). Addresses and MACs in network order. */
struct world {
	__u32 samples;
	__u32 underlay; /* 1: frames are the underlay's, 0: an endpoint's */
	__u32 pooled;
	__u32 pool[32]; /* words that are worth writing somewhere: addresses, option headers */
	__u32 hosts[4];
	__u32 foreign, self;
	__u32 own[5]; /* the endpoint's IPv4, and IPv6 */
	__u32 vni[2]; /* the first is the endpoint's */
	__u8 prefix[2][8]; /* five octets of the MACs of the endpoints of each */
	__u8 mine[8], router[8], uplink[8];
};

const volatile struct world world SEC(".rodata.world");

always __u64 dice(struct state *state)
{
	__u64 x = state->seed; /* xorshift64* */

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	state->seed = x;
	return x * 0x2545f4914f6cdd1dULL >> 16;
}

/* A length that was checked, so that the verifier sees it: at least 1, at most 1024. */
always __u64 bounded(__u32 length)
{
	__u64 less = length - 1;

	asm volatile("%0 &= 1023" : "+r"(less));
	return less + 1;
}

always __u32 below(struct state *state, __u32 limit)
{
	return (__u32)dice(state) % limit;
}

always struct octets *buffer(__u32 which)
{
	return bpf_map_lookup_elem(&buffers, &which);
}

always __u32 word_at(const struct octets *frame, __u32 at)
{
	const __u8 *from = &frame->byte[at & MASK];

	return from[0] | from[1] << 8 | from[2] << 16 | (__u32)from[3] << 24;
}

always bool same(const struct octets *frame, __u32 at, const volatile __u8 *octets, int count)
{
	__u8 differs = 0;

	for (int i = 0; i < count; i++)
		differs |= frame->byte[(at & MASK) + i] ^ octets[i];
	return !differs;
}

/* The VPC of the endpoint whose MAC stands at an offset; 0: nobody's. */
always __u32 receiver(const struct octets *frame, __u32 at)
{
	if (same(frame, at, world.mine, 6) || same(frame, at, world.prefix[0], 5))
		return world.vni[0];
	return same(frame, at, world.prefix[1], 5) ? world.vni[1] : 0;
}

always bool is_host(__u32 address)
{
	return address == world.hosts[0] || address == world.hosts[1] || address == world.hosts[2] ||
	       address == world.hosts[3];
}

/* Whether the IP packet of an Ethernet frame at an offset has the endpoint's own address at `v4` or `v6` in it. */
always bool is_own(const struct octets *frame, __u32 at, __u32 v4, __u32 v6)
{
	if (frame->byte[(at + 12) & MASK] == 0x08 && !frame->byte[(at + 13) & MASK])
		return word_at(frame, at + v4) == world.own[0];
	return frame->byte[(at + 12) & MASK] == 0x86 && frame->byte[(at + 13) & MASK] == 0xdd &&
	       word_at(frame, at + v6) == world.own[1] && word_at(frame, at + v6 + 4) == world.own[2] &&
	       word_at(frame, at + v6 + 8) == world.own[3] && word_at(frame, at + v6 + 12) == world.own[4];
}

/* Where Geneve begins, after an outer header of any size. */
always __u32 geneve(const struct octets *frame)
{
	return 14 + (frame->byte[14] & 15) * 4 + 8;
}

always __u32 vni_of(const struct octets *frame)
{
	__u32 at = geneve(frame) + 4;

	return frame->byte[at & MASK] << 16 | frame->byte[(at + 1) & MASK] << 8 | frame->byte[(at + 2) & MASK];
}

/* From one offset on, both are equal to the end; behind their ends both are zero. */
always bool equal(const struct octets *one, __u32 at, const struct octets *other, __u32 from)
{
	__u64 differs = 0;

	for (int i = 0; i < ROOM / 8; i++)
		differs |= *(__u64 *)&one->byte[(at & MASK) + i * 8] ^ *(__u64 *)&other->byte[(from & MASK) + i * 8];
	return !differs;
}

always bool checksum_is_right(const struct octets *frame)
{
	__u32 words = (frame->byte[14] & 15) * 2, sum = 0;

	for (__u32 i = 0; i < 30; i++)
		if (i < words)
			sum += frame->byte[14 + i * 2] << 8 | frame->byte[15 + i * 2];
	sum = (sum & 0xffff) + (sum >> 16);
	return ((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

/* A frame that leaves on the underlay. */
always enum rule judge_outer(const struct octets *after, __u32 vni)
{
	__u32 to = word_at(after, 30), start = geneve(after), inner;

	if (!same(after, 6, world.uplink, 6) || word_at(after, 26) != world.self)
		return RULE_OUTER;
	if (vni_of(after) != vni)
		return RULE_VNI;
	if (to != world.foreign)
		return is_host(to) ? RULE_NONE : RULE_HOST;
	inner = start + 8 + (after->byte[start & MASK] & 0x3f) * 4;
	if (after->byte[start & MASK] || after->byte[(start + 1) & MASK] || receiver(after, inner) != vni)
		return RULE_FOREIGN;
	return RULE_NONE;
}

always enum rule judge_endpoint(const struct octets *before, const struct octets *after, __u32 reason, __u32 grown)
{
	static const __u8 every_node[6] = {0x33, 0x33, 0, 0, 0, 1};
	__u32 inner = geneve(after) + 8 + (after->byte[geneve(after) & MASK] & 0x3f) * 4;
	enum rule rule;

	switch (reason) {
	case REASON_DELIVERED:
		if (receiver(after, 0) != world.vni[0] || !same(after, 6, world.router, 6))
			return RULE_RECEIVER;
		if (!is_own(after, 0, 26, 22))
			return RULE_SOURCE;
		return equal(after, 12, before, 12) ? RULE_NONE : RULE_PAYLOAD;
	case REASON_SENT_DIRECT:
	case REASON_SENT_BOUNCER:
	case REASON_RELAYED_DIVIDER:
		rule = judge_outer(after, world.vni[0]);
		if (rule)
			return rule;
		if (!is_own(after, inner, 26, 22))
			return RULE_SOURCE;
		if (word_at(after, 30) != world.foreign && !same(after, inner + 6, world.mine, 6))
			return RULE_SOURCE;
		return grown == inner && equal(after, inner + 12, before, 12) ? RULE_NONE : RULE_PAYLOAD;
	case REASON_ANSWERED:
		if (!same(after, 6, world.router, 6) || equal(after, 0, before, 0))
			return RULE_ANSWER;
		return same(after, 0, &before->byte[6], 6) || same(after, 0, every_node, 6) ? RULE_NONE : RULE_ANSWER;
	case REASON_ANSWERED_TOO_BIG:
		if (!same(after, 0, world.mine, 6) || !same(after, 6, world.router, 6))
			return RULE_ANSWER;
		return is_own(after, 0, 30, 38) ? RULE_NONE : RULE_ANSWER;
	case REASON_UNANSWERED:
		return RULE_NONE;
	}
	return reason >= REASON_DROP_MALFORMED && reason != REASON_DROP_HELPER ? RULE_NONE : RULE_REASON;
}

always enum rule judge_underlay(const struct octets *before, const struct octets *after, __u32 reason, __u32 grown)
{
	__u32 vni = vni_of(before), from = word_at(before, 26);
	enum rule rule;

	if (reason == REASON_PASSED)
		return !grown && equal(after, 0, before, 0) ? RULE_NONE : RULE_UNTOUCHED;
	if (reason >= REASON_DROP_MALFORMED)
		return reason != REASON_DROP_HELPER ? RULE_NONE : RULE_REASON;
	if (!is_host(from) && from != world.foreign)
		return RULE_BELIEVED;
	switch (reason) {
	case REASON_DELIVERED:
	case REASON_ANSWERED_TOO_BIG:
		return receiver(after, 0) == vni && same(after, 6, world.router, 6) ? RULE_NONE : RULE_RECEIVER;
	case REASON_SENT_DIRECT:
	case REASON_SENT_BOUNCER:
	case REASON_BOUNCED:
	case REASON_DIVIDED:
	case REASON_RELAYED_DIVIDER:
	case REASON_RETURNED:
	case REASON_RETURNED_TOO_BIG:
	case REASON_PROBE_ANSWERED:
		rule = judge_outer(after, vni);
		if (rule)
			return rule;
		if ((reason == REASON_RETURNED || reason == REASON_PROBE_ANSWERED) && word_at(after, 30) != from)
			return RULE_HOST;
		return checksum_is_right(after) || !checksum_is_right(before) ? RULE_NONE : RULE_CHECKSUM;
	case REASON_PROBE_HEARD:
		return RULE_NONE;
	}
	return RULE_REASON;
}

/* The reason that the run before counted, or REASON_COUNT unless it was just one. Sums, so that no way parts. */
alone int counted(void)
{
	__u32 zero = 0;
	struct state *state = bpf_map_lookup_elem(&states, &zero);
	__u64 total = 0, found = 0;

	if (!state)
		return REASON_COUNT;
	for (__u32 i = 0; i < REASON_COUNT; i++) {
		__u32 key = i;
		const struct count *row = bpf_map_lookup_elem(&reasons, &key);
		__u64 more;

		if (!row)
			return REASON_COUNT;
		more = row->packets - state->reasons[i & 63];
		state->reasons[i & 63] = row->packets;
		total += more;
		found += more * i;
	}
	return total == 1 ? found : REASON_COUNT;
}

always void report(struct state *state, enum rule rule, __u32 reason, __u32 length, const struct octets *before,
		   const struct octets *after)
{
	__u32 number = state->violations++;
	struct finding *finding = bpf_map_lookup_elem(&findings, &number);

	if (!finding)
		return;
	finding->rule = rule;
	finding->reason = reason;
	finding->before_length = state->length;
	finding->after_length = length;
	for (int i = 0; i < SIZE / 8; i++) {
		((volatile __u64 *)finding->before)[i] = ((__u64 *)before)[i];
		((volatile __u64 *)finding->after)[i] = ((__u64 *)after)[i];
	}
}

alone int judge(struct xdp_md *ctx)
{
	__u32 zero = 0, length = bpf_xdp_get_buff_len(ctx), reason, grown;
	struct state *state = bpf_map_lookup_elem(&states, &zero);
	struct octets *before = buffer(0), *after = buffer(1);
	enum rule rule;

	if (!state || !before || !after)
		return 0;
	for (int i = 0; i < sizeof(*after) / 8; i++)
		((volatile __u64 *)after)[i] = 0;
	reason = counted();
	if (length < 14 || length > ROOM || bpf_xdp_load_bytes(ctx, 0, after->byte, bounded(length))) {
		report(state, RULE_HARNESS, reason, length, before, after);
		return 0;
	}
	grown = length - state->length;
	if (reason == REASON_COUNT)
		rule = RULE_COUNTED_ONCE;
	else if (world.underlay)
		rule = judge_underlay(before, after, reason, grown);
	else
		rule = judge_endpoint(before, after, reason, grown);
	state->frames++;
	if (rule)
		report(state, rule, reason, length, before, after);
	return 0;
}

/* A few octets are changed: to one that matters, to any, by a bit; or a word to one that means something. */
always void change(struct state *state, struct octets *frame, __u32 length)
{
	static const __u8 interesting[16] = {0, 1, 0x7f, 0x80, 0xff, 4, 6, 17, 44, 58, 60, 0, 43, 51, 2, 255};
	static const __u8 edits[8] = {0, 1, 1, 2, 3, 8, 1, 2};
	__u32 count = edits[below(state, 8)];

	for (__u32 i = 0; i < 8 && i < count; i++) {
		__u32 at = below(state, length) & MASK, pick = below(state, 32) & 31, word;
		__u64 chance = dice(state);

		switch (chance & 3) {
		case 0:
			frame->byte[at] = interesting[chance >> 2 & 15];
			break;
		case 1:
			frame->byte[at] = chance >> 8;
			break;
		case 2:
			frame->byte[at] ^= 1 << (chance >> 8 & 7);
			break;
		default:
			word = pick < world.pooled ? world.pool[pick] : chance >> 8;
			frame->byte[at] = word;
			frame->byte[at + 1] = word >> 8;
			frame->byte[at + 2] = word >> 16;
			frame->byte[at + 3] = word >> 24;
		}
	}
}

/* It is cut, stretched, spliced with another, or random from its third word on; mostly it is not. Its length. */
always __u32 reshape(struct state *state, struct octets *frame, __u32 length)
{
	__u32 other = below(state, world.samples), from = below(state, length), more = below(state, 200);
	const struct sample *sample = bpf_map_lookup_elem(&samples, &other);
	__u32 way = below(state, 16);

	if (!sample)
		return length;
	if (way == 0)
		return from < 14 ? 14 : from;
	if (way == 1)
		from = length;
	if (way == 3)
		from = 16;
	if (way == 2)
		more = sample->length > from ? sample->length - from : 1;
	if (way > 3 || from + more > SIZE)
		return length;
	for (__u32 i = 0; i < SIZE / 8; i++)
		if (i * 8 >= from && i * 8 < from + more)
			((__u64 *)frame)[i] = way == 2 ? sample->word[i] : dice(state) << 17 ^ dice(state);
	return from + more < 14 ? 14 : from + more;
}

alone int compose(void)
{
	__u32 zero = 0, number, length;
	struct state *state = bpf_map_lookup_elem(&states, &zero);
	struct octets *frame = buffer(0);
	const struct sample *sample;

	if (!state || !frame)
		return 0;
	number = below(state, world.samples);
	sample = bpf_map_lookup_elem(&samples, &number);
	if (!sample)
		return 0;
	for (int i = 0; i < sizeof(*frame) / 8; i++)
		((volatile __u64 *)frame)[i] = i < SIZE / 8 ? sample->word[i] : 0;
	length = sample->length;
	if (length < 14 || length > SIZE)
		return 0;
	change(state, frame, length);
	length = reshape(state, frame, length);
	if (length < 14 || length > SIZE)
		return 0;
	for (__u32 i = 0; i <= SIZE / 8; i++)
		if (i * 8 >= length)
			((volatile __u64 *)frame)[i] = 0;
	for (__u32 i = 0; i < 8; i++)
		frame->byte[(length & 1023) + i] = 0;
	state->length = length;
	return length;
}

SEC("xdp.frags")
int fuzz(struct xdp_md *ctx)
{
	__u32 zero = 0, length;
	struct state *state = bpf_map_lookup_elem(&states, &zero);
	struct octets *frame = buffer(0);

	if (!state || !frame)
		return XDP_ABORTED;
	if (state->started)
		judge(ctx);
	else
		counted();
	state->started = 1;
	length = compose();
	if (length < 14 || length > SIZE)
		return XDP_ABORTED;
	/* The program moves both ends; the end's place is read as a number, by way of a map. */
	state->position = (__u64)(long)ctx->data_end;
	if (bpf_xdp_adjust_tail(ctx, TAIL - (int)(*(volatile __u64 *)&state->position & 4095)))
		return XDP_ABORTED;
	if (bpf_xdp_adjust_head(ctx, (int)bpf_xdp_get_buff_len(ctx) - (int)length))
		return XDP_ABORTED;
	if (bpf_xdp_store_bytes(ctx, 0, frame->byte, bounded(length)))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "Dual BSD/GPL";
