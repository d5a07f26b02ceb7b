/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What became of queries, counted as the reference counts (gslb/nameserver/counters.py, given.py). */
#pragma once

#include "dns_query.h"

static __always_inline enum dns_qtype dns_qtype(__u32 type)
{
	switch (type) {
	case 1:
		return DNS_QTYPE_A;
	case 28:
		return DNS_QTYPE_AAAA;
	case 2:
		return DNS_QTYPE_NS;
	case 6:
		return DNS_QTYPE_SOA;
	case 16:
		return DNS_QTYPE_TXT;
	case 65:
		return DNS_QTYPE_HTTPS;
	case 15:
		return DNS_QTYPE_MX;
	default:
		return DNS_QTYPE_OTHER;
	}
}

/* Counts in one of the numbers behind struct dns_counts: cells, then marks. */
static __always_inline void dns_count_at(const struct dns_context *c, __u64 index)
{
	__u64 *number = dns_at(c->block, c->block_at + sizeof(struct dns_counts) + 8 * index, 8);

	if (number)
		*number += 1;
}

/* Counts what dns_answer found out about a query, once. */
static __always_inline void dns_count(const struct dns_work *w, const struct dns_context *c)
{
	struct dns_counts *counts = dns_at(c->block, c->block_at, DNS_COUNTS_ROOM);
	__u32 outcome = w->outcome;

	if (!counts)
		return;
	if (w->verdict == DNS_UP) {
		__u32 up = w->up;

		if (up < DNS_UPS)
			counts->up[up] += 1;
		return;
	}
	if (w->verdict == DNS_DROP)
		outcome = DNS_COUNTER_LIMITED;
	else if (w->sent == DNS_SENT_BADCOOKIE)
		outcome = DNS_COUNTER_BADCOOKIE;
	counts->counter[DNS_COUNTER_FAST] += 1;
	counts->counter[outcome & (DNS_COUNTERS - 1)] += 1;
	counts->counter[DNS_COUNTER_OVER_LIMIT] += w->over;
	counts->counter[DNS_COUNTER_ECS] += !!w->subnet;
	counts->counter[DNS_COUNTER_COOKIES] += !!w->cookie_octets;
	counts->counter[DNS_COUNTER_COOKIES_VALID] += w->cookie_valid;
	counts->qtype[dns_qtype(w->type)] += 1;
	if (w->asked)
		dns_count_at(c, w->asked - 1);
	if (w->verdict == DNS_DROP)
		return;
	counts->counter[DNS_COUNTER_SLIPPED] += w->slipped;
	counts->counter[DNS_COUNTER_TRUNCATED] += w->sent == DNS_SENT_TRUNCATED;
	if (w->sent != DNS_SENT_WHOLE)
		return;
	if (w->mark)
		dns_count_at(c, w->mark - 1);
	if (w->cell)
		dns_count_at(c, w->cell - 1);
}
