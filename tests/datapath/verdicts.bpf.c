// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Verdicts that the project's programs never give, and a way to give those frames again and again. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
} target SEC(".maps");

const volatile __u8 macs[12];
__u64 dropped; /* by drop() and shoot() */

SEC("xdp.frags")
int none(struct xdp_md *ctx)
{
	return 99;
}

SEC("xdp.frags")
int reflect(struct xdp_md *ctx)
{
	return XDP_TX;
}

SEC("xdp.frags")
int drop(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&dropped, 1);
	return XDP_DROP;
}

SEC("tc")
int shoot(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&dropped, 1);
	return TC_ACT_SHOT;
}

/* As busy as an endpoint's kernel may be: some 20 us for each frame. */
SEC("tc")
int dawdle(struct __sk_buff *skb)
{
	__u64 begin = bpf_ktime_get_ns();

	for (int i = 0; i < 2000; i++)
		if (bpf_ktime_get_ns() - begin > 20000)
			break;
	return TC_ACT_SHOT;
}

/* A live frame comes back as the run before left it: with its own MACs again it goes to the target. */
SEC("xdp.frags")
int again(struct xdp_md *ctx)
{
	__u8 *to = (void *)(long)ctx->data;

	if ((void *)(to + sizeof(macs)) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < sizeof(macs); i++)
		to[i] = macs[i];
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "Dual BSD/GPL";
