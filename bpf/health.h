/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which hosts are alive: transit notes whom it heard, the agent judges, selection skips the dead. */
#ifndef RECONCILER_HEALTH_H
#define RECONCILER_HEALTH_H

#include <stdbool.h>

#include "maps.h"

static __always_inline __u32 health_clock(void)
{
	return bpf_ktime_get_coarse_ns() >> LIVENESS_SHIFT;
}

static __always_inline struct health *health_of(__u16 slot)
{
	__u32 key = slot;

	return bpf_map_lookup_elem(&health, &key);
}

/*
 * 1 or 0. A host whose next hop is not known cannot be sent to. Beyond that only the agent says that one is dead, and
 * what it does not repeat expires; a living one costs no look at a clock. Inline: a call more would not fit
 * on the stack of kernel 6.1.
 */
static __always_inline int is_alive(__u32 slot)
{
	const struct next_hop *next_hop = bpf_map_lookup_elem(&next_hops, &slot);
	const struct health *row = bpf_map_lookup_elem(&health, &slot);
	__u32 dead;

	if (!next_hop || !*(const volatile __u64 *)next_hop || !row)
		return 0;
	dead = *(const volatile __u32 *)&row->dead;
	return !dead || health_clock() - dead > LIVENESS_LASTS;
}

static __always_inline void health_heard(__u16 slot)
{
	struct health *row = health_of(slot);

	if (row)
		*(volatile __u32 *)&row->heard = health_clock();
}

/* So the agent knows whom to probe without reading all paths. */
static __always_inline void health_learned(__u16 slot)
{
	struct health *row = health_of(slot);

	if (row)
		*(volatile __u32 *)&row->learned = health_clock();
}

#endif
