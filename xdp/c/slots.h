/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a flow's slot to its backend.
 *
 * A slot without a previous backend sends all to its current one: nothing is remembered of TCP, and of UDP a tag, so that flows can be
 * told from new ones when the slot changes.  A slot with a previous backend:
 *
 *     TCP   a SYN is remembered in new_flows and goes to the current backend; if that cannot be (the CPU's limit, the map) it goes
 *           where its later packets will go.  Any other packet: what new_flows says, else the previous one.
 *     UDP   a flow that was seen within UDP_LIVE stays with the backend that it had; any other goes to the current one.
 *     else  the current one.
 *
 * A backend that is down keeps nothing.  When a packet goes elsewhere than to the current backend, the time is noted in ring_uses, so
 * that user space sees when a previous backend is no longer needed.
 */
#pragma once

#include "decision.h"
#include "hash.h"
#include "limits.h"

enum ages {
	UDP_LIVE = 14,	/* coarse units: 60 s */
	UDP_SILENT = 2, /* coarse units: another flow may take the place */
};

static __always_inline int is_usable(__u32 id)
{
	const struct backend *b = bpf_map_lookup_elem(&backends, &id);

	return b && b->mode != MODE_NONE && !(b->flags & BACKEND_DOWN);
}

static __always_inline void note_use(__u32 ring, __u32 slot)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&ring_uses, &ring);
	struct ring_use *use;
	__u16 now;

	if (!inner)
		return;
	use = bpf_map_lookup_elem(inner, &zero);
	if (!use || slot >= RING_SLOTS)
		return;
	now = coarse_now();
	if (use->at[slot] != now)
		use->at[slot] = now;
}

static __always_inline int is_new(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Remember that a flow began with `backend`; 0 where it cannot be. */
static __always_inline int remember(const struct settings *s, __u64 hash, __u16 backend)
{
	__u64 now = bpf_ktime_get_ns();
	struct new_flow flow = {.backend = backend, .seen_s = now / 1000000000};

	return allowed(LIMIT_NEW_FLOWS, s->new_flows_per_s, now) &&
	       !bpf_map_update_elem(&new_flows, &hash, &flow, BPF_ANY);
}

static __always_inline __u32 choose_tcp(const struct packet *p, const struct settings *s, struct decision *d,
					struct slot slot)
{
	const struct new_flow *flow;
	__u32 kept = slot.previous;

	if (is_new(p) && remember(s, d->hash, slot.current))
		return slot.current;
	flow = bpf_map_lookup_elem(&new_flows, &d->hash);
	if (flow)
		kept = flow->backend;
	if (!is_usable(kept))
		return slot.current;
	if (is_new(p) && !flow)
		count(COUNT_NEW_FLOWS_FULL);
	return kept;
}

static __always_inline __u32 choose_udp(struct decision *d, struct slot slot)
{
	__u32 index = index_of(d->hash), tag = udp_tag_of(d->hash, d->vip);
	struct udp_flow *flow = bpf_map_lookup_elem(&udp_flows, &index);
	__u16 now = coarse_now(), age;
	__u32 chosen = slot.current;
	int mine;

	if (!flow)
		return chosen;
	age = now - flow->seen;
	mine = flow->tag == tag;
	if (unlikely(slot.previous) && mine && age <= UDP_LIVE) {
		__u32 kept = flow->backend;

		if (kept != chosen && is_usable(kept))
			chosen = kept;
	}
	if (d->error)
		return chosen;
	if (!mine) {
		if (flow->tag && age < UDP_SILENT)
			return chosen;
		flow->tag = tag;
	}
	d->udp_began = !mine || age > UDP_LIVE;
	if (flow->backend != chosen)
		flow->backend = chosen;
	if (flow->seen != now)
		flow->seen = now;
	return chosen;
}

/* The backend of a flow in a ring; 0: none. */
static __always_inline __u32 choose(const struct packet *p, const struct settings *s, struct decision *d, __u32 ring_id)
{
	__u32 zero = 0, at = slot_of(d->hash), chosen;
	void *inner = bpf_map_lookup_elem(&rings, &ring_id);
	const struct ring *ring;
	struct slot slot;

	if (!inner)
		return 0;
	ring = bpf_map_lookup_elem(inner, &zero);
	if (!ring || at >= RING_SLOTS)
		return 0;
	slot = ring->slots[at];
	if (p->to.protocol == IPPROTO_UDP)
		chosen = choose_udp(d, slot);
	else if (unlikely(slot.previous) && p->to.protocol == IPPROTO_TCP)
		chosen = choose_tcp(p, s, d, slot);
	else
		return slot.current;
	if (unlikely(chosen != slot.current))
		note_use(ring_id, at);
	return chosen;
}
