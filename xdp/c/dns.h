/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * DNS answered from an image (dns_layout.h): the fast executor, in XDP and in the workers.
 *
 * dns_answer makes a reply in the place of its query, or leaves that as it was (DNS_UP); dns_count then says so in the counters.  What it
 * answers is, octet by octet, what the reference (gslb/nameserver/answer.py) answers to the same query from the same plan.
 */
#pragma once

#include "dns_choice.h"
#include "dns_count.h"
#include "dns_limit.h"
#include "dns_reply.h"

/* Sets w->verdict, and w->up where it goes up. */
static __always_inline void dns_answer_from(struct dns_work *w, struct dns_context *c, const struct dns_image *image)
{
	const struct dns_answer *answer;
	enum dns_limit_verdict verdict;
	struct dns_span body;
	__u64 at;

	w->up = dns_read_query(w);
	if (w->up)
		return;
	dns_limit_ahead(w, c, image);
	dns_look_ahead(w, c, image);
	dns_lower_name(w, image->seed);
	w->up = dns_choose(w, c, image);
	if (w->up)
		return;
	w->up = DNS_UP_IMAGE;
	at = (__u64)w->answer * LINE;
	body = dns_span(c->image, at, sizeof(*answer));
	if (!body.chunk)
		return;
	answer = dns_in_span(body, 0, sizeof(*answer));
	if (!dns_holds(c->image, at, sizeof(*answer) + ((answer->octets + 7) & ~7)))
		return;
	dns_answer_cookie(w, c, image);
	w->up = dns_prepare_reply(w, image, answer);
	if (w->up)
		return;
	verdict = dns_limit(w, c, image);
	w->verdict = verdict == DNS_LIMIT_DROP ? DNS_DROP : DNS_REPLY;
	if (verdict == DNS_LIMIT_DROP)
		return;
	w->slipped = verdict == DNS_LIMIT_SLIP;
	if (w->slipped) {
		w->sent = w->cookie_octets ? DNS_SENT_BADCOOKIE : DNS_SENT_TRUNCATED;
		w->nsid = 0; /* no octet more than was sent to us, but for a cookie */
		w->opt_octets = dns_opt_octets(w, image);
	}
	dns_write_reply(w, image, answer, body);
}

static __always_inline enum dns_verdict dns_answer(struct dns_work *w, struct dns_context *c)
{
	const struct dns_image *image = dns_at(c->image, 0, DNS_VIEWS_AT);

	w->verdict = DNS_UP;
	w->up = DNS_UP_IMAGE;
	if (image)
		dns_answer_from(w, c, image);
	return w->verdict;
}
