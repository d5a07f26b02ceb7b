/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What no verifier takes: reads past the end of the packet. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

SEC("xdp") int lb(struct xdp_md *ctx)
{
	return *((__u8 *)(long)ctx->data + 64) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
