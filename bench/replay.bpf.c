// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What goes before a program in its test runs: each run has the next of many frames, with the next of many networks in it.  The same
 * with a target that does nothing is the cost to take off; `send` gives the frame to an interface.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum {
	FRAMES = 1 << 16,
	FRAME_MOST = 244,
	NETWORKS = 1 << 20,
	COUNTERS = 16, /* by RCODE */
	RCODE_AT = 3,  /* octet of a DNS message */
};

struct frame {
	__u32 octets;
	__u32 network_at; /* offset of the network */
	__u32 network;	  /* its octets: 4 or 8; 0: as it is */
	__u8 frame[FRAME_MOST];
};

struct plan {
	__u32 frames;	/* a power of two */
	__u32 networks; /* a power of two */
	__u32 next;
	__u32 out; /* index of the interface that `send` sends by */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FRAMES);
	__type(key, __u32);
	__type(value, struct frame);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NETWORKS);
	__type(key, __u32);
	__type(value, __u64);
} networks SEC(".maps");

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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} replies SEC(".maps");

/*
 * The frame into the packet, word by word; the last overlaps the one before.  The helper's `rep movsb` would wait for all that the
 * program before it has begun, which no driver does, and would count that wait as the program's.
 */
static __always_inline int put(struct xdp_md *ctx, const struct frame *f)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 at, last = (f->octets - 8) & 255;

	for (at = 0; at + 8 <= FRAME_MOST; at += 8) {
		if (at > last)
			break;
		if (data + at + 8 > end)
			return 0;
		*(volatile __u64 *)(data + at) = *(const volatile __u64 *)(f->frame + at);
	}
	if (last > FRAME_MOST - 8 || data + last + 8 > end)
		return 0;
	*(volatile __u64 *)(data + last) = *(const volatile __u64 *)(f->frame + last);
	return 1;
}

SEC("xdp")
int replay(struct xdp_md *ctx)
{
	__u32 zero = 0, number, at, octets;
	struct plan *p = bpf_map_lookup_elem(&plan, &zero);
	struct frame *f;
	__u64 *network, now;

	if (!p)
		return XDP_ABORTED;
	number = p->next & (p->frames - 1);
	f = bpf_map_lookup_elem(&frames, &number);
	number = p->next & (p->networks - 1);
	network = bpf_map_lookup_elem(&networks, &number);
	p->next++;
	if (!f || !network)
		return XDP_ABORTED;
	at = f->network_at;
	octets = f->octets;
	if (at > FRAME_MOST - 8 || octets < 64 || octets > FRAME_MOST)
		return XDP_ABORTED;
	if (f->network == 8)
		*(volatile __u64 *)(f->frame + at) = *network;
	else if (f->network == 4)
		*(volatile __u32 *)(f->frame + at) = *network;
	now = (void *)(long)ctx->data_end - (void *)(long)ctx->data;
	asm volatile("" : "+r"(now)); /* no other sum with a pointer in it, which the verifier refuses */
	if (bpf_xdp_adjust_tail(ctx, (int)(octets - now)))
		return XDP_ABORTED;
	if (!put(ctx, f))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_TX;
}

SEC("xdp")
int send(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct plan *p = bpf_map_lookup_elem(&plan, &zero);

	(void)ctx;
	return p ? bpf_redirect(p->out, 0) : XDP_ABORTED;
}

/* What takes the replies: UDP in IPv4 without options, counted by RCODE; all else goes up. */
SEC("xdp")
int take(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *octet = data;
	__u64 *count;
	__u32 code;

	if (data + 54 > end || octet[12] != 0x08 || octet[13] != 0 || octet[14] != 0x45 || octet[23] != 17)
		return XDP_PASS;
	code = octet[42 + RCODE_AT] & (COUNTERS - 1);
	count = bpf_map_lookup_elem(&replies, &code);
	if (count)
		(*count)++;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
