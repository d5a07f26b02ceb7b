/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Handshakes of TCP as they pass, one way: the time from a client's SYN to its ACK, and SYNs that had to be resent.
 *
 * A SYN takes the place that its flow's hash gives in `handshakes`, unless another took it less than HELD_US ago: so a flood cannot
 * evict an honest one, it only keeps later ones from being followed, and those are counted.  The tag is of the flow and of the sequence
 * number that the ACK will have, so that the SYN again has it, and the first ACK, and next to nothing else.  Races between CPUs cost
 * at most one sample: a place is read and written as one word.
 * A resent SYN is counted once a handshake; since its time is not known, it tells none (Karn's algorithm, RFC 6298 section 3).  Nor
 * does an ACK that carries data, or one after MOST_RTT_US: then the backend's SYN-ACK was resent.
 */
#pragma once

#include "decision.h"
#include "hash.h"
#include "limits.h"
#include "tracked.h"

enum handshake_times {
	HELD_US = 1500000,
	AHEAD_US = 1000, /* what another CPU wrote may be later than this one's clock reading, and RESENT adds 1 */
	MOST_RTT_US = 900000,
	RESENT = 1, /* bit of at_us */
};

union handshake_word {
	struct handshake is;
	__u64 word;
};

static __always_inline __u32 handshake_tag(const struct packet *p, __u64 hash, __u32 syn)
{
	__u32 tag = tag_of(hash) ^ (bpf_ntohl(p->sequence) + syn);

	return tag ? tag : 1;
}

static __always_inline void syn_seen(const struct packet *p, __u64 hash, struct vip_counters *v,
				     struct backend_counters *b)
{
	__u32 index = index_of(hash), now = bpf_ktime_get_ns() / 1000;
	__u64 *at = bpf_map_lookup_elem(&handshakes, &index);
	union handshake_word found, mine = {.is = {.tag = handshake_tag(p, hash, 1), .at_us = now & ~RESENT}};

	v->syns++;
	b->syns++;
	if (!at)
		return;
	found.word = *at;
	if (found.is.tag == mine.is.tag) {
		if (!(found.is.at_us & RESENT)) {
			v->resent_syns++;
			b->resent_syns++;
		}
		mine.is.at_us |= RESENT;
	} else if (found.is.tag && now + AHEAD_US - found.is.at_us <= HELD_US + AHEAD_US) {
		v->untracked_syns++;
		b->untracked_syns++;
		return;
	}
	*at = mine.word;
}

static __always_inline void tell(const struct packet *p, const struct settings *s, const struct decision *d,
				 __u32 rtt_us, __u64 now)
{
	struct handshake_event event = {.rtt_us = rtt_us, .vip = d->vip, .backend = d->backend};

	if (!allowed(LIMIT_EVENTS, s->events_per_s, now))
		return;
	__builtin_memcpy(event.client, p->source, sizeof(event.client));
	if (bpf_ringbuf_output(&handshake_log, &event, sizeof(event), BPF_RB_NO_WAKEUP))
		count(COUNT_EVENTS_LOST);
}

static __always_inline void ack_seen(const struct packet *p, const struct settings *s, const struct decision *d,
				     struct vip_counters *v, struct backend_counters *b)
{
	__u32 index = index_of(d->hash), rtt;
	__u64 *at = bpf_map_lookup_elem(&handshakes, &index), now;
	union handshake_word found;

	if (!at)
		return;
	found.word = *at;
	if (likely(found.is.tag != handshake_tag(p, d->hash, 0))) {
		if (is_tracked(s, d->hash))
			track_on(d);
		return;
	}
	*at = 0;
	v->handshakes++;
	b->handshakes++;
	if (is_tracked(s, d->hash))
		track(s, d);
	if (found.is.at_us & RESENT || p->payload < p->l3 + p->octets)
		return;
	now = bpf_ktime_get_ns();
	rtt = (__u32)(now / 1000) - found.is.at_us;
	if (rtt <= MOST_RTT_US)
		tell(p, s, d, rtt, now);
}

static __always_inline void follow(const struct packet *p, const struct settings *s, const struct decision *d,
				   struct vip_counters *v, struct backend_counters *b)
{
	__u8 flags = p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST);

	if (flags == TCP_ACK)
		ack_seen(p, s, d, v, b);
	else if ((flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		syn_seen(p, d->hash, v, b);
	else if (flags & (TCP_FIN | TCP_RST) && is_tracked(s, d->hash))
		untrack(d);
}
