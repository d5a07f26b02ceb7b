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
#include "dns_reply.h"

/* 0, or why it goes up. */
static __always_inline __u32 dns_answer_from(struct dns_work *w, const struct dns_context *c,
					     const struct dns_image *image)
{
	const struct dns_answer *answer;
	struct dns_span body;
	__u32 why = dns_read_query(w);

	if (!why)
		why = dns_choose(w, c, image);
	if (why)
		return why;
	answer = dns_line(c->image, w->answer, sizeof(*answer));
	if (!answer)
		return DNS_UP_IMAGE;
	body = dns_span(c->image, (__u64)w->answer * LINE, sizeof(*answer) + ((answer->octets + 7) & ~7));
	if (!body.chunk)
		return DNS_UP_IMAGE;
	dns_answer_cookie(w, c, image);
	why = dns_prepare_reply(w, image, answer);
	if (!why)
		dns_write_reply(w, image, answer, body);
	return why;
}

static __always_inline enum dns_verdict dns_answer(struct dns_work *w, const struct dns_context *c)
{
	const struct dns_image *image = dns_at(c->image, 0, DNS_VIEWS_AT);

	w->up = image ? dns_answer_from(w, c, image) : DNS_UP_IMAGE;
	w->verdict = w->up ? DNS_UP : DNS_REPLY;
	return w->verdict;
}
