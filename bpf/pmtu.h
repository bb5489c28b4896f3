/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Path MTU discovery on the underlay: what its routers say about outer packets, which have DF (RFC 1191). */
#ifndef RECONCILER_PMTU_H
#define RECONCILER_PMTU_H

#include "parse.h"
#include "path.h"

#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define PMTU_LEAST (1280 + WIRE_OVERHEAD) /* less would be the end of IPv6 (RFC 8200, 5), and may be a lie */
#define PMTU_AGE 559 /* ten minutes of path_clock(): RFC 1191, 6.3 */

/* The first eight bytes of either: RFC 1191, 4, whose MTU has its upper half zero, and RFC 4443, 3.2. */
struct too_big {
	__u8 type;
	__u8 code;
	__u16 check;
	__be32 mtu;
};

/* The MTU of the way to a host whose uplink has `mtu`. */
static __always_inline __u32 path_mtu(__u32 slot, __u32 mtu)
{
	const void *row = bpf_map_lookup_elem(&path_mtus, &slot);
	struct path_mtu said = {};

	if (!row)
		return mtu;
	row_copy(&said, row, sizeof(said));
	return said.mtu && said.mtu < mtu && (__u16)(path_clock() - said.seen) < PMTU_AGE ? said.mtu : mtu;
}

/* A frame that is not of the tunnel: it may be a router's word about one. It goes to the stack in any case. */
static __always_inline void hear_router(const context_t *ctx)
{
	struct cursor cursor = cursor_of(ctx);
	struct ethernet *ethernet = take(&cursor, sizeof(*ethernet));
	struct iphdr *ip = take(&cursor, sizeof(*ip));
	struct too_big *icmp;
	struct iphdr *quoted;
	struct host_key key;
	struct host host;
	struct path_mtu said = {};
	const void *row;
	__u32 slot;

	if (!ethernet || !ip || ethernet->protocol != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_ICMP ||
	    ip->ihl != 5 || ip->daddr != constants.self || ip->frag_off & bpf_htons(IP_FRAGMENT))
		return;
	icmp = take(&cursor, sizeof(*icmp));
	quoted = take(&cursor, sizeof(*quoted));
	if (!icmp || !quoted || icmp->type != ICMP_UNREACHABLE || icmp->code != ICMP_FRAGMENTATION_NEEDED)
		return;
	if (quoted->version != 4 || quoted->protocol != IPPROTO_UDP || quoted->saddr != constants.self)
		return;
	key.address = quoted->daddr;
	row = bpf_map_lookup_elem(&hosts, &key);
	if (!row)
		return;
	row_copy(&host, row, sizeof(host));
	said.mtu = bpf_ntohl(icmp->mtu) & 0xffff;
	if (!said.mtu)
		return; /* from before RFC 1191 */
	if (said.mtu < PMTU_LEAST)
		said.mtu = PMTU_LEAST;
	said.seen = path_clock();
	slot = host.slot;
	row = bpf_map_lookup_elem(&path_mtus, &slot);
	if (row)
		row_copy((void *)row, &said, sizeof(said));
}

#endif
