/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* How often a CPU may do what floods could provoke. */
#pragma once

#include "maps.h"

enum limit {
	LIMIT_NEW_FLOWS,
	LIMIT_EVENTS,
	LIMIT_ANSWERS,
};

/* Packets that are too big answered by one CPU a second (RFC 4443 section 2.4 (f) asks for a limit). */
#define MOST_ANSWERS 1000

/* Whether one more is allowed in this second (of 2^30 ns), of which `most` are. */
static __always_inline int allowed(enum limit what, __u32 most, __u64 now_ns)
{
	__u32 zero = 0, second = now_ns >> 30;
	struct limits *l = bpf_map_lookup_elem(&limits, &zero);
	__u32 *used;

	if (!l)
		return 0;
	if (l->second != second) {
		l->second = second;
		l->new_flows = 0;
		l->events = 0;
		l->answers = 0;
	}
	used = what == LIMIT_NEW_FLOWS ? &l->new_flows : what == LIMIT_EVENTS ? &l->events : &l->answers;
	if (*used >= most)
		return 0;
	(*used)++;
	return 1;
}
