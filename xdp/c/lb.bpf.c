// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The balancer: a packet for a VIP goes to the backend of its flow.
 *
 * Rule 1: what becomes of a packet is found out while it is as it came (decide), and only then done; what is passed is untouched.
 * Rule 2: verdicts are PASS, TX, REDIRECT and DROP.  Every packet is counted once: as forwarded, or under its reason.
 * Rule 3: what floods could fill is bounded by a CPU and second, or keeps what is there.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "maps.h"
#include "parse.h"
#include "answer.h"
#include "capture.h"
#include "forward.h"
#include "fragments.h"
#include "handshake.h"
#include "icmp.h"
#include "quic.h"
#include "slots.h"
#include "vip.h"

static __always_inline enum act to_backend(const struct packet *p, struct decision *d)
{
	struct backend *b = bpf_map_lookup_elem(&backends, &d->backend);

	if (!b || b->mode == MODE_NONE || b->flags & BACKEND_UNREACHABLE) {
		d->counted = COUNT_NO_BACKEND;
		return ACT_DROP;
	}
	d->to = b;
	d->overhead = overhead_of(b);
	if (p->octets + d->overhead > b->mtu)
		return ACT_TOO_BIG;
	if (d->overhead && p->ttl <= 1) {
		d->counted = COUNT_TTL;
		return ACT_DROP;
	}
	return ACT_FORWARD;
}

static __always_inline enum act refuse_towards_vip(const struct vip *vip, struct decision *d, enum event_count reason)
{
	if (!vip) {
		d->counted = COUNT_NO_VIP;
		return ACT_PASS;
	}
	d->vip = vip->id;
	d->counted = reason;
	return ACT_DROP;
}

static __always_inline enum act decide_later_fragment(const struct packet *p, const struct settings *s,
						      struct decision *d)
{
	const struct fragmented *first = first_fragment(p);

	if (!first)
		return refuse_towards_vip(find_address(p, s), d, COUNT_FRAGMENT_UNKNOWN);
	d->vip = first->vip;
	d->backend = first->backend;
	d->hash = flow_hash(s, p);
	d->counted = COUNT_FRAGMENTS;
	return to_backend(p, d);
}

/* What is not a whole packet of a flow.  ACT_BALANCE: go on, as with any other. */
static __always_inline enum act decide_unusual(struct xdp_md *ctx, struct packet *p, const struct settings *s,
					       struct decision *d)
{
	if (p->flags & PACKET_DEEP)
		return refuse_towards_vip(find_address(p, s), d, COUNT_EXTENSIONS);
	if (p->flags & PACKET_OPTIONS) {
		const struct vip *vip =
		    p->flags & (PACKET_LATER | PACKET_SHORT) || is_icmp(p) ? find_address(p, s) : find_vip(p, s);

		return refuse_towards_vip(vip, d, COUNT_OPTIONS);
	}
	if (p->flags & PACKET_SHORT)
		return refuse_towards_vip(find_address(p, s), d, COUNT_MALFORMED);
	if (p->flags & PACKET_LATER)
		return decide_later_fragment(p, s, d);
	if (is_icmp(p))
		return decide_icmp(ctx, p, s, d);
	return ACT_BALANCE;
}

static __always_inline enum act decide(struct xdp_md *ctx, struct packet *p, const struct settings *s,
				       struct decision *d)
{
	const struct vip *vip;
	enum act act;

	if (unlikely(p->flags & (PACKET_DEEP | PACKET_OPTIONS | PACKET_SHORT | PACKET_LATER) || is_icmp(p))) {
		act = decide_unusual(ctx, p, s, d);
		if (act != ACT_BALANCE)
			return act;
	}
	vip = find_vip(p, s);
	if (!vip) {
		d->counted = d->error ? COUNT_ICMP_UNKNOWN : COUNT_NO_VIP;
		return ACT_PASS;
	}
	d->counted = d->error ? COUNT_ICMP_FORWARDED : COUNTS;
	d->vip = vip->id;
	d->hash = flow_hash(s, p);
	if (vip->flags & VIP_QUIC && p->to.protocol == IPPROTO_UDP && !d->error)
		d->backend = quic_backend(ctx, p, vip->ring);
	if (d->backend)
		d->counted = COUNT_QUIC_ID;
	else
		d->backend = choose(p, s, d, vip->ring);
	act = to_backend(p, d);
	if (unlikely(p->flags & PACKET_FRAGMENT) && act == ACT_FORWARD)
		remember_fragment(p, d);
	return act;
}

/* Count what was forwarded, by VIP and backend, and follow TCP's handshakes. */
static __always_inline void account(const struct packet *p, const struct settings *s, const struct decision *d)
{
	struct vip_counters *v = bpf_map_lookup_elem(&vip_counts, &d->vip);
	struct backend_counters *b = bpf_map_lookup_elem(&backend_counts, &d->backend);

	if (!v || !b)
		return;
	v->packets++;
	v->octets += p->octets;
	b->packets++;
	b->octets += p->octets;
	if (unlikely(d->counted != COUNTS)) {
		count(d->counted);
		if (d->error)
			v->errors++;
		return;
	}
	if (p->to.protocol == IPPROTO_TCP) {
		follow(p, s, d, v, b);
	} else if (d->udp_began) {
		v->udp_flows++;
		b->udp_flows++;
	}
}

static __always_inline int perform(struct xdp_md *ctx, const struct packet *p, const struct settings *s,
				   const struct decision *d, enum act act)
{
	int verdict;

	switch (act) {
	case ACT_FORWARD:
		verdict = forward(ctx, p, s, d);
		if (verdict != XDP_DROP)
			account(p, s, d);
		return verdict;
	case ACT_TOO_BIG:
		return answer_too_big(ctx, p, d);
	case ACT_ECHO:
		return answer_echo(ctx, p);
	case ACT_DROP:
		count(d->counted);
		return XDP_DROP;
	default:
		count(d->counted);
		return XDP_PASS;
	}
}

SEC("xdp")
int balancer(struct xdp_md *ctx)
{
	struct decision d = {.counted = COUNTS};
	struct capture_event *event;
	struct settings *s;
	struct packet *p;
	__u32 zero = 0;
	enum act act;
	int verdict;

	p = bpf_map_lookup_elem(&scratch, &zero);
	s = bpf_map_lookup_elem(&settings, &zero);
	if (!p || !s)
		return XDP_PASS;
	act = decide(ctx, p, s, &d);
	event = take_snapshot(ctx, &d);
	verdict = perform(ctx, p, s, &d, act);
	if (unlikely(event))
		tell_capture(event, verdict);
	return verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
