/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * (name, type, client) -> the answer: what the tables hold for the name, and what a policy has for the client's place.
 *
 * It is gslb/nameserver/known.py and views.py; what is not in the tables goes up.
 */
#pragma once

#include "dns_names.h"
#include "dns_place.h"

/* One of several answers, by the client's slot. */
static __always_inline __u32 dns_choose_spread(struct dns_work *w, const struct dns_context *c,
					       const struct dns_view *view, __u32 line)
{
	const struct dns_spread *spread = dns_line(c->image, line, sizeof(*spread));
	const __u16 *number;
	const __u32 *answer;

	if (!spread)
		return DNS_UP_IMAGE;
	if (spread->parted) {
		if (!w->subnet_source)
			return DNS_UP_VIEW;
		w->asked = 1 + spread->asked;
	}
	number = dns_at(c->image, (__u64)spread->slots * LINE + 2 * dns_client_slot(w, view), 2);
	if (!number || *number >= spread->count)
		return DNS_UP_IMAGE;
	answer = dns_at(c->image, (__u64)spread->answers * LINE + 4 * *number, 4);
	if (!answer)
		return DNS_UP_IMAGE;
	w->answer = *answer;
	return DNS_UP_NONE;
}

/* What a policy answers this client. */
static __always_inline __u32 dns_choose_view(struct dns_work *w, const struct dns_context *c,
					     const struct dns_image *image, __u32 line)
{
	const struct dns_view *view = dns_line(c->image, line, sizeof(*view));
	const __u16 *ranking_of;
	const __u32 *choice;
	__u32 ranking = 0;

	if (!view)
		return DNS_UP_IMAGE;
	if (view->flags & DNS_VIEW_UP)
		return DNS_UP_VIEW;
	if (!(view->flags & DNS_VIEW_FIXED)) {
		dns_locate(w, c, image);
		ranking_of = dns_at(c->geography, view->ranking_of + 2 * (__u64)w->class, 2);
		if (w->class >= view->classes || !ranking_of || *ranking_of >= view->rankings)
			return DNS_UP_IMAGE;
		ranking = *ranking_of;
		w->cell = 1 + view->cell + ranking;
	}
	choice = dns_at(c->image, (__u64)view->choices * LINE + 4 * (__u64)ranking, 4);
	if (!choice)
		return DNS_UP_IMAGE;
	if (!*choice)
		return DNS_UP_VIEW;
	if (*choice & DNS_SPREAD)
		return dns_choose_spread(w, c, view, *choice & ~DNS_SPREAD);
	w->answer = *choice;
	return DNS_UP_NONE;
}

/* What a name that exists has of the type asked. */
static __always_inline __u32 dns_choose_type(struct dns_work *w, const struct dns_context *c,
					     const struct dns_image *image, const struct dns_node *node)
{
	__u32 kind = DNS_KIND_UP, at = 0, listed = 0;

	for (int i = 0; i < DNS_NODE_TYPES; i++) {
		if (i >= node->types)
			break;
		if (node->type[i].type == w->type) {
			kind = node->type[i].kind;
			at = node->type[i].at;
			listed = 1;
			break;
		}
	}
	if (!listed) {
		if (node->flags & DNS_NODE_UP_TYPES)
			return DNS_UP_TYPE;
		w->answer = node->nodata;
		return DNS_UP_NONE;
	}
	if (kind == DNS_KIND_VIEW)
		return dns_choose_view(w, c, image, at);
	if (kind != DNS_KIND_ANSWER)
		return DNS_UP_TYPE;
	w->answer = at;
	return DNS_UP_NONE;
}

/* The line of the answer, and what is counted with it.  0, or why it goes up. */
static __always_inline __u32 dns_choose(struct dns_work *w, const struct dns_context *c, const struct dns_image *image)
{
	const struct dns_node *node = 0;
	__u32 why = dns_find_closest(w, c, image, &node);

	w->answer = 0;
	w->moved = 0;
	w->scope = 0;
	w->cell = 0;
	w->asked = 0;
	if (why)
		return why;
	if (!node) {
		w->answer = image->refused;
	} else {
		if (node->flags & DNS_NODE_UP || (!w->exact && node->flags & DNS_NODE_UP_BELOW))
			return DNS_UP_NAME;
		w->moved = w->name_octets - node->apex_octets;
		if (!w->exact)
			w->answer = node->absent;
		else
			why = dns_choose_type(w, c, image, node);
	}
	if (why)
		return why;
	return w->answer ? DNS_UP_NONE : DNS_UP_NAME;
}
