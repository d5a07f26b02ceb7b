/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What becomes of a packet: found out first, while the packet is as it came; done afterwards. */
#pragma once

#include "layout.h"

enum act {
	ACT_BALANCE, /* not decided yet: to a backend by its VIP */
	ACT_PASS,
	ACT_DROP,
	ACT_FORWARD,
	ACT_TOO_BIG,
	ACT_ECHO,
};

struct decision {
	__u64 hash;
	struct backend *to; /* ACT_FORWARD, ACT_TOO_BIG */
	__u32 backend;
	__u32 vip;
	__u32 overhead; /* octets */
	__u32 counted;	/* enum event_count, or COUNTS: nothing */
	__u8 error;	/* an ICMP error that goes to the flow that it quotes */
	__u8 udp_began; /* the first datagram of a flow */
};
