/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A sample of TCP connections, from which user space estimates how many there are.
 *
 * A flow is of the sample where the bits 32..47 of its hash that settings.track_mask has are 0: so one of track_mask + 1.  It is
 * entered by the ACK that ends its handshake, never by a packet that anybody may make up; later packets say that it lives, and the
 * client's FIN or RST takes it out.  An entry holds the mask by which it came in, and so for how many connections it stands, also
 * after the mask has changed: user space takes out what a larger mask leaves out.  Where the map is full a flow is not entered, and
 * user space, which looks every second, widens the mask.
 */
#pragma once

#include "decision.h"
#include "hash.h"
#include "maps.h"

static __always_inline int is_tracked(const struct settings *s, __u64 hash)
{
	return !((__u32)(hash >> 32) & s->track_mask);
}

static __always_inline void track(const struct settings *s, const struct decision *d)
{
	struct tracked flow = {.backend = d->backend, .vip = d->vip, .mask = s->track_mask, .seen = coarse_now()};

	bpf_map_update_elem(&tracked, &d->hash, &flow, BPF_ANY);
}

/* A later packet of the flow, which may have gone to another backend than before. */
static __always_inline void track_on(const struct decision *d)
{
	struct tracked *flow = bpf_map_lookup_elem(&tracked, &d->hash);
	__u16 now;

	if (!flow)
		return;
	now = coarse_now();
	if (flow->seen != now)
		flow->seen = now;
	if (unlikely(flow->backend != d->backend))
		flow->backend = d->backend;
}

static __always_inline void untrack(const struct decision *d)
{
	bpf_map_delete_elem(&tracked, &d->hash);
}
