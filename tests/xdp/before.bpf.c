/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What runs before the entry program in a test run, so that the frame lies as in a driver's buffer.
 *
 * Rule 1: the headroom is filled with 0xff: a test run hands over zeros, and zeros hide a field that nobody set.
 * Rule 2: on request the frame is moved to the front, so that there is as little headroom as the test wants.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum {
	POISONED = 192, /* octets of headroom; a multiple of 8 */
	MOST = 4096,
};

struct how {
	__u32 octets; /* of the frame */
	__u32 eaten;  /* octets of headroom that are taken away */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct how);
} how SEC(".maps");

struct frame {
	__u8 octets[MOST];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frame);
} frame SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

static __always_inline int poison(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, -POISONED))
		return -1;
	__u64 *words = (void *)(long)ctx->data;
	if ((void *)(words + POISONED / 8) > (void *)(long)ctx->data_end)
		return -1;
	for (int i = 0; i < POISONED / 8; i++)
		words[i] = ~0ULL;
	return bpf_xdp_adjust_head(ctx, POISONED);
}

static __always_inline int move(struct xdp_md *ctx, __u32 octets, __u32 eaten)
{
	__u32 zero = 0;
	struct frame *copy = bpf_map_lookup_elem(&frame, &zero);
	asm volatile("" : "+r"(octets));	  /* so that the verifier sees the bounds that follow */
	octets = ((octets - 1) & (MOST - 1)) + 1; /* 1 to MOST, also for Linux 6.1, which learns nothing by != 0 */
	if (!copy || eaten >= MOST)
		return -1;
	if (bpf_xdp_adjust_head(ctx, -(int)eaten))
		return -1;
	if (bpf_xdp_load_bytes(ctx, eaten, copy->octets, octets) || bpf_xdp_store_bytes(ctx, 0, copy->octets, octets))
		return -1;
	return bpf_xdp_adjust_tail(ctx, -(int)eaten);
}

SEC("xdp")
int before(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct how *now = bpf_map_lookup_elem(&how, &zero);

	if (!now || poison(ctx))
		return XDP_ABORTED;
	if (now->eaten && move(ctx, now->octets, now->eaten))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &next, 0);
	return XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
