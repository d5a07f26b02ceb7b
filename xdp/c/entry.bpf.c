// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The program that is attached: it parses each packet once and hands it to the program behind it.  Where that one is missing, the
 * packet goes up the stack.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "maps.h"
#include "parse.h"

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&scratch, &zero);

	if (!p)
		return XDP_PASS;
	switch (parse(p, (void *)(long)ctx->data, (void *)(long)ctx->data_end)) {
	case NOT_IP:
		count(COUNT_NOT_IP);
		return XDP_PASS;
	case MALFORMED:
		count(COUNT_MALFORMED);
		return XDP_DROP;
	}
	bpf_tail_call(ctx, &programs, PROGRAM_BALANCER);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
