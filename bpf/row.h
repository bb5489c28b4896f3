/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading rows that the control plane may replace meanwhile: those of 8 bytes in one load, larger ones checked. */
#ifndef RECONCILER_ROW_H
#define RECONCILER_ROW_H

#include "context.h"
#include "maps.h"

#define ROW_HALVES 14 /* of the largest value or key, struct host_set */

_Static_assert(sizeof(struct host_set) == ROW_HALVES * 4, "ROW_HALVES");

/* The constant is read by scalars: clang 14 takes a copy of the whole for its initial value, zero. */
static __always_inline mac_t router_mac(void)
{
	const volatile quarter_t *from = (const volatile quarter_t *)&constants.router_mac;
	union {
		quarter_t quarter[3];
		mac_t mac;
	} copy = {.quarter = {from[0], from[1], from[2]}};

	return copy.mac;
}

/* The i-th output of splitmix64 seeded with 0, made odd; folded at compile time. */
static __always_inline __u64 row_factor(int i)
{
	__u64 z = (__u64)(i + 1) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (z ^ (z >> 31)) | 1;
}

/*
 * What `check`, the first column of a value, must be: the high 32 bits of the sum modulo 2^64 of w_i * K_i over the
 * little-endian 64-bit words w_i of key and value, `check` zero, padded with zeros; K_i is row_factor(i).
 * reconciler/compile/check.py computes the same. Here the sum is taken over halves of words, `from` being the first's
 * number, so that the key's share needs no second look at the key.
 */
static __always_inline __u64 row_sum(const half_t *halves, int count, int from)
{
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < ROW_HALVES; i++) {
		int at = from + i;

		if (i < count)
			sum += ((__u64)halves[i] << (at & 1) * 32) * row_factor(at / 2);
	}
	return sum;
}

/* Copy a row, each of its words loaded once, whatever the compiler would prefer. A row of 8 bytes is never torn. */
static __always_inline void row_copy(void *copy, const void *row, int size)
{
#pragma unroll
	for (int i = 0; i < ROW_HALVES / 2; i++)
		if (i < size / 8)
			((word_t *)copy)[i] = ((const volatile word_t *)row)[i];
}

/*
 * Copy the row of `key`: 0, `absent` if there is none, or -REASON_DROP_TORN. The memory of a row that was replaced just
 * now may hold half of another, or that of another key; the second look finds the new one.
 */
static __always_inline int row_read(void *map, const void *key, int key_size, void *copy, int size, int absent)
{
	__u64 sum = row_sum(key, key_size / 4, 0);

#pragma unroll
	for (int look = 0; look < 2; look++) {
		const void *row = bpf_map_lookup_elem(map, key);
		__u64 rest;

		if (!row)
			return absent;
		row_copy(copy, row, size);
		asm volatile("" ::: "memory"); /* or clang keeps the whole row on the stack, besides the copy */
		rest = row_sum((half_t *)copy + 1, size / 4 - 1, key_size / 4 + 1);
		if ((__u32)((sum + rest) >> 32) == *(half_t *)copy)
			return 0;
	}
	return -REASON_DROP_TORN;
}

static __always_inline int read_endpoint(const struct endpoint_key *key, struct endpoint *row)
{
	return row_read(&endpoints, key, sizeof(*key), row, sizeof(*row), -REASON_DROP_NO_ENDPOINT);
}

static __always_inline int read_bouncers(__u32 vni, __u32 network, struct host_set *row)
{
	struct bouncer_key key = {.vni = vni, .network = network};

	return row_read(&bouncers, &key, sizeof(key), row, sizeof(*row), -REASON_DROP_NO_BOUNCER);
}

static __always_inline int read_dividers(__u32 vni, struct host_set *row)
{
	struct divider_key key = {.vni = vni};

	return row_read(&dividers, &key, sizeof(key), row, sizeof(*row), -REASON_DROP_UNKNOWN_VPC);
}

static __always_inline int read_router(__u32 vni, __u32 network, struct router *row)
{
	struct router_key key = {.vni = vni, .network = network};

	return row_read(&routers, &key, sizeof(key), row, sizeof(*row), -REASON_DROP_NO_NETWORK);
}

#endif
