/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where a client is: the address that decides -> location class and scope, as gslb/geo/table.py has it, and the slot of its network.
 *
 * Standards: RFC 7871 section 7.2.1 (scopes), RFC 3056 section 2 (6to4), RFC 4291 section 2.5.5.2 (v4-mapped), RFC 6052 (64:ff9b::/96).
 */
#pragma once

#include "dns_query.h"

#define DNS_MAPPED 0xFFFFULL		/* ::ffff:0:0/96: bits 64 to 95; those before are 0 */
#define DNS_NAT64 0x0064FF9B00000000ULL /* 64:ff9b::/96: the first 64 bits; the 32 behind them are 0 */
#define DNS_SIX_TO_FOUR 0x2002ULL	/* 2002::/16 */
#define DNS_KEYS_END (1ULL << 56)	/* keys of IPv6 are the first 56 bits */
#define DNS_NEAR 4096			/* ranges of IPv6 that are searched in one chunk */
#define DNS_LAST 8			/* ranges that are looked at one after another */

/* The address that decides: the client subnet's, or else the asker's own. */
static __always_inline void dns_place(struct dns_work *w)
{
	__u64 high, low;
	__u32 v4 = 0;

	if (w->subnet_source) {
		high = __builtin_bswap64(w->subnet_address[0]);
		low = __builtin_bswap64(w->subnet_address[1]);
		v4 = w->subnet_family == DNS_FAMILY_V4;
	} else {
		high = __builtin_bswap64(dns_load64(w->source));
		low = __builtin_bswap64(dns_load64(w->source + 8));
	}
	w->before = 0;
	w->is_v6 = 0;
	if (v4) {
		w->low = high >> 32;
	} else if (high >> 48 == DNS_SIX_TO_FOUR) {
		w->low = (high >> 16) & 0xFFFFFFFF;
		w->before = 16;
	} else if ((!high && low >> 32 == DNS_MAPPED) || (high == DNS_NAT64 && !(low >> 32))) {
		w->low = low & 0xFFFFFFFF;
		w->before = 96;
	} else {
		w->high = high;
		w->low = low;
		w->is_v6 = 1;
	}
}

/*
 * The place, and for IPv4 its entry in the location table: asked for before the name is looked up, since to fetch it from memory takes about
 * as long as that.
 */
static __always_inline void dns_look_ahead(struct dns_work *w, const struct dns_context *c,
					   const struct dns_image *image)
{
	const __u32 *entry;

	dns_place(w);
	w->located4 = 0; /* without IPv4 in the table, all are of class 0 with depth 0 */
	if (w->is_v6 || !image->v4)
		return;
	entry = dns_at(c->geography, image->v4 + (w->low >> 8) * 4, 4);
	w->located4 = entry ? *entry : ~0U; /* a class that no policy has */
}

static __always_inline __u32 dns_locate4(struct dns_work *w)
{
	w->class = w->located4 >> 8;
	w->scope = w->before + (w->located4 & 0xFF);
	return DNS_UP_NONE;
}

/* The least scope that keeps a native IPv6 address apart from embedded IPv4 addresses with the same 56 bits. */
static __always_inline __u32 dns_shared_key_scope(struct dns_work *w)
{
	__u64 rest = (w->high & 0xFF) << 32 | w->low >> 32; /* bits 56 to 95 */

	if (!(w->high >> 8))
		return 97 - dns_bits(rest ^ DNS_MAPPED);
	if (w->high >> 8 == DNS_NAT64 >> 8)
		return 97 - dns_bits(rest);
	return 0;
}

/* Where the start of a range of IPv6 stands in the location table. */
static __always_inline __u64 dns_start_at(const struct dns_image *image, __u64 range)
{
	return image->v6_starts + range * 8;
}

/* Keeps that quarter of a search in which the key is: `passed` of its three inner starts are not above the key. */
static __always_inline void dns_keep_quarter(struct dns_work *w, __u32 base, __u32 ranges, __u32 passed)
{
	__u32 quarter = ranges >> 2;

	DNS_KEPT(w->base) = base + passed * quarter;
	DNS_KEPT(w->ranges) = passed < 3 ? quarter : ranges - 3 * quarter;
}

