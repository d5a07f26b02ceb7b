/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the balancer answers itself, in the frame that came: echo, and "too big" for what does not fit on its way to a backend.
 *
 * Standards: RFC 792, RFC 1191 section 4, RFC 1812 section 4.3.2 (a quote fills 576 octets), RFC 4443 section 2.4 and 3.2 (1280 octets;
 * never about an error), RFC 1624 (checksums of small changes).
 */
#pragma once

#include "decision.h"
#include "forward.h"
#include "frame.h"
#include "icmp.h"
#include "limits.h"

enum answer_sizes {
	QUOTED4 = 576 - IP4_OCTETS - ICMP_OCTETS,
	LEAST_QUOTED4 = IP4_OCTETS + 8,
	QUOTED6 = 1280 - IP6_OCTETS - ICMP_OCTETS,
	CSUM_PART = 512,	  /* most that one call of bpf_csum_diff takes */
	FRAGMENTATION_NEEDED = 4, /* code of UNREACHABLE4 */
};

_Static_assert(QUOTED4 > CSUM_PART && QUOTED4 % 4 == 0, "two parts");
_Static_assert(QUOTED6 > 2 * CSUM_PART && QUOTED6 % 4 == 0, "three parts");

/* A checksum after one of its words changed. */
static __always_inline __u16 adjusted(__u16 check, __u16 before, __u16 after)
{
	return folded((__u64)(__u16)~check + (__u16)~before + after);
}

static __always_inline void echo4(struct iphdr *ip, __u8 *icmp)
{
	__u16 *words = (void *)ip;
	__be32 source = ip->saddr;
	__u16 before = words[4];

	ip->saddr = ip->daddr;
	ip->daddr = source;
	ip->ttl = OUTER_TTL;
	ip->check = adjusted(ip->check, before, words[4]);
	icmp[0] = ECHO4_REPLY;
	*(__u16 *)&icmp[2] = adjusted(*(__u16 *)&icmp[2], bpf_htons(ECHO4 << 8), bpf_htons(ECHO4_REPLY << 8));
}

static __always_inline void echo6(struct ipv6hdr *ip, __u8 *icmp)
{
	struct in6_addr source = ip->saddr;

	ip->saddr = ip->daddr;
	ip->daddr = source;
	ip->hop_limit = OUTER_TTL;
	icmp[0] = ECHO6_REPLY;
	*(__u16 *)&icmp[2] = adjusted(*(__u16 *)&icmp[2], bpf_htons(ECHO6 << 8), bpf_htons(ECHO6_REPLY << 8));
}

static __always_inline int answer_echo(struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	void *ip = data + (p->l3 & 31);
	__u8 *icmp = data + (p->l4 & 0x3fff);

	if (data + 22 > end || (void *)icmp + ICMP_OCTETS > end || ip + IP4_OCTETS > end)
		return XDP_DROP;
	return_frame(data, data, p->l3 & 31);
	if (p->version == 4) {
		echo4(ip, icmp);
	} else {
		if (ip + IP6_OCTETS > end)
			return XDP_DROP;
		echo6(ip, icmp);
	}
	count(COUNT_ECHO);
	return XDP_TX;
}

/* Make the frame `octets` long.  Returns 0 where it cannot be. */
static __always_inline int cut(struct xdp_md *ctx, __u32 octets)
{
	__s64 more = (__s64)frame_octets(ctx) - octets;

	return more >= 0 && (more == 0 || !bpf_xdp_adjust_tail(ctx, -(int)more));
}

static __always_inline void write_unreachable(void *at, const struct packet *p, __u32 quoted, __u32 mtu, __u64 sum)
{
	__u32 total = IP4_OCTETS + ICMP_OCTETS + quoted;
	__be32 *words = at;
	__u64 header;

	words[0] = bpf_htonl(0x45000000 | total);
	words[1] = bpf_htonl(IP4_DONT_FRAGMENT);
	words[2] = bpf_htonl((__u32)OUTER_TTL << 24 | IPPROTO_ICMP << 16);
	words[3] = *(const __be32 *)&p->to.address[12];
	words[4] = *(const __be32 *)&p->source[12];
	header = (__u64)words[0] + words[1] + words[2] + words[3] + words[4];
	*((__u16 *)at + 5) = folded(header);
	words[5] = bpf_htonl(UNREACHABLE4 << 24 | FRAGMENTATION_NEEDED << 16);
	words[6] = bpf_htonl(mtu);
	*((__u16 *)at + 11) = folded(sum + words[5] + words[6]);
}

