/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A query is read: header, question, OPT record and its options.
 *
 * Rule 1: what is malformed goes up, and so does all that a resolver's questions do not have: the reference says what becomes of it.
 * Standards: RFC 1035 section 4.1, RFC 6891, RFC 7871 section 6, RFC 5001.
 */
#pragma once

#include "dns_memory.h"

enum dns_wire {
	DNS_HEADER = 12,
	DNS_PAIR = 4, /* type and class */
	DNS_OPT = 11, /* an OPT record without its options */
	DNS_OPTION = 4,
	DNS_SUBNET = 4, /* family, source, scope */
	DNS_LABEL_MOST = 63,

	DNS_QR = 0x8000,
	DNS_TC = 0x0200,
	DNS_RD = 0x0100,
	DNS_RCODE = 15,
	DNS_BADCOOKIE = 23,   /* the upper bits stand in the OPT record */
	DNS_IGNORED = 0x0070, /* Z, AD and CD mean nothing in a query */
	DNS_DO = 0x8000,

	DNS_IN = 1,
	DNS_TYPE_OPT = 41,

	DNS_CODE_NSID = 3,
	DNS_CODE_SUBNET = 8,
	DNS_CODE_COOKIE = 10,

	DNS_FAMILY_V4 = 1,
	DNS_FAMILY_V6 = 2,
};

/* The name, label by label: its length.  0, or why it goes up. */
static __always_inline __u32 dns_read_name(struct dns_work *w)
{
	__u32 at = DNS_HEADER;

	for (int label = 0; label <= DNS_LABELS_MOST; label++) {
		__u32 octets = *dns_octet(w, at);

		at++;
		if (!octets) {
			w->name_octets = at - DNS_HEADER;
			w->behind = at + DNS_PAIR;
			return w->behind <= w->octets ? DNS_UP_NONE : DNS_UP_NAME;
		}
		if (octets > DNS_LABEL_MOST)
			return DNS_UP_NAME;
		at += octets;
		if (at >= DNS_HEADER + DNS_NAME_MOST)
			return DNS_UP_SIZE;
	}
	return DNS_UP_SIZE;
}

/* A word of a name in lower case: A to Z alone, as octets. */
static __always_inline __u64 dns_lowered(__u64 word)
{
	const __u64 each = 0x0101010101010101;
	__u64 seven = word & (0x7f * each);
	__u64 from_a = seven + (0x80 - 'A') * each, above_z = seven + (0x7f - 'Z') * each;

	return word | (((from_a ^ above_z) & ~word & (0x80 * each)) >> 2);
}

/* The client subnet at `at`, with every check of RFC 7871 section 6. */
static __always_inline __u32 dns_read_subnet(struct dns_work *w, __u32 at, __u32 octets)
{
	__u32 family, source, whole;
	__u64 first, last;

	if (octets < DNS_SUBNET || octets > DNS_SUBNET + 16)
		return DNS_UP_OPT;
	family = dns_read16(w, at);
	source = *dns_octet(w, at + 2);
	octets -= DNS_SUBNET;
	if (family > DNS_FAMILY_V6 || source > (family == DNS_FAMILY_V6 ? 128 : 32 * family))
		return DNS_UP_OPT;
	if (*dns_octet(w, at + 3) || octets != (source + 7) / 8)
		return DNS_UP_OPT;
	first = dns_load64(dns_octet(w, at + DNS_SUBNET)) & dns_first(octets);
	last = octets > 8 ? dns_load64(dns_octet(w, at + DNS_SUBNET + 8)) & dns_first(octets - 8) : 0;
	w->subnet_address[0] = first;
	w->subnet_address[1] = last;
	/* no bits beyond the prefix */
	first = __builtin_bswap64(first);
	last = __builtin_bswap64(last);
	whole = source & 63;
	if (source < 64 ? last || (first << whole) : source < 128 && (last << whole))
		return DNS_UP_OPT;
	w->subnet = DNS_SUBNET + octets;
	w->subnet_family = family;
	w->subnet_source = source;
	return DNS_UP_NONE;
}

