// SPDX-License-Identifier: Apache-2.0
/* What the kernel itself can do: batch reads and updates of a pinned map, timed, nothing else.
 *
 * reference read PIN KEY VALUE                 nanoseconds of reading every row
 * reference write PIN KEY VALUE FILE COUNT     nanoseconds of writing COUNT rows: all keys, then all values
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#define BATCH 65536

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1e9 + at.tv_nsec;
}

static int read_all(int map, size_t key, size_t value)
{
	char *keys = malloc(BATCH * key), *values = malloc(BATCH * value);
	__u64 token = 0, total = 0;
	double begin;
	int first = 1, error;

	memset(keys, 0, BATCH * key);
	memset(values, 0, BATCH * value);
	begin = now();
	do {
		__u32 count = BATCH;

		error = bpf_map_lookup_batch(map, first ? NULL : &token, &token, keys, values, &count, NULL);
		if (error && errno != ENOENT)
			return 1;
		first = 0;
		total += count;
	} while (!error);
	printf("%.0f %llu\n", now() - begin, total);
	return 0;
}

static int write_all(int map, size_t key, size_t value, const char *path, size_t rows)
{
	char *keys = malloc(rows * key), *values = malloc(rows * value);
	FILE *file = fopen(path, "rb");
	double begin;
	size_t done;

	if (!file || fread(keys, key, rows, file) != rows || fread(values, value, rows, file) != rows)
		return 1;
	begin = now();
	for (done = 0; done < rows;) {
		__u32 count = rows - done < BATCH ? rows - done : BATCH;

		if (bpf_map_update_batch(map, keys + done * key, values + done * value, &count, NULL))
			return 1;
		done += count;
	}
	printf("%.0f %zu\n", now() - begin, done);
	return 0;
}

int main(int argc, char **argv)
{
	int map = argc > 4 ? bpf_obj_get(argv[2]) : -1;

	if (map < 0)
		return 64;
	if (!strcmp(argv[1], "read"))
		return read_all(map, atol(argv[3]), atol(argv[4]));
	return argc > 6 ? write_all(map, atol(argv[3]), atol(argv[4]), argv[5], atol(argv[6])) : 64;
}
