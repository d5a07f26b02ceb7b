/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * DNS cookies: the one that came is checked, and the one that answers it made, as gslb/nameserver/cookies.py does.
 *
 * Standards: RFC 7873, RFC 9018 (server cookies of version 1, SipHash-2-4).
 */
#pragma once

#include "dns_query.h"
#include "dns_sip.h"

enum dns_cookie_sizes {
	DNS_COOKIE = 24, /* octets: the client's 8, the server's 16 */
	DNS_COOKIE_VERSION = 1,
	DNS_COOKIE_AGE_MOST = 3600, /* seconds */
	DNS_COOKIE_AHEAD_MOST = 300,
	DNS_COOKIE_RENEWED = 1800, /* one that is older is renewed */
	DNS_COOKIE_DAY = 86400,
};

/* The last 8 octets of a server cookie; `head` are its first 8 as in memory, `made` is the timestamp in them. */
static __always_inline __u64 dns_cookie_hash(const struct dns_work *w, const struct dns_image *image, __u64 head,
					     __u32 made)
{
	const __u8 *key = image->cookie_keys + 16 * (made / DNS_COOKIE_DAY & 1);
	struct dns_sip s = dns_sip_begin(dns_load64(key), dns_load64(key + 8));
	__u64 high = dns_load64(w->source), low = dns_load64(w->source + 8);

	dns_sip_word(&s, w->cookie_client, 2);
	dns_sip_word(&s, head, 2);
	if (!high && (__u32)low == 0xFFFF0000) { /* IPv4 in IPv6 is IPv4 */
		dns_sip_word(&s, low >> 32 | 20ULL << 56, 2);
	} else {
		dns_sip_word(&s, high, 2);
		dns_sip_word(&s, low, 2);
		dns_sip_word(&s, 32ULL << 56, 2);
	}
	return dns_sip_end(&s, 4);
}

static __always_inline __u64 dns_cookie_head(__u32 made)
{
	return DNS_COOKIE_VERSION | (__u64)__builtin_bswap32(made) << 32;
}

/* The server cookie of the reply, where the query had a cookie and we make some. */
static __always_inline void dns_answer_cookie(struct dns_work *w, const struct dns_context *c,
					      const struct dns_image *image)
{
	__u64 head, hash;
	__u32 made;
	__s32 age;

	w->cookie_valid = 0;
	if (!image->cookies)
		w->cookie_octets = 0;
	if (!w->cookie_octets)
		return;
	w->cookie_client = dns_load64(dns_octet(w, w->cookie_at));
	if (w->cookie_octets == DNS_COOKIE) {
		head = dns_load64(dns_octet(w, w->cookie_at + 8));
		hash = dns_load64(dns_octet(w, w->cookie_at + 16));
		made = __builtin_bswap32(head >> 32);
		age = (__s32)((__u32)c->now_s - made);
		if ((head & 0xFF) == DNS_COOKIE_VERSION && age >= -DNS_COOKIE_AHEAD_MOST && age <= DNS_COOKIE_AGE_MOST)
			w->cookie_valid = dns_cookie_hash(w, image, head, made) == hash;
		w->cookie_server[0] = head;
		w->cookie_server[1] = hash;
		if (w->cookie_valid && age <= DNS_COOKIE_RENEWED)
			return;
	}
	made = c->now_s;
	w->cookie_server[0] = dns_cookie_head(made);
	w->cookie_server[1] = dns_cookie_hash(w, image, w->cookie_server[0], made);
}
