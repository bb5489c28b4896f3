/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Decisions, and the cache of them: what the tables say about a flow is looked up once, then remembered on its CPU. */
#ifndef RECONCILER_FLOW_H
#define RECONCILER_FLOW_H

#include "decision.h"
#include "parse.h"

#define FLOW_REACH 8 /* how many places a flow may be in */
#define FLOW_PORT 49152 /* RFC 6335, 6: 49152-65535 are dynamic */
#define FLOW_TICK 8 /* jiffies, as a power of two: from a quarter of a second to 2.6, by the kernel's HZ */

/* Bits of the last word of a key: 16 are the program's own, then the protocol, then these. */
#define FLOW_PROTOCOL 16
#define FLOW_IPV6 (1 << 24)
#define FLOW_RELAYED (1 << 25) /* transit: the option names the sender's host */
#define FLOW_BESIDE (1 << 26) /* in a line: the second of its flow, so not the first of any */
#define FLOW_EPOCH 27 /* in a line: from here on when the decision was made */

/* All that a decision depends on beside the tables. */
struct flow_key {
	struct addresses addresses;
	/*
	 * The first 4 bytes after the IP headers: ports, or 0 if there are none for certain. Above them where it came
	 * from, in access the interface, in transit the outer source address.
	 */
	__u64 start;
	__u64 sender; /* access: MAC; transit: the sender's host, VNI and type of the option */
	__u64 rest; /* transit: outer source port; protocol, FLOW_IPV6, FLOW_RELAYED */
};

/*
 * One line of the processor's cache, which is all that a packet of an IPv4 flow looks at. An IPv6 flow has the next line
 * as well, for what is above in its addresses. Both are written together, so that no two halves of different flows match.
 */
struct flow {
	__u64 word[4];
	struct decision decision;
};

_Static_assert(sizeof(struct flow) == 64, "flow");

/*
 * The program's own: not pinned, and gone with it. 1 << flow_bits for each CPU, by its number, and nobody but that CPU
 * looks at them; CPUs beyond the last entry remember nothing. Mapped arrays begin with a page, so lines are lines.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct flow);
	__uint(max_entries, 1); /* both are set when the program is loaded */
	__uint(map_flags, BPF_F_MMAPABLE);
} flows SEC(".maps");

const volatile __u32 flow_bits; /* of a CPU: fewer where CPUs are many */

/* What decisions rest on, as this CPU last saw it; `epoch` counts how often it was another. */
struct moment {
	__u64 epoch;
	__u64 written; /* generations[GENERATION_WRITTEN] */
	__u32 learned; /* generations[GENERATION_LEARNED] */
	__u32 tick; /* jiffies >> FLOW_TICK: paths are refreshed when it moves on */
};

/* This CPU's, now: not on the stack, which is small. */
struct work {
	struct moment moment;
	struct flow_key key; /* of the flow that is being decided about */
	__u32 place; /* its first among the lines */
	struct decision decision;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct work);
	__uint(max_entries, 1);
} work SEC(".maps");

static __always_inline struct work *work_here(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&work, &key);
}

/* Before any table is asked: what is written meanwhile makes the decision stale at once. 37 bits are for ever. */
static __always_inline void moment_take(struct moment *seen)
{
	__u32 key = GENERATION_WRITTEN, learned, tick;
	const volatile __u64 *row = bpf_map_lookup_elem(&generations, &key);
	__u64 written = row ? *row : 0;

	key = GENERATION_LEARNED;
	row = bpf_map_lookup_elem(&generations, &key);
	learned = row ? *row : 0;
	tick = bpf_jiffies64() >> FLOW_TICK;
	if ((seen->written ^ written) | (seen->learned ^ learned) | (seen->tick ^ tick)) {
		seen->written = written;
		seen->learned = learned;
		seen->tick = tick;
		seen->epoch += 1ULL << FLOW_EPOCH;
	}
}

/* What of a packet's start tells flows apart. 0 where it would tell packets apart. */
static __always_inline __u32 flow_head(const struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		return packet->fragment ? 0 : packet->head;
	default:
		return 0;
	}
}

/* What both programs write alike. */
static __always_inline void key_start(struct flow_key *key, const struct packet *packet, __u32 from)
{
	key->addresses = packet->addresses;
	key->start = flow_head(packet) | (__u64)from << 32;
	key->rest = (__u32)packet->protocol << FLOW_PROTOCOL | (packet->version == 6 ? FLOW_IPV6 : 0);
}

static __always_inline __u32 key_from(const struct flow_key *key)
{
	return key->start >> 32;
}

static __always_inline bool key_is_ipv6(const struct flow_key *key)
{
	return key->rest & FLOW_IPV6;
}

