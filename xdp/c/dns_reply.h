/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A reply is written over its query: header, the question as asked, the answer's records, the OPT record.
 *
 * Rule 1: nothing is written before it is known that the reply can be given, so that what goes up is as it came.
 * Rule 2: what was not asked is not told; the OPT record's options stand in the order NSID, cookie, client subnet.
 */
#pragma once

#include "dns_cookie.h"

/* Octets of the reply's OPT record. */
static __always_inline __u32 dns_opt_octets(const struct dns_work *w, const struct dns_image *image)
{
	__u32 octets = DNS_OPT;

	if (!w->has_opt)
		return 0;
	if (w->nsid && image->nsid_octets)
		octets += DNS_OPTION + image->nsid_octets;
	if (w->cookie_octets)
		octets += DNS_OPTION + DNS_COOKIE;
	if (w->subnet)
		octets += DNS_OPTION + w->subnet;
	return octets;
}

/* The OPT record at `at`. */
static __always_inline void dns_write_opt(struct dns_work *w, const struct dns_image *image, __u32 at)
{
	/* the root, OPT, what we take, upper RCODE and version 0, DO as it came */
	dns_store64(dns_octet(w, at),
		    DNS_TYPE_OPT << 16 | (__u64)__builtin_bswap16(DNS_REPLY_MOST) << 24 | (__u64)w->opt_do << 48);
	if (w->sent == DNS_SENT_BADCOOKIE)
		*dns_octet(w, at + 5) = DNS_BADCOOKIE >> 4;
	dns_write16(w, at + 8, 0);
	dns_write16(w, at + 9, w->opt_octets - DNS_OPT);
	at += DNS_OPT;
	if (w->nsid && image->nsid_octets) {
		dns_write16(w, at, DNS_CODE_NSID);
		dns_write16(w, at + 2, image->nsid_octets);
		at += DNS_OPTION;
		for (int i = 0; i < DNS_NSID_MOST; i += 8)
			dns_store64(dns_octet(w, at + i), dns_load64(image->nsid + i));
		at += image->nsid_octets;
	}
	if (w->cookie_octets) {
		dns_write16(w, at, DNS_CODE_COOKIE);
		dns_write16(w, at + 2, DNS_COOKIE);
		dns_store64(dns_octet(w, at + 4), w->cookie_client);
		dns_store64(dns_octet(w, at + 12), w->cookie_server[0]);
		dns_store64(dns_octet(w, at + 20), w->cookie_server[1]);
		at += DNS_OPTION + DNS_COOKIE;
	}
	if (w->subnet) {
		dns_write16(w, at, DNS_CODE_SUBNET);
		dns_write16(w, at + 2, w->subnet);
		dns_write16(w, at + 4, w->subnet_family);
		/* of who wants to be unknown (source 0), nothing is told */
		dns_write16(w, at + 6, w->subnet_source ? w->subnet_source << 8 | w->scope : 0);
		dns_store64(dns_octet(w, at + 8), w->subnet_address[0]);
		dns_store64(dns_octet(w, at + 16), w->subnet_address[1]);
	}
}

/* The records of an answer at `at`, and their pointers moved. */
static __always_inline void dns_write_body(struct dns_work *w, const struct dns_answer *answer, struct dns_span body,
					   __u32 at)
{
	__u32 octets = answer->octets;

	for (__u32 i = 0; i < DNS_BODY_MOST; i += 8) {
		if (i >= octets)
			break;
		dns_store64(dns_octet(w, at + i), dns_load64(dns_in_span(body, LINE + i, 8)));
	}
	for (int i = 0; i < DNS_RELOCATIONS; i++) {
		__u32 place = at + answer->relocation[i];

		if (i >= answer->relocations)
			break;
		dns_write16(w, place, dns_read16(w, place) + w->moved);
	}
}

/* How much of the answer can be sent.  0, or why it goes up. */
static __always_inline __u32 dns_prepare_reply(struct dns_work *w, const struct dns_image *image,
					       const struct dns_answer *answer)
{
	if (answer->octets > DNS_BODY_MOST || image->nsid_octets > DNS_NSID_MOST)
		return DNS_UP_IMAGE;
	w->outcome = answer->outcome;
	w->account = answer->account;
	w->mark = answer->mark ? 1 + image->cells + answer->mark : 0;
	w->sent = DNS_SENT_WHOLE;
	w->opt_octets = dns_opt_octets(w, image);
	if (w->behind + answer->octets + w->opt_octets <= w->payload)
		return DNS_UP_NONE;
	w->sent = DNS_SENT_TRUNCATED;
	return answer->cut == DNS_CUT_TRUNCATED ? DNS_UP_NONE : DNS_UP_ROOM;
}

/* The reply to `w`, over its query. */
static __always_inline void dns_write_reply(struct dns_work *w, const struct dns_image *image,
					    const struct dns_answer *answer, struct dns_span body)
{
	__u32 at = w->behind, flags = DNS_QR | (dns_read16(w, 2) & DNS_RD) | answer->flags;

	if (w->sent == DNS_SENT_WHOLE) {
		dns_write16(w, 2, flags);
		dns_write16(w, 6, answer->answers);
		dns_write16(w, 8, answer->authorities);
		dns_write16(w, 10, answer->additionals + w->has_opt);
		dns_write_body(w, answer, body, at);
		at += answer->octets;
	} else {
		if (w->sent == DNS_SENT_BADCOOKIE)
			flags = DNS_QR | (flags & DNS_RD) | (DNS_BADCOOKIE & DNS_RCODE);
		else
			flags |= DNS_TC;
		dns_write16(w, 2, flags);
		dns_write16(w, 6, 0);
		dns_write16(w, 8, 0);
		dns_write16(w, 10, w->has_opt);
	}
	if (w->has_opt)
		dns_write_opt(w, image, at);
	w->octets = at + w->opt_octets;
}
