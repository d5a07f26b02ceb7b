// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What goes before the measured program in a test run, which keeps one buffer: the frame is made again as it was, of the next flow.
 * The same with a target that does nothing is the cost to take off.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

enum {
	HEADERS = 96, /* octets that are written again */
};

struct plan {
	__u8 frame[HEADERS];
	__u32 octets;	  /* of the whole frame */
	__u32 flows;	  /* a power of two */
	__u32 address_at; /* offset of four octets of the source address that tell flows apart */
	__u32 port_at;
	__u32 next;
	__u32 out; /* index of the interface that `send` sends by */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plan SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

SEC("xdp")
int restore(struct xdp_md *ctx)
{
	__u32 zero = 0, flow, at;
	struct plan *p = bpf_map_lookup_elem(&plan, &zero);
	void *data, *end;
	__u64 octets;

	if (!p)
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	octets = end - data;
	asm volatile("" : "+r"(octets)); /* no other sum with a pointer in it, which the verifier refuses */
	bpf_xdp_adjust_head(ctx, (int)(octets - p->octets));
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + HEADERS > end)
		return XDP_ABORTED;
	for (int i = 0; i < HEADERS; i += 8)
		*(__u64 *)(data + i) = *(__u64 *)&p->frame[i];
	flow = p->next++ & (p->flows - 1);
	at = p->address_at & 63;
	if (data + at + 4 > end)
		return XDP_ABORTED;
	*(__be32 *)(data + at) = bpf_htonl(0x0a000000 | ((flow * 2654435761u) >> 12));
	at = p->port_at & 63;
	if (data + at + 2 > end)
		return XDP_ABORTED;
	*(__be16 *)(data + at) = bpf_htons(1024 + (flow & 0xffff));
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_TX;
}

/* The frame leaves by plan.out: with live frames, a generator. */
SEC("xdp")
int send(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct plan *p = bpf_map_lookup_elem(&plan, &zero);

	(void)ctx;
	return p ? bpf_redirect(p->out, 0) : XDP_ABORTED;
}

/* What takes back what came through. */
SEC("xdp")
int drop(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
