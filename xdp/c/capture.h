/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Packets for people to look at: one in so many of those that concern a VIP, as they came, with what became of them.  While nobody
 * captures it costs one load.
 */
#pragma once

#include "decision.h"
#include "maps.h"
#include "parse.h"

static __always_inline int is_wanted(const struct capture *c, const struct decision *d)
{
	if (!d->vip || (c->vip && c->vip != d->vip) || bpf_ktime_get_coarse_ns() / 1000000000 >= c->until_s)
		return 0;
	return ((__u64)bpf_get_prandom_u32() * c->one_in) >> 32 == 0;
}

/* Keep the packet as it came; 0 where it is not to be captured. */
static __always_inline struct capture_event *take_snapshot(struct xdp_md *ctx, const struct decision *d)
{
	__u32 zero = 0, octets, kept;
	const struct capture *c = bpf_map_lookup_elem(&capture, &zero);
	struct capture_event *event;

	if (!c || likely(!c->one_in) || !is_wanted(c, d))
		return 0;
	event = bpf_map_lookup_elem(&snapshot, &zero);
	if (!event)
		return 0;
	octets = frame_octets(ctx);
	kept = octets < SNAP_OCTETS ? octets : SNAP_OCTETS;
	asm volatile("" : "+r"(kept)); /* the bounds below are of this register, for the verifier */
	/* 1 to SNAP_OCTETS, in a way that Linux 6.1 sees: it learns nothing by != 0 */
	kept = ((kept - 1) & (SNAP_OCTETS - 1)) + 1;
	if (bpf_xdp_load_bytes(ctx, 0, event->data, kept))
		return 0;
	event->at_ns = bpf_ktime_get_ns();
	event->vip = d->vip;
	event->backend = d->backend;
	event->octets = octets;
	event->captured = kept;
	return event;
}

static __always_inline void tell_capture(struct capture_event *event, int verdict)
{
	event->verdict = verdict;
	if (bpf_ringbuf_output(&captured, event, sizeof(*event), 0))
		count(COUNT_EVENTS_LOST);
}