static __always_inline int answer_too_big4(struct xdp_md *ctx, const struct packet *p, __u32 mtu)
{
	__u32 l3 = p->l3 & 31, quoted = p->octets >= QUOTED4 ? QUOTED4 : LEAST_QUOTED4;
	void *data, *end, *at, *old;
	__s64 sum;

	if (bpf_xdp_adjust_head(ctx, -(IP4_OCTETS + ICMP_OCTETS)) || !cut(ctx, l3 + IP4_OCTETS + ICMP_OCTETS + quoted))
		return 0;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	old = data + IP4_OCTETS + ICMP_OCTETS + l3;
	at = data + l3;
	if (data + 64 > end || at + IP4_OCTETS + ICMP_OCTETS > end)
		return 0;
	if (quoted == QUOTED4) {
		if (old + QUOTED4 > end)
			return 0;
		sum = bpf_csum_diff(0, 0, old, CSUM_PART, 0);
		sum = bpf_csum_diff(0, 0, old + CSUM_PART, QUOTED4 - CSUM_PART, sum);
	} else {
		if (old + LEAST_QUOTED4 > end)
			return 0;
		sum = bpf_csum_diff(0, 0, old, LEAST_QUOTED4, 0);
	}
	return_frame(data, data + IP4_OCTETS + ICMP_OCTETS, l3);
	write_unreachable(at, p, quoted, mtu, (__u32)sum);
	return 1;
}

static __always_inline void write_too_big6(void *at, const struct packet *p, __u32 mtu, __u64 sum)
{
	const __be32 *vip = (const void *)p->to.address, *client = (const void *)p->source;
	__be32 *words = at;

	words[0] = bpf_htonl(6U << 28);
	words[1] = bpf_htonl((ICMP_OCTETS + QUOTED6) << 16 | IPPROTO_ICMPV6 << 8 | OUTER_TTL);
	__builtin_memcpy(&words[2], vip, 16);
	__builtin_memcpy(&words[6], client, 16);
	words[10] = bpf_htonl(TOO_BIG6 << 24);
	words[11] = bpf_htonl(mtu);
	sum += (__u64)words[10] + words[11] + bpf_htonl(ICMP_OCTETS + QUOTED6) + bpf_htonl(IPPROTO_ICMPV6);
	sum += (__u64)vip[0] + vip[1] + vip[2] + vip[3] + client[0] + client[1] + client[2] + client[3];
	*((__u16 *)at + 21) = folded(sum);
}

static __always_inline int answer_too_big6(struct xdp_md *ctx, const struct packet *p, __u32 mtu)
{
	__u32 l3 = p->l3 & 31;
	void *data, *end, *at, *old;
	__s64 sum;

	if (bpf_xdp_adjust_head(ctx, -(IP6_OCTETS + ICMP_OCTETS)) || !cut(ctx, l3 + 1280))
		return 0;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	old = data + IP6_OCTETS + ICMP_OCTETS + l3;
	at = data + l3;
	if (data + 96 > end || at + IP6_OCTETS + ICMP_OCTETS > end || old + QUOTED6 > end)
		return 0;
	sum = bpf_csum_diff(0, 0, old, CSUM_PART, 0);
	sum = bpf_csum_diff(0, 0, old + CSUM_PART, CSUM_PART, sum);
	sum = bpf_csum_diff(0, 0, old + 2 * CSUM_PART, QUOTED6 - 2 * CSUM_PART, sum);
	return_frame(data, data + IP6_OCTETS + ICMP_OCTETS, l3);
	write_too_big6(at, p, mtu, (__u32)sum);
	return 1;
}

/* Whether the sender of a packet that does not fit can be told. */
static __always_inline int can_be_told(const struct packet *p, const struct decision *d)
{
	if (d->error || p->flags & PACKET_LATER || !(p->flags & PACKET_DONT_FRAGMENT))
		return 0;
	if (p->octets < (p->version == 4 ? LEAST_QUOTED4 : QUOTED6))
		return 0;
	if (d->to->mtu <= d->overhead) /* nothing would fit */
		return 0;
	return allowed(LIMIT_ANSWERS, MOST_ANSWERS, bpf_ktime_get_ns());
}

static __always_inline int answer_too_big(struct xdp_md *ctx, const struct packet *p, const struct decision *d)
{
	__u32 mtu = d->to->mtu - d->overhead;

	if (!can_be_told(p, d)) {
		count(COUNT_TOO_BIG_DROPPED);
		return XDP_DROP;
	}
	if (!(p->version == 4 ? answer_too_big4(ctx, p, mtu) : answer_too_big6(ctx, p, mtu))) {
		count(COUNT_NO_ROOM);
		return XDP_DROP;
	}
	count(COUNT_TOO_BIG_SENT);
	return XDP_TX;
}
