/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ICMP towards a VIP: echo is ours, errors belong to the flow that they quote, the rest goes up the stack.  Reads packet and maps.
 *
 * Standards: RFC 792, RFC 1812 section 4.3.2.3 (8 octets behind the quoted header are certain), RFC 4443 section 2.4 and 4.1.
 */
#pragma once

#include "decision.h"
#include "vip.h"

enum icmp_types {
	ECHO4_REPLY = 0,
	UNREACHABLE4 = 3,
	ECHO4 = 8,
	TIME_EXCEEDED4 = 11,
	PARAMETER4 = 12,
	UNREACHABLE6 = 1,
	TOO_BIG6 = 2,
	PARAMETER6 = 4,
	ECHO6 = 128,
	ECHO6_REPLY = 129,
};

static __always_inline int is_icmp(const struct packet *p)
{
	return p->to.protocol == (p->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Turn p into a packet of the flow that is quoted at `at`: from the client to the VIP.  0: there is no such flow in it. */
static __always_inline int reverse4(struct packet *p, void *at, void *end, __u32 octets)
{
	struct iphdr *ip = at;
	__be16 *ports;
	__u32 header;

	if (octets < sizeof(*ip) || (void *)(ip + 1) > end)
		return 0;
	header = ip->ihl * 4;
	if (ip->version != 4 || header < sizeof(*ip) || octets < header + 8 || ip->frag_off & bpf_htons(IP4_OFFSET))
		return 0;
	if (ip->saddr != *(__be32 *)&p->to.address[12] || (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return 0;
	ports = at + header;
	if ((void *)(ports + 2) > end)
		return 0;
	set_mapped(p->source, ip->daddr);
	p->to.protocol = ip->protocol;
	p->to.port = ports[0];
	p->source_port = ports[1];
	return 1;
}

static __always_inline int reverse6(struct packet *p, void *at, void *end, __u32 octets)
{
	struct ipv6hdr *ip = at;
	__be16 *ports = (void *)(ip + 1);
	const __u64 *from = (void *)&ip->saddr, *vip = (void *)p->to.address;

	if (octets < sizeof(*ip) + 8 || (void *)(ports + 2) > end)
		return 0;
	if (ip->version != 6 || (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP))
		return 0;
	if (from[0] != vip[0] || from[1] != vip[1])
		return 0;
	__builtin_memcpy(p->source, &ip->daddr, 16);
	p->to.protocol = ip->nexthdr;
	p->to.port = ports[0];
	p->source_port = ports[1];
	return 1;
}

static __always_inline int is_error(const struct packet *p, __u8 type)
{
	if (p->version == 4)
		return type == UNREACHABLE4 || type == TIME_EXCEEDED4 || type == PARAMETER4;
	return type >= UNREACHABLE6 && type <= PARAMETER6;
}

/* ACT_BALANCE: p is now of the quoted flow. */
static __always_inline enum act decide_icmp(struct xdp_md *ctx, struct packet *p, const struct settings *s,
					    struct decision *d)
{
	void *end = (void *)(long)ctx->data_end;
	__u8 *at = (void *)(long)ctx->data + (p->l4 & 0x3fff);
	__u32 octets = p->l3 + p->octets - p->l4 - ICMP_OCTETS;
	struct vip *vip;

	d->counted = COUNT_ICMP_UNKNOWN;
	if ((void *)at + ICMP_OCTETS > end || p->flags & PACKET_FRAGMENT)
		return ACT_PASS;
	if (at[0] == (p->version == 4 ? ECHO4 : ECHO6)) {
		vip = find_address(p, s);
		if (!vip)
			return ACT_PASS;
		d->vip = vip->id;
		return ACT_ECHO;
	}
	if (!is_error(p, at[0]))
		return ACT_PASS;
	if (!(p->version == 4 ? reverse4(p, at + ICMP_OCTETS, end, octets)
			      : reverse6(p, at + ICMP_OCTETS, end, octets)))
		return ACT_PASS;
	d->error = 1;
	return ACT_BALANCE;
}
