/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one way out of a program: it turns a reason into an XDP verdict and counts it. */
#ifndef RECONCILER_VERDICT_H
#define RECONCILER_VERDICT_H

#include "context.h"
#include "maps.h"

/* A frame on its way through a program. */
struct frame {
	context_t *ctx;
	__u32 length; /* as it came: of the first buffer, until frame_room() was asked for more */
	__u32 out; /* the interface it leaves by, if it is forwarded */
	__u32 fits; /* the largest IP packet that would have been sent on, if it is too big */
};

static __always_inline struct frame frame_of(context_t *ctx)
{
	struct frame frame = {.ctx = ctx, .length = context_open(ctx)};

	return frame;
}

/*
 * How long the frame is, if a packet in it ends at `end`. One that ends in the first buffer has nothing but padding in
 * others; who needs no more saves the call, 7 ns of every packet.
 */
static __always_inline __u32 frame_room(struct frame *frame, __u32 end)
{
	if (end > frame->length)
		frame->length = context_length(frame->ctx);
	return frame->length;
}

/* What a reason other than a drop does to the frame. */
static __always_inline int act(const struct frame *frame, __u32 reason)
{
	__u32 out = frame->out;

	if (reason == REASON_PASSED)
		return VERDICT_PASS;
	if (reason == REASON_UNANSWERED || reason == REASON_PROBE_HEARD)
		return VERDICT_DROP;
	/*
	 * Never XDP_TX: a veth tells its other end of such frames only if an XDP program runs there (veth_xdp_flush,
	 * seen up to 6.18), of redirected ones also if it has GRO. What an answer costs more is about 9 ns.
	 */
	asm volatile("" : "+r"(out)); /* or clang chooses where to load from, which the verifier forbids of a context */
	if (reason == REASON_ANSWERED)
		out = frame->ctx->ingress_ifindex;
	return bpf_redirect(out, 0);
}

/* `outcome` is a reason, or the negative of a reason to drop. */
static __always_inline int leave(const struct frame *frame, int outcome)
{
	int verdict = outcome < 0 ? VERDICT_DROP : act(frame, outcome);
	__u32 reason = outcome < 0 ? -outcome : outcome;
	struct count *count;

	if (verdict == VERDICT_REFUSED) {
		verdict = VERDICT_DROP;
		reason = REASON_DROP_HELPER;
	}
	count = bpf_map_lookup_elem(&reasons, &reason);
	if (count) {
		count->packets++;
		count->bytes += frame->length;
	}
	return verdict;
}

#endif
