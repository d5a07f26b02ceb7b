// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The floors of any XDP_TX: the frame goes back to who sent it, and is counted; or a query does, and looks like an answer. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

enum {
	ANSWER_OCTETS = 14 + 20 + 8 + 12, /* Ethernet, IPv4 without options, UDP, the head of a message */
};

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

/* UDP over IPv4 alone: addresses and ports change places, QR is set and one record promised. */
SEC("xdp")
int answer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *octets = data;
	__u16 *halves = data, port;
	__u32 *address, from;

	if (data + ANSWER_OCTETS > end || halves[6] != bpf_htons(0x0800) || octets[14] != 0x45 || octets[23] != 17)
		return XDP_PASS;
	for (int i = 0; i < 3; i++) {
		__u16 half = halves[i];

		halves[i] = halves[i + 3];
		halves[i + 3] = half;
	}
	address = data + 26;
	from = address[0];
	address[0] = address[1];
	address[1] = from;
	port = halves[17];
	halves[17] = halves[18];
	halves[18] = port;
	halves[20] = 0; /* no checksum */
	halves[22] |= bpf_htons(0x8000);
	halves[24] = bpf_htons(1);
	return XDP_TX;
}

/* What the other end of a veth link needs for XDP_TX to come out there. */
SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
