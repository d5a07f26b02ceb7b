/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A name is found, or its closest encloser: the longest of its ends that exists.
 *
 * The hash runs over words of 8 octets of the lowered name, zeros behind it.  Its low bits say the bucket where a search begins, the
 * high 32 are the tag.  Buckets are filled slot by slot, and a search ends at the first that is not full.
 */
#pragma once

#include "dns_query.h"

enum dns_found {
	DNS_FOUND_NONE,
	DNS_FOUND_NODE,
	DNS_FOUND_UNSURE,
};

/* A word of the lowered name. */
static __always_inline __u64 dns_name_word(struct dns_work *w, __u32 at)
{
	return dns_load64(w->name + DNS_CUT_TO(at, DNS_NAME_MASK));
}

static __always_inline __u64 dns_hash_word(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0x9E3779B97F4A7C15;
	return hash ^ hash >> 32;
}

static __always_inline __u64 dns_hash_end(__u64 hash, __u32 octets)
{
	hash = (hash ^ octets) * 0xFF51AFD7ED558CCD;
	return hash ^ hash >> 32;
}

/* The name lowered, with zeros behind it up to a word more, which ends that begin anywhere may read; and its hash. */
static __always_inline void dns_lower_name(struct dns_work *w, __u64 seed)
{
	__u32 octets = w->name_octets;
	__u64 hash = seed;

	for (__u32 at = 0; at < DNS_NAME_MOST; at += 8) {
		__u64 word;

		if (at >= octets)
			break;
		word = dns_lowered(dns_load64(dns_octet(w, DNS_HEADER + at))) & dns_first(octets - at);
		dns_store64(w->name + at, word);
		hash = dns_hash_word(hash, word);
	}
	dns_store64(w->name + DNS_CUT_TO(octets + 7, DNS_NAME_AFTER & ~7), 0);
	w->hash = dns_hash_end(hash, octets);
}

/* Of the name's end from octet `from` on. */
static __always_inline __u64 dns_hash_name(struct dns_work *w, __u32 from, __u64 seed)
{
	__u64 hash = seed;
	__u32 octets = w->name_octets;

	for (__u32 at = from, words = 0; words < DNS_NAME_MOST / 8; words++, at += 8) {
		if (at >= octets)
			break;
		hash = dns_hash_word(hash, dns_name_word(w, at));
	}
	return dns_hash_end(hash, octets - from);
}

static __always_inline int dns_is_named(struct dns_work *w, __u32 from, const struct dns_node *node)
{
	__u32 octets = w->name_octets;

	if (node->octets != octets - from)
		return 0;
	for (__u32 at = 0; at < DNS_NAME_MOST; at += 8) {
		if (from + at >= octets)
			break;
		if (dns_load64(node->name + at) != dns_name_word(w, from + at))
			return 0;
	}
	return 1;
}

/* Looks up the name's end from octet `from` on. */
static __always_inline enum dns_found dns_find(struct dns_work *w, const struct dns_context *c,
					       const struct dns_image *image, __u32 from, const struct dns_node **named)
{
	__u64 hash = from ? dns_hash_name(w, from, image->seed) : w->hash;
	__u32 tag = hash >> 32, bucket = hash;

	for (int probe = 0; probe < DNS_PROBES; probe++, bucket++) {
		const struct dns_slot *slot = dns_line(c->image, image->buckets + (bucket & image->buckets_mask), LINE);
		const struct dns_node *node;
		__u64 line = 0;

		if (!slot)
			return DNS_FOUND_UNSURE;
#pragma GCC unroll 8
		for (int i = 0; i < DNS_BUCKET; i++)
			line ^= (line ^ slot[i].node) & dns_if_equal(slot[i].tag, tag);
		if (line) {
			node = dns_line(c->image, line, sizeof(*node));
			if (!node || !dns_is_named(w, from, node))
				return DNS_FOUND_UNSURE;
			*named = node;
			return DNS_FOUND_NODE;
		}
		if (!slot[DNS_BUCKET - 1].node)
			return DNS_FOUND_NONE;
	}
	return DNS_FOUND_NONE;
}

/* The node of the name asked, or of its closest encloser; 0 where it is in no zone of ours.  The result: 0, or why it goes up. */
static __always_inline __u32 dns_find_closest(struct dns_work *w, const struct dns_context *c,
					      const struct dns_image *image, const struct dns_node **node)
{
	DNS_KEPT(w->from) = 0;
	for (int label = 0; label <= DNS_LABELS_MOST; label++) {
		__u32 from = DNS_KEPT(w->from), octets;
		enum dns_found found = dns_find(w, c, image, from, node);

		if (found == DNS_FOUND_UNSURE)
			return DNS_UP_NAME;
		if (found == DNS_FOUND_NODE) {
			w->exact = !DNS_KEPT(w->from);
			return DNS_UP_NONE;
		}
		from = DNS_KEPT(w->from);
		octets = w->name[DNS_CUT_TO(from, DNS_NAME_MASK)];
		if (!octets)
			break;
		DNS_KEPT(w->from) = from + octets + 1;
	}
	return DNS_UP_NONE;
}
