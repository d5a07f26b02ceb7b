/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A packet on its way to a backend.
 *
 * What is tunnelled has its TTL or hop limit decremented, as RFC 2003 section 3.1 and RFC 2473 section 3.1 ask of who forwards: the outer
 * header has a fresh one, and without this a packet between two balancers that name each other would never die.  With new
 * Ethernet addresses nothing of IP is touched.
 */
#pragma once

#include "decision.h"
#include "maps.h"
#include "outer.h"
#include "parse.h"

static __always_inline int leave(struct xdp_md *ctx, const struct backend *b)
{
	return b->ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(b->ifindex, 0);
}

/* next_hop and source stand in the record as in a frame. */
static __always_inline void address_frame(void *data, const struct backend *b)
{
	*(__u64 *)data = *(const __u64 *)b->next_hop;
	*(__u32 *)(data + 8) = *(const __u32 *)&b->source[2];
}

static __always_inline int forward_l2(struct xdp_md *ctx, const struct backend *b)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + sizeof(struct ethhdr) > end)
		return XDP_DROP;
	address_frame(data, b);
	return leave(ctx, b);
}

/* Cut off what follows the IP packet in the frame. */
static __always_inline void trim(struct xdp_md *ctx, const struct packet *p)
{
	__s64 padding = (__s64)frame_octets(ctx) - p->l3 - p->octets;

	if (unlikely(padding > 0))
		bpf_xdp_adjust_tail(ctx, -(int)padding);
}

/* Decrement the TTL; the checksum by RFC 1624. */
static __always_inline void age(void *inner, __u8 version)
{
	struct iphdr *ip = inner;
	__u32 check;

	if (version != 4) {
		((struct ipv6hdr *)inner)->hop_limit--;
		return;
	}
	ip->ttl--;
	check = ip->check + bpf_htons(0x0100);
	ip->check = check + (check >= 0xffff);
}

/* Move the tags to the front of a frame that has grown by `overhead`, and say what follows them.  0: it is too short. */
static __always_inline int move_tags(void *data, void *end, __u32 l3, __u32 overhead, __be16 type)
{
	const void *old = data + (overhead & 63);

	if (old + 20 > end || data + 22 > end)
		return 0;
	if (likely(l3 == sizeof(struct ethhdr))) {
		*(__be16 *)(data + 12) = type;
		return 1;
	}
	*(__u32 *)(data + 12) = *(const __u32 *)(old + 12);
	if (l3 == sizeof(struct ethhdr) + VLAN_OCTETS) {
		*(__be16 *)(data + 16) = type;
	} else {
		*(__u32 *)(data + 16) = *(const __u32 *)(old + 16);
		*(__be16 *)(data + 20) = type;
	}
	return 1;
}

static __always_inline int forward_tunnel(struct xdp_md *ctx, const struct packet *p, const struct settings *s,
					  const struct decision *d)
{
	const struct backend *b = d->to;
	struct outer outer = {.hash = d->hash, .octets = p->octets, .tos = p->tos, .version = p->version};
	__u32 l3 = p->l3 & 31;
	void *data, *end, *at;

	trim(ctx, p);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	at = data + l3;
	if (at + IP4_OCTETS > end)
		return XDP_DROP;
	age(at, p->version);
	outer.identity = outer_identity(p->version, at);
	if (bpf_xdp_adjust_head(ctx, -(int)d->overhead)) {
		count(COUNT_NO_ROOM);
		return XDP_DROP;
	}
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	at = data + l3;
	/* The packet has IP4_OCTETS at least, so that either outer header with that of GUE is within it. */
	if (is_mapped(b->address)) {
		if (!move_tags(data, end, l3, d->overhead, bpf_htons(ETH_P_IP)) || at + IP4_OCTETS + GUE_OCTETS > end)
			return XDP_DROP;
		write_outer4(at, s, b, &outer);
	} else {
		if (!move_tags(data, end, l3, d->overhead, bpf_htons(ETH_P_IPV6)) || at + IP6_OCTETS + GUE_OCTETS > end)
			return XDP_DROP;
		write_outer6(at, s, b, &outer);
	}
	address_frame(data, b);
	return leave(ctx, b);
}

static __always_inline int forward(struct xdp_md *ctx, const struct packet *p, const struct settings *s,
				   const struct decision *d)
{
	return d->to->mode == MODE_L2 ? forward_l2(ctx, d->to) : forward_tunnel(ctx, p, s, d);
}
