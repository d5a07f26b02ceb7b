/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sampled queries: what is told of one, as gslb/nameserver/queryevents.py tells of those that the reference answers.
 *
 * Rule 1: of a client only its network is told: the first 24 bits of an IPv4 address, the first 56 of an IPv6 address.
 * Rule 2: a query that is not told of costs a comparison, and nothing at all where nobody listens.
 */
#pragma once

#include "dns_query.h"
#include "layout.h"

enum dns_event_sizes {
	DNS_SECOND_BITS = 30, /* of nanoseconds: what is about a second */
	DNS_RECORD = 12,      /* octets of a record with a compressed name, before its data */
	DNS_SUBNET4_BITS = 24,
	DNS_SUBNET6_BITS = 56,
};

/* Whether the next query is to be told of: one of `one_in`, and at most `per_s` a second. */
static __always_inline int dns_is_sampled(struct dns_sampling *s, __u32 one_in, __u32 per_s, __u64 now_ns)
{
	__u64 second = now_ns >> DNS_SECOND_BITS;

	if (++s->seen < one_in)
		return 0;
	s->seen = 0;
	if (s->second != second) {
		s->second = second;
		s->told = 0;
	}
	if (s->told >= per_s) {
		s->lost++;
		return 0;
	}
	s->told++;
	return 1;
}

/* The address in the first record of a reply, where that is what was asked for. */
static __always_inline void dns_tell_address(struct dns_event *e, struct dns_work *w)
{
	__u32 record = w->behind, octets;

	if (!dns_read16(w, 6) || (dns_read16(w, record) & 0xc000) != 0xc000 || dns_read16(w, record + 2) != w->type)
		return;
	octets = dns_read16(w, record + DNS_RECORD - 2);
	if ((w->type != 1 || octets != 4) && (w->type != 28 || octets != 16))
		return;
	e->flags |= DNS_EVENT_ADDRESS;
	e->address[0] = dns_load64(dns_octet(w, record + DNS_RECORD));
	if (octets == 4)
		e->address[0] &= dns_first(4);
	else
		e->address[1] = dns_load64(dns_octet(w, record + DNS_RECORD + 8));
}

/* What became of a query that dns_answer did not pass up; `unix_ns` is when. */
static __always_inline void dns_tell(struct dns_event *e, struct dns_work *w, __u64 unix_ns)
{
	const __u64 *source = (const void *)w->source;
	int is_mapped = !source[0] && (__u32)source[1] == 0xffff0000;
	__u32 most;

	__builtin_memset(e, 0, sizeof(*e));
	e->at_ns = unix_ns;
	e->client = is_mapped ? (source[1] >> 32) & dns_first(3) : source[0] & dns_first(7);
	e->type = w->type;
	e->name_octets = w->name_octets;
	e->flags = is_mapped ? 0 : DNS_EVENT_CLIENT6;
	if (w->subnet) {
		int is_v4 = w->subnet_family == 1;

		most = is_v4 ? DNS_SUBNET4_BITS : DNS_SUBNET6_BITS;
		e->subnet = w->subnet_address[0] & dns_first(is_v4 ? 3 : 7);
		e->subnet_bits = w->subnet_source < most ? w->subnet_source : most;
		e->scope = w->subnet_source ? w->scope : 0;
		e->flags |= is_v4 ? DNS_EVENT_SUBNET : DNS_EVENT_SUBNET | DNS_EVENT_SUBNET6;
	}
	e->flags |= w->opt_do ? DNS_EVENT_DO : 0;
	e->flags |= w->cookie_octets ? DNS_EVENT_COOKIE : 0;
	e->flags |= w->cookie_valid ? DNS_EVENT_COOKIE_VALID : 0;
	__builtin_memcpy(e->name, w->name, DNS_EVENT_NAME);
	if (w->verdict != DNS_REPLY) {
		e->flags |= DNS_EVENT_DROPPED;
		return;
	}
	e->rcode = w->sent == DNS_SENT_BADCOOKIE ? DNS_BADCOOKIE : w->message[3] & 15;
	e->flags |= w->message[2] & 2 ? DNS_EVENT_TRUNCATED : 0;
	dns_tell_address(e, w);
}
