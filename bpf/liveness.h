/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Probes, which agents send (reconciler/agent/probes.py): answered and heard without one. */
#ifndef RECONCILER_LIVENESS_H
#define RECONCILER_LIVENESS_H

#include "encap.h"

/* RFC 8926's control bit parts probes from packets of endpoints, which never have it. */
static __always_inline bool is_control(const struct tunnel *tunnel)
{
	return tunnel->geneve->flags & GENEVE_CONTROL;
}

/* Nothing but a probe or its answer: no VPC, no frame inside, no other flag. */
static __always_inline int check_probe(struct tunnel *tunnel, __u32 length)
{
	__u8 type = tunnel->option->type;
	int error = check_lengths(tunnel, length);

	if (error)
		return error;
	if (tunnel->geneve->protocol != bpf_htons(ETH_P_TEB) || tunnel->geneve->vni || tunnel->room ||
	    tunnel->geneve->flags != (GENEVE_CONTROL | GENEVE_CRITICAL) || (tunnel->option->words & 0x1f) != 1)
		return -REASON_DROP_MALFORMED;
	if (type != (OPTION_CRITICAL | STAGE_PROBE) && type != (OPTION_CRITICAL | STAGE_ALIVE))
		return -REASON_DROP_MALFORMED;
	return 0;
}

/* From a host that is believed: a probe goes back as its answer, the way that packets to that host go. */
static __always_inline int from_prober(struct frame *frame, struct tunnel *tunnel, const struct host *prober)
{
	struct decision answer = {.host = tunnel->ip->saddr, .host_slot = prober->slot, .stage = STAGE_ALIVE};
	int error = check_probe(tunnel, frame_room(frame, tunnel_end(tunnel)));

	if (error)
		return error;
	if ((tunnel->option->type & OPTION_STAGE) == STAGE_ALIVE) {
		health_heard(prober->slot);
		return REASON_PROBE_HEARD;
	}
	error = relay(frame, tunnel, &answer);
	return error ? error : REASON_PROBE_ANSWERED;
}

#endif
