/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * How many responses one client network is given, as gslb/nameserver/limit.py says: the same hash, the same buckets, the same law.
 *
 * Buckets are shared by all who answer from one memory.  Nothing is atomic: whoever writes last wins, and now and then a response
 * too many is let through.
 */
#pragma once

#include "dns_query.h"

enum dns_limit_verdict {
	DNS_LIMIT_PASS,
	DNS_LIMIT_DROP,
	DNS_LIMIT_SLIP, /* cut, so that only a real client has any use of it */
};

enum dns_limit_bits {
	DNS_LIMIT_NETWORK4 = 24,
	DNS_LIMIT_NETWORK6 = 56,
};

#define DNS_LIMIT_STALE_NS (2ULL * DNS_LIMIT_BURST_NS) /* further ahead than any clock here writes */

/* The set of a hash; 0 where there are none. */
static __always_inline struct dns_limit_bucket *dns_limit_set(const struct dns_context *c, __u64 hash)
{
	__u32 number = hash & (DNS_LIMIT_SETS - 1);

#ifdef __bpf__
	return bpf_map_lookup_elem(c->buckets, &number);
#else
	return c->buckets ? (struct dns_limit_bucket *)c->buckets + number * DNS_LIMIT_WAYS : 0;
#endif
}

/*
 * Where responses of an account to a network are counted: keyed multiplications, since nobody is ever shown such a hash, and anything
 * stronger would be a tenth of what a query takes.
 */
static __always_inline __u64 dns_limit_hash(const struct dns_limit *limit, __u64 network, __u32 account)
{
	__u64 hash = (network ^ account) * (limit->key[1] | 1);

	return hash ^ hash >> 32;
}

/* Of a network: its octets as in memory, zeros behind them, and the family. */
static __always_inline __u64 dns_limit_network(const struct dns_limit *limit, __u64 high, __u64 low)
{
	__u64 hash;

	if (!high && (__u32)low == 0xFFFF0000)
		hash = (low >> 32 & dns_first(DNS_LIMIT_NETWORK4 / 8)) | 4ULL << 56;
	else
		hash = (high & dns_first(DNS_LIMIT_NETWORK6 / 8)) | 6ULL << 56;
	hash = (hash ^ limit->key[0]) * 0xFF51AFD7ED558CCD;
	return hash ^ hash >> 32;
}

/* Asks for the asker's bucket of answers, which nearly all responses are, before it is needed: it comes from memory meanwhile. */
static __always_inline void dns_limit_ahead(struct dns_work *w, const struct dns_context *c,
					    const struct dns_image *image)
{
	const struct dns_limit *limit = &image->limit;
	const struct dns_limit_bucket *bucket;

	w->limited = dns_limit_network(limit, dns_load64(w->source), dns_load64(w->source + 8));
	bucket = dns_limit_set(c, dns_limit_hash(limit, w->limited, 0));
	if (bucket)
		(void)*(const volatile __u64 *)bucket;
}

/* Whether a network is never limited.  Prefixes of IPv4 have 96 bits more; those of IPv6 have no IPv4 address in them. */
static __always_inline int dns_limit_exempt(const struct dns_limit *limit, __u64 high, __u64 low)
{
	int is_v6 = high || (__u32)low != 0xFFFF0000;

	for (int i = 0; i < DNS_EXEMPT_MOST; i++) {
		const struct dns_prefix *one = &limit->exempt[i];

		if (i >= (int)limit->exempts)
			break;
		if ((high & one->mask[0]) == one->address[0] && (low & one->mask[1]) == one->address[1] &&
		    (is_v6 || (__u32)one->mask[1] == 0xFFFFFFFF))
			return 1;
	}
	return 0;
}

/* The bucket of a tag in its set; one that is free or nearest to it becomes its. */
static __always_inline struct dns_limit_bucket *dns_limit_way(struct dns_limit_bucket *set, __u32 tag, __u64 now_ns)
{
	__u64 least = now_ns + DNS_LIMIT_STALE_NS + 1, place = 0;
	struct dns_limit_bucket *chosen = set;

#pragma GCC unroll 4
	for (int i = DNS_LIMIT_WAYS; i > 0; i--) /* of equal ones the first; 0: none */
		place ^= (place ^ i) & dns_if_equal(set[i - 1].tag, tag);
	if (place)
		return &set[place - 1];
#pragma GCC unroll 4
	for (int i = 0; i < DNS_LIMIT_WAYS; i++) {
		__u64 free_at = set[i].free_at;

		if (free_at > now_ns + DNS_LIMIT_STALE_NS)
			free_at = 0;
		if (free_at < least) {
			least = free_at;
			chosen = &set[i];
		}
	}
	chosen->free_at = 0;
	chosen->tag = tag;
	chosen->over = 0;
	return chosen;
}

/* Charges a response to an address: its 16 octets, high and low as in memory, and the hash of its network. */
static __always_inline enum dns_limit_verdict dns_limit_charge(const struct dns_limit *limit,
							       const struct dns_context *c, __u64 high, __u64 low,
							       __u64 network, __u32 account)
{
	__u64 hash, free_at, now_ns = c->now_ns;
	struct dns_limit_bucket *bucket;
	__u32 slip = limit->slip, over;

	if (!limit->interval_ns || dns_limit_exempt(limit, high, low))
		return DNS_LIMIT_PASS;
	hash = dns_limit_hash(limit, network, account);
	bucket = dns_limit_set(c, hash);
	if (!bucket)
		return DNS_LIMIT_PASS;
	bucket = dns_limit_way(bucket, hash >> 32, now_ns);
	free_at = bucket->free_at;
	if (free_at <= now_ns || free_at > now_ns + DNS_LIMIT_STALE_NS)
		free_at = now_ns;
	free_at += limit->interval_ns;
	if (free_at <= now_ns + DNS_LIMIT_BURST_NS) {
		bucket->free_at = free_at;
		return DNS_LIMIT_PASS;
	}
	over = bucket->over + 1;
	bucket->over = over;
	return slip && over % slip == 0 ? DNS_LIMIT_SLIP : DNS_LIMIT_DROP;
}

/* What becomes of the reply that has been prepared; counted by dns_count. */
static __always_inline enum dns_limit_verdict dns_limit(struct dns_work *w, const struct dns_context *c,
							const struct dns_image *image)
{
	enum dns_limit_verdict verdict = DNS_LIMIT_PASS;

	w->over = 0;
	if (!w->cookie_valid)
		verdict = dns_limit_charge(&image->limit, c, dns_load64(w->source), dns_load64(w->source + 8),
					   w->limited, w->account);
	if (verdict == DNS_LIMIT_PASS)
		return DNS_LIMIT_PASS;
	w->over = 1;
	return image->limit.dry_run ? DNS_LIMIT_PASS : verdict;
}
