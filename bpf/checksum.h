/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Internet checksums (RFC 1071), and their updates (RFC 1624). */
#ifndef RECONCILER_CHECKSUM_H
#define RECONCILER_CHECKSUM_H

#include <linux/types.h>

static __always_inline __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* What was written as fields is read as words: without the attribute the reading may come first. */
typedef __u32 __attribute__((may_alias)) sum_word_t;

/* The sum of 32-bit words as they lie in memory. */
static __always_inline __u64 checksum_words(const void *from, int count, __u64 sum)
{
	const sum_word_t *words = from;

#pragma unroll
	for (int i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m'), where `change` is the sum of all ~m + m'. */
static __always_inline void checksum_change(__u16 *check, __u64 change)
{
	*check = ~checksum_fold((__u16) ~*check + change);
}

static __always_inline void checksum_replace(__u16 *check, __u32 from, __u32 to)
{
	checksum_change(check, (__u64)(__u32)~from + to);
}

#endif