/* The options, in whatever order they stand. */
static __always_inline __u32 dns_read_options(struct dns_work *w)
{
	__u32 at = w->behind + DNS_OPT, subnet = 0, subnet_octets = 0, nsid = 0;
	__u32 end = w->octets;

	for (int option = 0; option <= DNS_OPTIONS_MOST; option++) {
		__u32 code, octets;

		if (at == end)
			break;
		if (at + DNS_OPTION > end || option == DNS_OPTIONS_MOST)
			return DNS_UP_OPT;
		code = dns_read16(w, at);
		octets = dns_read16(w, at + 2);
		at += DNS_OPTION;
		if (octets > end - at)
			return DNS_UP_OPT;
		if (code == DNS_CODE_SUBNET) {
			if (subnet)
				return DNS_UP_OPT;
			subnet = at;
			subnet_octets = octets;
		}
		if (code == DNS_CODE_COOKIE && !w->cookie_octets) { /* further ones are ignored */
			if (octets != 8 && (octets < 16 || octets > 40))
				return DNS_UP_OPT;
			w->cookie_at = at;
			w->cookie_octets = octets;
		}
		nsid |= code == DNS_CODE_NSID;
		at += octets;
	}
	w->nsid = nsid;
	return subnet ? dns_read_subnet(w, subnet, subnet_octets) : DNS_UP_NONE;
}

/* What stands behind the question: nothing, or one OPT record. */
static __always_inline __u32 dns_read_opt(struct dns_work *w, __u32 additionals)
{
	__u32 at = w->behind;

	w->has_opt = additionals;
	w->opt_do = 0;
	w->nsid = 0;
	w->cookie_octets = 0;
	w->subnet = 0;
	w->subnet_source = 0;
	w->payload = DNS_PLAIN_MOST;
	if (!additionals)
		return w->octets == at ? DNS_UP_NONE : DNS_UP_OPT;
	/* the root's name, the type, the size; the upper RCODE means nothing in a query; version 0 */
	if (w->octets < at + DNS_OPT || *dns_octet(w, at) || dns_read16(w, at + 1) != DNS_TYPE_OPT ||
	    *dns_octet(w, at + 6))
		return DNS_UP_OPT;
	w->payload = dns_read16(w, at + 3);
	if (w->payload < DNS_PLAIN_MOST)
		w->payload = DNS_PLAIN_MOST;
	if (w->payload > DNS_REPLY_MOST)
		w->payload = DNS_REPLY_MOST;
	w->opt_do = dns_read16(w, at + 7) & DNS_DO;
	if (w->octets != at + DNS_OPT + dns_read16(w, at + 9))
		return DNS_UP_OPT;
	return dns_read_options(w);
}

/* Everything about a query that its answer depends on.  0, or why it goes up. */
static __always_inline __u32 dns_read_query(struct dns_work *w)
{
	__u32 why, additionals;

	if (w->octets > DNS_QUERY_MOST)
		return DNS_UP_SIZE;
	if (w->octets < DNS_HEADER || dns_read16(w, 2) & ~(DNS_RD | DNS_IGNORED))
		return DNS_UP_HEADER;
	additionals = dns_read16(w, 10);
	if (dns_read16(w, 4) != 1 || dns_read16(w, 6) || dns_read16(w, 8) || additionals > 1)
		return DNS_UP_HEADER;
	why = dns_read_name(w);
	if (why)
		return why;
	w->type = dns_read16(w, w->behind - DNS_PAIR);
	if (dns_read16(w, w->behind - 2) != DNS_IN)
		return DNS_UP_CLASS;
	if (w->type >= DNS_META_TYPES && w->type <= DNS_META_LAST)
		return DNS_UP_TYPE;
	return dns_read_opt(w, additionals);
}
