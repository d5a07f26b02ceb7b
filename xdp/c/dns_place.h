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
#define DNS_NO_ENTRY 0xFFFFFF00U	/* its class has no ranking */

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
 * The entry of an IPv4 address: of the run in which its /24 is, found without a branch (gslb/geo/lines.py).  Where the table does not
 * hold together, a class that no policy has.
 */
static __always_inline __u32 dns_entry4(const struct dns_context *c, const struct dns_image *image, __u32 address)
{
	const __u64 *place = dns_at(c->geography, image->v4_index + (__u64)(address >> 16) * 8, 8);
	__u32 network = (address >> 8) & 0xFF, word = network >> 6;
	__u64 bitmap, run;
	const __u64 *begins;
	const __u16 *number;
	const __u32 *entry;

	if (!place)
		return DNS_NO_ENTRY;
	bitmap = (*place >> 24) & 0xFFFF;
	begins = dns_at(c->geography, image->v4_bitmaps + bitmap * DNS_V4_BITMAP + 8 * word, 8);
	if (!begins)
		return DNS_NO_ENTRY;
	run = *place >> 40;
	run += ((*place << 8) >> (8 * word)) & 0xFF; /* bits in the words before */
	run += dns_ones(*begins << (63 - (network & 63)));
	number = dns_at(c->geography, image->v4_runs + run * 2, 2);
	if (!number)
		return DNS_NO_ENTRY;
	entry = dns_at(c->geography, image->v4_entries + (__u64)*number * 4, 4);
	return entry ? *entry : DNS_NO_ENTRY;
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

/* How many of a line's keys are not above `key`, but for the first, which never is.  No branches, since nobody could foretell them. */
static __always_inline __u32 dns_passed(const __u64 *line, __u64 key)
{
	__u64 passed = 0;

#pragma GCC unroll 8
	for (int i = 1; i < DNS_V6_KEYS; i++)
		passed += (line[i] - 1 - key) >> 63; /* both are below 2^63 */
	return passed;
}

/* The leaf in which the range of `key` is. */
static __always_inline const struct dns_v6_leaf *dns_search(struct dns_work *w, const struct dns_context *c,
							    const struct dns_image *image, __u64 key)
{
	DNS_KEPT(w->base) = 0;
	for (__u32 level = 0; level < DNS_V6_LEVELS; level++) {
		__u32 base = DNS_KEPT(w->base);
		const __u64 *line;

		if (level >= image->v6_levels)
			break;
		line = dns_at(c->geography, image->v6_level[level] + (__u64)base * LINE, LINE);
		if (!line)
			return 0;
		DNS_KEPT(w->base) = DNS_V6_KEYS * base + dns_passed(line, key);
	}
	return dns_at(c->geography, image->v6_leaves + (__u64)DNS_KEPT(w->base) * LINE, LINE);
}

/* Which of a leaf's ranges begins so far, in its units, from the first of them, or next before that; of equal ones the last. */
static __always_inline __u32 dns_range(const struct dns_v6_leaf *leaf, __u64 far)
{
	__u64 passed = 0;

#pragma GCC unroll 12
	for (int i = 1; i < DNS_V6_RANGES; i++)
		passed += (leaf->step[i] - 1 - far) >> 63; /* both are below 2^63 */
	return passed;
}

/* The entry of an IPv6 address: its class and scope, which is the depth at least that its range has among its neighbours. */
static __always_inline __u32 dns_entry6(struct dns_work *w, const struct dns_image *image,
					const struct dns_v6_leaf *leaf)
{
	__u32 scope = dns_shared_key_scope(w), depth, shift, place;
	__u64 key = w->high >> 8, first, start, next, before, after;

	if (!image->v6_leaves)
		return scope;
	if (!leaf)
		return DNS_NO_ENTRY;
	first = leaf->first & (DNS_KEYS_END - 1);
	shift = leaf->first >> DNS_V6_SHIFT_AT & 63;
	place = dns_range(leaf, (key - first) >> shift);
	if (leaf->number[place] == DNS_BEYOND)
		return DNS_NO_ENTRY;
	start = first + ((__u64)leaf->step[place] << shift);
	next = place + 1 < DNS_V6_RANGES ? first + ((__u64)leaf->step[place + 1] << shift) : leaf->end;
	before = dns_bits(key ^ ((start - 1) & (2 * DNS_KEYS_END - 1)));
	after = dns_bits(key ^ next);
	depth = 57 - (before < after ? before : after);
	return (__u32)leaf->number[place] << 8 | (depth > scope ? depth : scope);
}

/*
 * The place, and what says where it is: asked for before the name is looked up, since to fetch the one from memory takes about as long
 * as the other.  Of IPv6 the leaf is only asked for: what is reckoned from it would keep a processor from going on meanwhile.
 */
static __always_inline void dns_look_ahead(struct dns_work *w, struct dns_context *c, const struct dns_image *image)
{
	dns_place(w);
	c->leaf = 0;
	if (!w->is_v6) {
		/* without IPv4 in the table, all are of class 0 with depth 0 */
		w->located = w->before + (image->v4_index ? dns_entry4(c, image, w->low) : 0);
	} else if (image->v6_leaves) {
		c->leaf = dns_search(w, c, image, w->high >> 8);
		if (c->leaf)
			(void)*(const volatile __u64 *)c->leaf;
	}
}

static __always_inline void dns_locate(struct dns_work *w, const struct dns_context *c, const struct dns_image *image)
{
	__u32 located = w->is_v6 ? dns_entry6(w, image, c->leaf) : w->located;

	w->class = located >> 8;
	w->scope = located & 0xFF;
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
