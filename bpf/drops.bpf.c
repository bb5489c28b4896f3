// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Tracepoints: what the kernel drops after our verdict, XDP's or -DTC, counted by interface, event and error. */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <bpf/bpf_core_read.h>
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
	unsigned int mtu;
	unsigned int flags;
	unsigned long state;
	unsigned short hard_header_len;
};
struct sk_buff {
	struct net_device *dev;
	unsigned int len;
	unsigned int end;
	int skb_iif;
	unsigned char *head;
	unsigned char *data;
	__u16 mac_header;
	/* Bit fields, there; libbpf knows. */
	__u8 pkt_type;
	__u8 tc_at_ingress;
	__u8 redirected;
};
struct skb_shared_info {
	unsigned short gso_size;
};
#pragma clang attribute pop

/* Frames that the kernel dropped after our verdict. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct drop_key);
	__type(value, struct drop);
	__uint(max_entries, LIMIT_DROPS);
} drops SEC(".maps") __data_plane;

/* The inode of this host's network namespace: hosts may share a kernel, and interface numbers do not tell them apart. */
const volatile __u32 netns = 0;

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

#ifndef TC

#define INDEX_IS_INTERFACE 0x7fffffff /* map_id of a redirect without a map (include/trace/events/xdp.h) */

static __always_inline int is_ours(const struct net_device *device)
{
	return device->nd_net.net->ns.inum == netns;
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

#else

/* What is asked about enums of the running kernel, whose numbers are its own. */
enum skb_drop_reason___kernel {
	SKB_DROP_REASON_TC_INGRESS,
	SKB_DROP_REASON_XDP,
	SKB_DROP_REASON_PACKET_SOCK_ERROR, /* since 6.11 */
	SKB_DROP_REASON_CPU_BACKLOG,
	SKB_DROP_REASON_FULL_RING,
};
enum netdev_state_t___kernel {
	__LINK_STATE_NOCARRIER,
};

#define IS(reason, name)                                                                                               \
	(bpf_core_enum_value_exists(enum skb_drop_reason___kernel, SKB_DROP_REASON_##name) &&                          \
	 (reason) == bpf_core_enum_value(enum skb_drop_reason___kernel, SKB_DROP_REASON_##name))
#define NO_CARRIER (1UL << bpf_core_enum_value(enum netdev_state_t___kernel, __LINK_STATE_NOCARRIER))
#define UP 1 /* IFF_UP of linux/if.h */
#define OUTGOING 4 /* PACKET_OUTGOING of linux/if_packet.h: a copy for who captures packets */
#define VLAN_HLEN 4

static __always_inline bool is_ours(const struct net_device *device)
{
	return BPF_CORE_READ(device, nd_net.net, ns.inum) == netns;
}

/*
 * The other end of a veth, or NULL. What is private to a driver comes behind the device, and begins with the other end
 * if there is one (netkit too): two devices that lead to each other are a pair.
 */
static __always_inline const struct net_device *other_end(const struct net_device *device)
{
	__u32 offset = (bpf_core_type_size(struct net_device) + 31) & ~31; /* netdev_priv() */
	const struct net_device *other = NULL, *back = NULL;

	bpf_probe_read_kernel(&other, sizeof(other), (const void *)device + offset);
	bpf_probe_read_kernel(&back, sizeof(back), (const void *)other + offset);
	return back == device ? other : NULL;
}

/* Whether a device refuses it for its length; one that will be cut is never refused (__is_skb_forwardable). */
static __always_inline bool is_too_long(const struct sk_buff *skb, const struct net_device *device)
{
	const struct skb_shared_info *shared = (const void *)BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end);
	__u32 most = BPF_CORE_READ(device, mtu) + BPF_CORE_READ(device, hard_header_len) + VLAN_HLEN;

	return BPF_CORE_READ(skb, len) > most && !BPF_CORE_READ(shared, gso_size);
}

/* Redirected to `device`, and lost before it was out. What the kernel does not say is seen by the device. */
static __always_inline int count_departure(const struct sk_buff *skb, const struct net_device *device, __u32 reason)
{
	__u32 ifindex = BPF_CORE_READ(device, ifindex);

	if (!(BPF_CORE_READ(device, flags) & UP))
		return count(ifindex, KERNEL_REDIRECT, ENETDOWN, 1);
	if (BPF_CORE_READ(device, state) & NO_CARRIER)
		return count(ifindex, KERNEL_REDIRECT, ENOLINK, 1);
	if (is_too_long(skb, other_end(device) ?: device))
		return count(ifindex, KERNEL_REDIRECT, EMSGSIZE, 1);
	if (IS(reason, FULL_RING) || IS(reason, CPU_BACKLOG))
		return count(ifindex, KERNEL_QUEUE, 0, 1);
	return count(ifindex, KERNEL_FREED, reason, 1);
}

/*
 * Every sk_buff that is not wanted any more, of everybody. Ours are known by `redirected`, which bpf_redirect sets since
 * 6.4 and the receiver's kernel takes back behind its own ingress; by that of others, too, in this namespace: programs
 * of tc, mirred. What other programs drop that see the frame on its way in is not the kernel's doing, nor ours twice.
 */
SEC("tp_btf/kfree_skb")
int BPF_PROG(kfree_skb, const struct sk_buff *skb, const void *location, __u32 reason)
{
	bool redirected = BPF_CORE_READ_BITFIELD(skb, redirected);
	const struct net_device *device;
	__u32 came_in;
	bool at_mac;

	if (!redirected && !BPF_CORE_READ_BITFIELD(skb, tc_at_ingress))
		return 0;
	if (IS(reason, TC_INGRESS) || IS(reason, XDP) || IS(reason, PACKET_SOCK_ERROR) ||
	    BPF_CORE_READ_BITFIELD(skb, pkt_type) == OUTGOING)
		return 0;
	device = BPF_CORE_READ(skb, dev);
	came_in = BPF_CORE_READ(skb, skb_iif);
	at_mac = BPF_CORE_READ(skb, data) == BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, mac_header);
	/* A veth has made it the other end's, where nobody has seen it yet: so that end's queue is full. */
	if (redirected && !came_in) {
		device = at_mac ? NULL : other_end(device); /* XDP over there puts the Ethernet header back first */
		if (!device || !is_ours(device))
			return 0;
		return count(BPF_CORE_READ(device, ifindex), KERNEL_QUEUE, 0, 1);
	}
	if (!is_ours(device))
		return 0;
	if (redirected)
		return count_departure(skb, device, reason);
	/*
	 * To no interface: skb_do_redirect() has forgotten which. Nobody else has a frame that begins with its Ethernet
	 * header and still is where it came in, but who sends it back there by other means than bpf_redirect.
	 */
	return at_mac && came_in == BPF_CORE_READ(device, ifindex) ? count(came_in, KERNEL_REDIRECT, EINVAL, 1) : 0;
}

#endif

char _license[] SEC("license") = "Dual BSD/GPL";
