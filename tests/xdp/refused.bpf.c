// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// A balancer that no verifier takes: it reads a packet without a look at where that ends.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp") int balancer(struct xdp_md *context)
{
	return *(volatile int *)(long)context->data;
}

char _license[] SEC("license") = "Dual BSD/GPL";
