/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The least balancer: drops IPv4 of UDP and counts it by GENERATION, so that a test sees which build saw each packet. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

SEC("xdp") int lb(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != 17)
		return XDP_PASS;
	count(GENERATION);
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