/* The key's first place among the lines. */
static __always_inline __u32 flow_place(const struct flow_key *key)
{
	const __u64 *above = key->addresses.above;
	__u64 sum = key->addresses.last * row_factor(0) + key->start * row_factor(1) + key->sender * row_factor(2) +
		    key->rest * row_factor(3);

	if (key_is_ipv6(key))
		sum += above[0] * row_factor(4) + above[1] * row_factor(5) + above[2] * row_factor(6);
	return (sum ^ sum >> 32) * row_factor(7) >> (64 - flow_bits);
}

/* The n-th place of a flow whose first is `place`, or the line beside it. */
static __always_inline struct flow *flow_line(__u32 place, __u32 n, bool ipv6, bool beside)
{
	__u32 line = ipv6 ? (place & ~1U) + 2 * n + beside : place + n;

	line = bpf_get_smp_processor_id() << flow_bits | (line & ((1U << flow_bits) - 1));
	return bpf_map_lookup_elem(&flows, &line);
}

static __always_inline bool line_holds(const struct flow *line, __u64 a, __u64 b, __u64 c, __u64 d)
{
	return !((line->word[0] ^ a) | (line->word[1] ^ b) | (line->word[2] ^ c) | (line->word[3] ^ d));
}

static __always_inline void line_write(struct flow *line, __u64 a, __u64 b, __u64 c, __u64 d)
{
	line->word[0] = a;
	line->word[1] = b;
	line->word[2] = c;
	line->word[3] = d;
}

/* Nobody's any more, or never anybody's. */
static __always_inline bool line_is_free(const struct flow *line, __u64 epoch)
{
	return line->word[3] >> FLOW_EPOCH != epoch >> FLOW_EPOCH;
}

/*
 * What was decided about the flow of `work` in this epoch; NULL: nothing. Places are taken in order and none is given up
 * before the epoch ends, so the first that is free ends the search.
 */
static __always_inline const struct decision *flow_find(struct work *work)
{
	const struct flow_key *key = &work->key;
	const __u64 *above = key->addresses.above;
	__u32 place = flow_place(key);
	bool ipv6 = key_is_ipv6(key);
	__u64 epoch;

	work->place = place;
	moment_take(&work->moment);
	epoch = work->moment.epoch;
#pragma clang loop unroll(disable)
	for (__u32 n = 0; n < FLOW_REACH; n++) {
		const struct flow *line = flow_line(place, n, ipv6, false), *beside;

		if (!line)
			return NULL;
		if (line_holds(line, key->addresses.last, key->start, key->sender, key->rest | epoch)) {
			if (!ipv6)
				return &line->decision;
			beside = flow_line(place, n, true, true);
			if (beside && line_holds(beside, above[0], above[1], above[2], FLOW_BESIDE | epoch))
				return &line->decision;
		} else if (line_is_free(line, epoch)) {
			return NULL;
		}
	}
	return NULL;
}

/* In the first place that is free, or instead of the first. */
static __always_inline void flow_keep(const struct work *work)
{
	const struct flow_key *key = &work->key;
	const __u64 *above = key->addresses.above;
	__u64 epoch = work->moment.epoch;
	bool ipv6 = key_is_ipv6(key);
	struct flow *line;
	__u32 n;

#pragma clang loop unroll(disable)
	for (n = 0; n < FLOW_REACH; n++) {
		line = flow_line(work->place, n, ipv6, false);
		if (!line || line_is_free(line, epoch))
			break;
	}
	n = n < FLOW_REACH ? n : 0;
	line = flow_line(work->place, n, ipv6, false);
	if (!line)
		return;
	line_write(line, key->addresses.last, key->start, key->sender, key->rest | epoch);
	line->decision = work->decision;
	line = flow_line(work->place, n, true, true);
	if (ipv6 && line)
		line_write(line, above[0], above[1], above[2], FLOW_BESIDE | epoch);
}

/* The outer source port, from the inner flow (RFC 8926, 3.3). */
static __always_inline __u16 flow_port(const struct flow_key *key)
{
	const address_t source = source_of(&key->addresses), destination = destination_of(&key->addresses);
	__u64 sum = (__u8)(key->rest >> FLOW_PROTOCOL) | key->start << 32;

	sum *= row_factor(0);
	sum += (source.word[0] | (__u64)source.word[1] << 32) * row_factor(1);
	sum += (source.word[2] | (__u64)source.word[3] << 32) * row_factor(2);
	sum += (destination.word[0] | (__u64)destination.word[1] << 32) * row_factor(3);
	sum += (destination.word[2] | (__u64)destination.word[3] << 32) * row_factor(4);
	sum = (sum ^ sum >> 32) * row_factor(5);
	return FLOW_PORT + (sum >> 50);
}

/* Whether packets like this one may share a decision: fragments have no ports, extension headers are not in the key. */
static __always_inline bool flow_is_plain(const struct packet *packet)
{
	return !packet->fragment && !packet->extended;
}

#endif