/* Narrows a search to DNS_NEAR ranges, in one chunk.  Starts are compared by three, which come from memory at the same time. */
static __always_inline __u32 dns_come_near(struct dns_work *w, const struct dns_context *c,
					   const struct dns_image *image, __u64 key)
{
	__u32 base, ranges, beyond;
	const __u64 *start;
	__u64 edge;

	for (int step = 0; step < 12; step++) {
		const __u64 *second, *third;

		ranges = DNS_KEPT(w->ranges);
		base = DNS_KEPT(w->base);
		if (ranges <= DNS_NEAR)
			break;
		start = dns_at(c->geography, dns_start_at(image, base + (ranges >> 2)), 8);
		second = dns_at(c->geography, dns_start_at(image, base + 2 * (ranges >> 2)), 8);
		third = dns_at(c->geography, dns_start_at(image, base + 3 * (ranges >> 2)), 8);
		if (!start || !second || !third)
			return DNS_UP_IMAGE;
		dns_keep_quarter(w, base, ranges, (*start <= key) + (*second <= key) + (*third <= key));
	}
	ranges = DNS_KEPT(w->ranges);
	base = DNS_KEPT(w->base);
	edge = dns_start_at(image, base + ranges) - 1;
	if (ranges > DNS_NEAR)
		return DNS_UP_IMAGE;
	if (!ranges || edge >> DNS_CHUNK_BITS == dns_start_at(image, base) >> DNS_CHUNK_BITS)
		return DNS_UP_NONE;
	/* two chunks: the key is in the one or the other */
	edge &= ~(__u64)(DNS_CHUNK - 1);
	beyond = (edge - image->v6_starts) / 8;
	start = dns_at(c->geography, edge, 8);
	if (!start)
		return DNS_UP_IMAGE;
	if (*start <= key) {
		DNS_KEPT(w->base) = beyond;
		DNS_KEPT(w->ranges) = base + ranges - beyond;
	} else {
		DNS_KEPT(w->ranges) = beyond - base;
	}
	return DNS_UP_NONE;
}

/* Ends a search: w->base becomes the number of the starts that are not above the key. */
static __always_inline __u32 dns_search(struct dns_work *w, const struct dns_context *c, const struct dns_image *image,
					__u64 key)
{
	__u32 begin = DNS_KEPT(w->base), ranges = DNS_KEPT(w->ranges), base, passed = 0;
	struct dns_span span = dns_span(c->geography, dns_start_at(image, begin), 8 * (__u64)ranges);

	if (!span.chunk)
		return DNS_UP_IMAGE;
	for (int step = 0; step < 8; step++) {
		const __u64 *start, *second, *third;

		ranges = DNS_KEPT(w->ranges);
		base = DNS_KEPT(w->base);
		if (ranges <= DNS_LAST)
			break;
		start = dns_in_span(span, 8 * (__u64)(base - begin + (ranges >> 2)), 8);
		second = dns_in_span(span, 8 * (__u64)(base - begin + 2 * (ranges >> 2)), 8);
		third = dns_in_span(span, 8 * (__u64)(base - begin + 3 * (ranges >> 2)), 8);
		dns_keep_quarter(w, base, ranges, (*start <= key) + (*second <= key) + (*third <= key));
	}
	ranges = DNS_KEPT(w->ranges);
	base = DNS_KEPT(w->base);
#pragma GCC unroll 8
	for (__u32 i = 0; i < DNS_LAST; i++)
		if (i < ranges && *(const __u64 *)dns_in_span(span, 8 * (__u64)(base - begin + i), 8) <= key)
			passed = i + 1;
	DNS_KEPT(w->base) = base + passed;
	return DNS_UP_NONE;
}

