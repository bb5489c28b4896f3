/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Direct paths: which host an endpoint's packets came from lately, so that packets to it need no bouncer. */
#ifndef RECONCILER_PATH_H
#define RECONCILER_PATH_H

#include "health.h"
#include "row.h"

/* Units of 2^30 ns: a shift, where a second would be a division. */
static __always_inline __u16 path_clock(void)
{
	return bpf_ktime_get_coarse_ns() >> 30;
}

/* Decisions that rest on a path which is no longer so are made anew, on every CPU. */
static __always_inline void path_changed(void)
{
	__u32 key = GENERATION_LEARNED;
	__u64 *row = bpf_map_lookup_elem(&generations, &key);

	if (row)
		__sync_fetch_and_add(row, 1);
}

/* Remember that `key` is at `host`. An established flow costs a look and, once a second, one store: no LRU update. */
static __always_inline void path_learn(const struct endpoint_key *key, ipv4_t host, __u16 slot)
{
	struct path wanted = {.host = host, .host_slot = slot, .seen = path_clock()};
	struct path *row = bpf_map_lookup_elem(&paths, key);
	struct path known = {};

	if (row)
		row_copy(&known, row, sizeof(known));
	if (row && known.host == host && known.host_slot == slot) {
		if (known.seen == wanted.seen)
			return;
		row_copy(row, &wanted, sizeof(wanted));
	} else {
		bpf_map_update_elem(&paths, key, &wanted, BPF_ANY);
		if (row)
			path_changed();
	}
	health_learned(slot);
}

/* The host that `key` was heard from within constants.path_seconds. */
static __always_inline bool path_find(const struct endpoint_key *key, struct path *path)
{
	const struct path *row = bpf_map_lookup_elem(&paths, key);

	if (!row)
		return false;
	row_copy(path, row, sizeof(*path));
	return (__u16)(path_clock() - path->seen) < constants.path_seconds;
}

/* `host` says that `key` is not there. A path that leads elsewhere was learned since, and stays. */
static __always_inline void path_forget(const struct endpoint_key *key, ipv4_t host)
{
	const struct path *row = bpf_map_lookup_elem(&paths, key);

	if (row && row->host == host && !bpf_map_delete_elem(&paths, key))
		path_changed();
}

#endif
