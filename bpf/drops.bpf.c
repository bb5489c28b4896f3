// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Tracepoints of XDP: what the kernel drops after our verdict, counted by interface, event and error. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "abi.h"
#include "tags.h"

/* What is read of the kernel's own structures, wherever the running kernel has it (CO-RE). */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct net_device {
	int ifindex;
	possible_net_t nd_net;
};
#pragma clang attribute pop

#define INDEX_IS_INTERFACE 0x7fffffff /* map_id of a redirect without a map (include/trace/events/xdp.h) */

/* Frames that the kernel dropped after our verdict. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct drop_key);
	__type(value, struct drop);
	__uint(max_entries, LIMIT_DROPS);
} drops SEC(".maps") __data_plane;

/* The inode of this host's network namespace: hosts may share a kernel, and interface numbers do not tell them apart. */
const volatile __u32 netns = 0;

static __always_inline int is_ours(const struct net_device *device)
{
	return device->nd_net.net->ns.inum == netns;
}

static __always_inline int count(__u32 ifindex, enum kernel_drop event, __u32 error, __u32 frames)
{
	struct drop_key key = {.ifindex = ifindex, .event = event, .error = error};
	struct drop *row = bpf_map_lookup_elem(&drops, &key);
	struct drop first = {};

	if (!row) {
		bpf_map_update_elem(&drops, &key, &first, BPF_NOEXIST);
		row = bpf_map_lookup_elem(&drops, &key);
	}
	if (row)
		__sync_fetch_and_add(&row->frames, frames);
	return 0;
}

/* The redirect was refused at once. Of a redirect through a map only the interface that it came in on is known. */
SEC("tp_btf/xdp_redirect_err")
int BPF_PROG(xdp_redirect_err, const struct net_device *device, const void *program, const void *target, int error,
	     int map_type, __u32 map_id, __u32 index)
{
	if (!is_ours(device))
		return 0;
	return count(map_id == INDEX_IS_INTERFACE ? index : device->ifindex, KERNEL_REDIRECT, -error, 1);
}

/* Redirected frames were handed to an interface, which did not take all of them. */
SEC("tp_btf/xdp_devmap_xmit")
int BPF_PROG(xdp_devmap_xmit, const struct net_device *from, const struct net_device *to, int sent, int dropped,
	     int error)
{
	if (dropped <= 0 || !is_ours(from))
		return 0;
	return count(to->ifindex, KERNEL_QUEUE, -error, dropped);
}

/* The same of frames that went back out of their own interface. */
SEC("tp_btf/xdp_bulk_tx")
int BPF_PROG(xdp_bulk_tx, const struct net_device *device, int sent, int dropped, int error)
{
	if (dropped <= 0 || !is_ours(device))
		return 0;
	return count(device->ifindex, KERNEL_TRANSMIT, -error, dropped);
}

/* A verdict that the driver could not carry out, or that is none. */
SEC("tp_btf/xdp_exception")
int BPF_PROG(xdp_exception, const struct net_device *device, const void *program, __u32 action)
{
	if (!is_ours(device))
		return 0;
	return count(device->ifindex, KERNEL_EXCEPTION, action, 1);
}

char _license[] SEC("license") = "Dual BSD/GPL";