static __always_inline __u32 dns_locate6(struct dns_work *w, const struct dns_context *c, const struct dns_image *image)
{
	__u64 key = w->high >> 8, bucket = key >> (image->v6_index_shift & 63), before, after;
	const __u32 *first, *last, *class;
	const __u64 *start;
	__u32 base, depth, why;

	w->class = 0;
	w->scope = dns_shared_key_scope(w);
	if (!image->v6_count)
		return DNS_UP_NONE;
	first = dns_at(c->geography, image->v6_index + bucket * 4, 4);
	last = dns_at(c->geography, image->v6_index + bucket * 4 + 4, 4);
	if (!first || !last)
		return DNS_UP_IMAGE;
	DNS_KEPT(w->base) = *first;
	DNS_KEPT(w->ranges) = *last - *first;
	why = dns_come_near(w, c, image, key);
	if (!why)
		why = dns_search(w, c, image, key);
	if (why)
		return why;
	base = DNS_KEPT(w->base) - 1;
	key = DNS_KEPT(w->high) >> 8;
	start = dns_at(c->geography, image->v6_starts + (__u64)base * 8, 8);
	if (!start)
		return DNS_UP_IMAGE;
	before = dns_bits(key ^ ((*start - 1) & (2 * DNS_KEYS_END - 1)));
	start = dns_at(c->geography, image->v6_starts + (__u64)base * 8 + 8, 8);
	class = dns_at(c->geography, image->v6_classes + (__u64)base * 4, 4);
	if (!start || !class)
		return DNS_UP_IMAGE;
	after = dns_bits(key ^ *start);
	depth = 57 - (before < after ? before : after);
	w->class = *class;
	if (depth > w->scope)
		w->scope = depth;
	return DNS_UP_NONE;
}

static __always_inline __u32 dns_locate(struct dns_work *w, const struct dns_context *c, const struct dns_image *image)
{
	return w->is_v6 ? dns_locate6(w, c, image) : dns_locate4(w);
}

/* How many of the first bits an address of IPv6 shares with another. */
static __always_inline __u32 dns_shared(struct dns_work *w, __u64 high, __u64 low)
{
	__u64 other = w->high ^ high;

	return other ? 64 - dns_bits(other) : 128 - dns_bits(w->low ^ low);
}

/* The least scope that keeps a native IPv6 address apart from the prefixes that hold IPv4. */
static __always_inline __u32 dns_apart(struct dns_work *w)
{
	__u32 scope = 0, shared = dns_shared(w, DNS_SIX_TO_FOUR << 48, 0);

	if (shared < 16)
		scope = shared + 1;
	shared = dns_shared(w, 0, DNS_MAPPED << 32);
	if (shared < 96 && shared >= scope)
		scope = shared + 1;
	shared = dns_shared(w, DNS_NAT64, 0);
	if (shared < 96 && shared >= scope)
		scope = shared + 1;
	return scope;
}

/* gslb.model.choice.sticky_slot */
static __always_inline __u32 dns_slot(__u64 network, const struct dns_view *view)
{
	__u64 mixed = (network ^ view->key[0]) * 0xFF51AFD7ED558CCD;

	mixed = (mixed ^ mixed >> 32) * view->key[1];
	return (mixed >> 32) * DNS_CHOICE_SLOTS >> 32;
}

/* The slot of this client's network in one policy, and the scope with it. */
static __always_inline __u32 dns_client_slot(struct dns_work *w, const struct dns_view *view)
{
	__u32 sticky = w->is_v6 ? view->sticky6 : view->sticky4, scope = w->scope - w->before, apart;
	__u64 network;

	if (sticky == DNS_UNSTICKY)
		return dns_slot(dns_read16(w, 0), view);
	if (w->is_v6) {
		network = sticky ? w->high >> ((64 - sticky) & 63) : 0;
		apart = dns_apart(w);
		if (apart > scope)
			scope = apart;
	} else {
		network = w->low >> ((32 - sticky) & 63);
	}
	if (sticky > scope)
		scope = sticky;
	w->scope = scope + w->before;
	return dns_slot(network, view);
}
