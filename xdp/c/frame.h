/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A frame that goes back to who sent it.  Pure. */
#pragma once

#include "parse.h"

/*
 * The frame at `data` goes back to who sent the one at `old`, which may overlap it: addresses swapped, tags kept.  Both have 22 octets
 * at least.
 */
static __always_inline void return_frame(void *data, const void *old, __u32 l3)
{
	__u32 destination_head = *(const __u32 *)old, source_tail = *(const __u32 *)(old + 8);
	__u16 destination_tail = *(const __u16 *)(old + 4), source_head = *(const __u16 *)(old + 6);
	__u32 third = *(const __u32 *)(old + 12), fourth = *(const __u32 *)(old + 16);
	__u16 last = *(const __u16 *)(old + 20);

	*(__u16 *)data = source_head;
	*(__u32 *)(data + 2) = source_tail;
	*(__u32 *)(data + 6) = destination_head;
	*(__u16 *)(data + 10) = destination_tail;
	*(__u16 *)(data + 12) = *(const __u16 *)&third;
	if (l3 == sizeof(struct ethhdr))
		return;
	*(__u32 *)(data + 12) = third;
	*(__u16 *)(data + 16) = *(const __u16 *)&fourth;
	if (l3 == sizeof(struct ethhdr) + VLAN_OCTETS)
		return;
	*(__u32 *)(data + 16) = fourth;
	*(__u16 *)(data + 20) = last;
}
