/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map of the XDP programs, and whose it is. */
#ifndef RECONCILER_MAPS_H
#define RECONCILER_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "tags.h"

/* Where an overlay address is: local endpoints, gateways, and on bouncers every endpoint of their networks. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint);
	__uint(max_entries, LIMIT_ENDPOINTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} endpoints SEC(".maps") __owned;

/* Which network of a VPC holds an address: dividers only. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct network_key);
	__type(value, struct network);
	__uint(max_entries, LIMIT_NETWORKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} networks SEC(".maps") __owned;

/* Which hosts bounce a network. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct bouncer_key);
	__type(value, struct host_set);
	__uint(max_entries, LIMIT_NETWORKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} bouncers SEC(".maps") __owned;

/* Which hosts divide a VPC. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct divider_key);
	__type(value, struct host_set);
	__uint(max_entries, LIMIT_VPCS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} dividers SEC(".maps") __owned;

/* Underlay addresses that are believed, and their slots. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct host_key);
	__type(value, struct host);
	__uint(max_entries, LIMIT_HOSTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} hosts SEC(".maps") __owned;

/* The way to a host on the underlay, by host slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct next_hop);
	__uint(max_entries, LIMIT_HOSTS);
	__uint(map_flags, BPF_F_MMAPABLE); /* written word by word */
} next_hops SEC(".maps") __owned;

/* Underlay interfaces of this host. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct uplink);
	__uint(max_entries, LIMIT_UPLINKS);
	__uint(map_flags, BPF_F_MMAPABLE); /* written word by word */
} uplinks SEC(".maps") __owned;

/* Their MACs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct uplink_mac);
	__uint(max_entries, LIMIT_UPLINKS);
	__uint(map_flags, BPF_F_MMAPABLE); /* written word by word */
} uplink_macs SEC(".maps") __owned;

/* Whose interface a frame came in on. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct interface_key);
	__type(value, struct interface);
	__uint(max_entries, LIMIT_INTERFACES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} interfaces SEC(".maps") __owned;

/* The virtual router's addresses in a network: where its ICMP errors come from. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct router_key);
	__type(value, struct router);
	__uint(max_entries, LIMIT_NETWORKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} routers SEC(".maps") __owned;

/* Learned shortcuts to the hosts of remote endpoints. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct endpoint_key);
	__type(value, struct path);
	__uint(max_entries, LIMIT_PATHS);
} paths SEC(".maps") __collected;

/* Which hosts are alive, by host slot: when each was heard, and what the agent makes of it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct health);
	__uint(max_entries, LIMIT_HOSTS);
	__uint(map_flags, BPF_F_MMAPABLE);
} health SEC(".maps") __shared;

/* What decisions about flows rest on: they hold while these rows are as they were. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, GENERATION_COUNT);
} generations SEC(".maps") __shared;

/* Packets and bytes of each local endpoint, by counter slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct traffic);
	__uint(max_entries, LIMIT_COUNTERS);
} counters SEC(".maps") __data_plane;

/* What routers of the underlay said that they take, by host slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct path_mtu);
	__uint(max_entries, LIMIT_HOSTS);
} path_mtus SEC(".maps") __cache;

/* How many ICMP errors each local endpoint may still get, by counter slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct allowance);
	__uint(max_entries, LIMIT_COUNTERS);
} errors SEC(".maps") __cache;

/* Packets and bytes of each verdict. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32); /* enum reason: the kernel keeps the layout of arrays with keys of integers only */
	__type(value, struct count);
	__uint(max_entries, REASON_COUNT);
} reasons SEC(".maps") __data_plane;

const volatile struct constants constants;

#endif
