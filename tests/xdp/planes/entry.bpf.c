/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The least entry program: hands everything on.  GENERATION tells one build from another. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

SEC("xdp") int entry(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, PROGRAM_BALANCER);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
