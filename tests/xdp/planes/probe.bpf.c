/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The least probes' filter: lets everything go, and counts it by GENERATION. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

SEC("tc") int probe(struct __sk_buff *skb)
{
	(void)skb;
	count(GENERATION);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
