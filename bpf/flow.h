/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Decisions, and the cache of them: what the tables say about a flow is looked up once, then remembered on its CPU. */
#ifndef RECONCILER_FLOW_H
#define RECONCILER_FLOW_H

#include "decision.h"
#include "parse.h"

#define FLOW_SETS 4096 /* a power of two: 12 bits */
#define FLOW_WAYS 4
#define FLOW_PORT 49152 /* RFC 6335, 6: 49152-65535 are dynamic */
#define FLOW_TICK 8 /* jiffies, as a power of two: from a quarter of a second to 2.6, by the kernel's HZ */

/* All that a decision depends on beside the tables; so it has no holes. */
struct flow_key {
	address_t source;
	address_t destination;
	__u32 head; /* the first 4 bytes after the IP headers: ports, or 0 if there are none for certain */
	__u8 protocol;
	__u8 version;
	__u8 type; /* transit: of the option */
	__u8 relayed; /* transit: the option names the sender's host */
	__u32 from; /* access: the interface; transit: the outer source address */
	__u32 vni; /* transit */
	mac_t mac; /* access: of the sender */
	__u16 port; /* transit: outer source port */
	ipv4_t sender; /* transit: the sender's host */
	__u32 reserved;
};

/* When a decision was made. It holds while nothing that it rests on was written, and not for long. */
struct moment {
	__u64 written; /* generations[GENERATION_WRITTEN] */
	__u32 learned; /* generations[GENERATION_LEARNED] */
	__u32 tick; /* jiffies >> FLOW_TICK: paths are refreshed when it moves on */
};

struct flow {
	struct moment made;
	struct flow_key key;
	struct decision decision;
};

/* Each way has a tag, 32 bits of its key's hash: one look at the tags finds the way. */
struct flow_set {
	__u32 tag[FLOW_WAYS];
	struct flow way[FLOW_WAYS];
};

#define FLOW_WORDS (sizeof(struct flow_key) / sizeof(word_t))

_Static_assert(sizeof(struct flow_key) == 64, "flow_key");
_Static_assert(sizeof(struct flow) == 120, "flow");

/* The program's own: not pinned, and gone with it. Nobody but this CPU, here and now, looks at a row. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct flow_set);
	__uint(max_entries, FLOW_SETS);
} flows SEC(".maps");

/* The flow that is being decided about: not on the stack, which is small. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct flow);
	__uint(max_entries, 1);
} work SEC(".maps");

static __always_inline struct flow *flow_work(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&work, &key);
}

/* Taken before any table is asked: what is written meanwhile makes the decision stale at once. */
static __always_inline void moment_take(struct moment *now)
{
	__u32 key = GENERATION_WRITTEN;
	const volatile __u64 *row = bpf_map_lookup_elem(&generations, &key);

	now->written = row ? *row : 0;
	key = GENERATION_LEARNED;
	row = bpf_map_lookup_elem(&generations, &key);
	now->learned = row ? *row : 0;
	now->tick = bpf_jiffies64() >> FLOW_TICK;
}

static __always_inline bool moment_equal(const struct moment *a, const struct moment *b)
{
	return !((a->written ^ b->written) | (__u64)(a->learned ^ b->learned) | (__u64)(a->tick ^ b->tick));
}

static __always_inline bool key_equal(const struct flow_key *a, const struct flow_key *b)
{
	const word_t *x = (const word_t *)a, *y = (const word_t *)b;
	__u64 differ = 0;

#pragma unroll
	for (__u32 i = 0; i < FLOW_WORDS; i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

static __always_inline __u64 flow_hash(const struct flow_key *key)
{
	const word_t *words = (const word_t *)key;
	__u64 sum = 0;

#pragma unroll
	for (__u32 i = 0; i < FLOW_WORDS; i++)
		sum += words[i] * row_factor(i);
	sum ^= sum >> 32;
	return sum * row_factor(FLOW_WORDS);
}

static __always_inline struct flow_set *flow_set_of(__u64 hash)
{
	__u32 index = hash >> 52;

	return bpf_map_lookup_elem(&flows, &index);
}

static __always_inline __u32 flow_tag(__u64 hash)
{
	return hash >> 20;
}

/* What was decided about the flow of `work`, whose hash is `hash`, and still holds; NULL if nothing does. */
static __always_inline const struct decision *flow_find(const struct flow_set *set, __u64 hash, const struct flow *work)
{
	__u32 tag = flow_tag(hash), way = 0;

#pragma unroll
	for (__u32 i = 1; i < FLOW_WAYS; i++)
		if (set->tag[i] == tag)
			way = i;
	if (key_equal(&set->way[way].key, &work->key) && moment_equal(&set->way[way].made, &work->made))
		return &set->way[way].decision;
	return NULL;
}

/* In its own place, or in that of what no longer holds, or of any. */
static __always_inline void flow_keep(struct flow_set *set, __u64 hash, const struct flow *work)
{
	__u32 tag = flow_tag(hash), way = tag % FLOW_WAYS;

#pragma unroll
	for (__u32 i = 0; i < FLOW_WAYS; i++)
		if (!moment_equal(&set->way[i].made, &work->made))
			way = i;
#pragma unroll
	for (__u32 i = 0; i < FLOW_WAYS; i++)
		if (set->tag[i] == tag)
			way = i;
	set->tag[way] = tag;
	set->way[way] = *work;
}

/* The outer source port, from the inner flow (RFC 8926, 3.3). */
static __always_inline __u16 flow_port(const struct flow_key *key)
{
	const __u32 *source = key->source.word, *destination = key->destination.word;
	__u64 sum = key->protocol | (__u64)key->head << 32;

	sum *= row_factor(0);
	sum += (source[0] | (__u64)source[1] << 32) * row_factor(1);
	sum += (source[2] | (__u64)source[3] << 32) * row_factor(2);
	sum += (destination[0] | (__u64)destination[1] << 32) * row_factor(3);
	sum += (destination[2] | (__u64)destination[3] << 32) * row_factor(4);
	sum = (sum ^ sum >> 32) * row_factor(5);
	return FLOW_PORT + (sum >> 50);
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

/* Whether packets like this one may share a decision: fragments have no ports, extension headers are not in the key. */
static __always_inline bool flow_is_plain(const struct packet *packet)
{
	return !packet->fragment && !packet->extended;
}

#endif
