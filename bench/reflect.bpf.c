// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The floor of any XDP_TX: the frame goes back to who sent it, and is counted. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} reflected SEC(".maps");

SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, *words = data, first;
	__u16 *halves = data, third;
	__u64 *count = bpf_map_lookup_elem(&reflected, &zero);

	if (data + 12 > end || !count)
		return XDP_PASS;
	first = words[0];
	third = halves[2];
	words[0] = halves[3] | (__u32)halves[4] << 16;
	halves[2] = halves[5];
	halves[3] = first;
	halves[4] = first >> 16;
	halves[5] = third;
	(*count)++;
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
