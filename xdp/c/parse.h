/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The one parse: Ethernet, VLAN tags, IP, extension headers, ports -> struct packet.  It changes nothing in the frame.
 *
 * Rule 1: lengths are those of the IP header; what follows in the frame is Ethernet's padding.
 * Rule 2: a header that says more than the frame holds is MALFORMED; a transport header that the IP packet cuts off is only SHORT,
 *         since whom the packet is for is known.
 * Rule 3: an IPv6 header with ::ffff:a.b.c.d in it is MALFORMED: such addresses are on no wire, and keys could not tell it from IPv4.
 * Standards: IEEE 802.1Q (two tags), RFC 791, RFC 8200 section 4 (extension headers), RFC 6946 (atomic fragments), RFC 6890
 * section 2.2.3 (::ffff:0:0/96 is neither source nor destination).
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>

#include "layout.h"
#include "mapped.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum parsed {
	PARSED,
	NOT_IP,
	MALFORMED,
};

enum parse_sizes {
	VLAN_OCTETS = 4,
	TCP_OCTETS = 20,
	UDP_OCTETS = 8,
	ICMP_OCTETS = 8,
	MOST_EXTENSIONS = 6,
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

enum fragment_bits {
	IP4_DONT_FRAGMENT = 0x4000,
	IP4_MORE = 0x2000,
	IP4_OFFSET = 0x1fff,
	IP6_MORE = 0x0001,
	IP6_OFFSET = 0xfff8,
};

/* Octets of a frame; a barrier keeps the compiler from other sums with pointers in them, which the verifier refuses. */
static __always_inline __u64 frame_octets(const struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 octets = end - data;

	asm volatile("" : "+r"(octets));
	return octets;
}

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* in octets: its low three bits are flags */
	__be32 id;
};

/* Port, protocol and zero of the key as one word: what is asked of a map next would wait for three stores. */
static __always_inline void set_service(struct packet *p, __be16 port, __u8 protocol)
{
	union {
		struct {
			__be16 port;
			__u8 protocol;
			__u8 zero;
		} is;
		__u32 word;
	} service = {.is = {.port = port, .protocol = protocol}};

	*(__u32 *)&p->to.port = service.word;
}

static __always_inline int same_key(const struct vip_key *left, const struct vip_key *right)
{
	const __u32 *l = (const void *)left, *r = (const void *)right;

	return ((l[0] ^ r[0]) | (l[1] ^ r[1]) | (l[2] ^ r[2]) | (l[3] ^ r[3]) | (l[4] ^ r[4])) == 0;
}

static __always_inline void without_ports(struct packet *p, __u8 protocol)
{
	set_service(p, 0, protocol);
	p->source_port = 0;
	p->tcp_flags = 0;
}

/* Ports and what TCP says.  `octets` are those of the IP packet behind its headers. */
static __always_inline void parse_transport(struct packet *p, void *at, void *end, __u32 octets, __u8 protocol)
{
	const __u8 *o = at;

	if (unlikely(p->flags & PACKET_LATER)) {
		without_ports(p, protocol);
		return;
	}
	if (likely(protocol == IPPROTO_TCP)) {
		if (octets < TCP_OCTETS || at + TCP_OCTETS > end) {
			p->flags |= PACKET_SHORT;
			without_ports(p, protocol);
			return;
		}
		p->source_port = *(__be16 *)&o[0];
		set_service(p, *(__be16 *)&o[2], protocol);
		p->sequence = *(__be32 *)&o[4];
		p->payload = p->l4 + (o[12] >> 4) * 4;
		p->tcp_flags = o[13];
		return;
	}
	if (protocol == IPPROTO_UDP && octets >= UDP_OCTETS && at + UDP_OCTETS <= end) {
		p->source_port = *(__be16 *)&o[0];
		set_service(p, *(__be16 *)&o[2], protocol);
		p->tcp_flags = 0;
		return;
	}
	without_ports(p, protocol);
	if (protocol == IPPROTO_UDP ||
	    ((protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) && octets < ICMP_OCTETS))
		p->flags |= PACKET_SHORT;
}

static __always_inline int parse4(struct packet *p, void *data, void *end, __u32 l3)
{
	struct iphdr *ip = data + l3;
	__u32 octets, header;
	__u16 fragment;
	__u8 flags = 0;

	if ((void *)(ip + 1) > end)
		return MALFORMED;
	header = ip->ihl * 4;
	octets = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || octets < header || octets > (__u64)(end - (void *)ip))
		return MALFORMED;
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & IP4_DONT_FRAGMENT)
		flags |= PACKET_DONT_FRAGMENT;
	if (unlikely(fragment & (IP4_MORE | IP4_OFFSET))) {
		flags |= PACKET_FRAGMENT;
		if (fragment & IP4_OFFSET)
			flags |= PACKET_LATER;
		p->fragment_id = (__be32)ip->id;
	}
	if (unlikely(header != sizeof(*ip)))
		flags |= PACKET_OPTIONS;
	p->version = 4;
	p->flags = flags;
	p->octets = octets;
	p->l3 = l3;
	p->l4 = l3 + header;
	p->tos = ip->tos;
	p->ttl = ip->ttl;
	set_mapped(p->source, ip->saddr);
	set_mapped(p->to.address, ip->daddr);
	parse_transport(p, (void *)ip + header, end, octets - header, ip->protocol);
	return PARSED;
}

static __always_inline int is_extension(__u8 header)
{
	return header == IPPROTO_HOPOPTS || header == IPPROTO_ROUTING || header == IPPROTO_DSTOPTS ||
	       header == IPPROTO_FRAGMENT;
}

/* Walk extension headers from `at`, an offset behind the IPv6 header; what is found goes to p->flags and p->fragment_id. */
static __always_inline __u32 parse_extensions(struct packet *p, void *ip, void *end, __u8 *next, __u32 octets)
{
	__u32 at = sizeof(struct ipv6hdr);

	for (int i = 0; i < MOST_EXTENSIONS; i++) {
		const __u8 *o;

		if (!is_extension(*next))
			return at;
		o = ip + at;
		if (at + 8 > octets || (void *)o + 8 > end) {
			p->flags |= PACKET_SHORT;
			return at;
		}
		if (*next == IPPROTO_FRAGMENT) {
			const struct fragment_header *f = (const void *)o;
			__u16 offset = bpf_ntohs(f->offset);

			if (offset & (IP6_OFFSET | IP6_MORE))
				p->flags |= PACKET_FRAGMENT;
			p->fragment_id = f->id;
			*next = f->next;
			at += sizeof(*f);
			if (offset & IP6_OFFSET) {
				p->flags |= PACKET_LATER;
				return at;
			}
			continue;
		}
		*next = o[0];
		at += 8 + o[1] * 8;
	}
	if (is_extension(*next))
		p->flags |= PACKET_DEEP;
	return at;
}

static __always_inline int parse6(struct packet *p, void *data, void *end, __u32 l3)
{
	struct ipv6hdr *ip = data + l3;
	__u32 octets, header = sizeof(*ip);
	__u8 next;

	if ((void *)(ip + 1) > end)
		return MALFORMED;
	octets = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (ip->version != 6 || octets > 0xffff || octets > (__u64)(end - (void *)ip))
		return MALFORMED;
	p->version = 6;
	p->flags = PACKET_DONT_FRAGMENT;
	p->octets = octets;
	p->l3 = l3;
	p->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	p->ttl = ip->hop_limit;
	__builtin_memcpy(p->source, &ip->saddr, 16);
	__builtin_memcpy(p->to.address, &ip->daddr, 16);
	if (unlikely(is_mapped(&ip->saddr) || is_mapped(&ip->daddr)))
		return MALFORMED;
	next = ip->nexthdr;
	if (unlikely(is_extension(next)))
		header = parse_extensions(p, ip, end, &next, octets);
	p->l4 = l3 + header;
	if (unlikely(p->flags & (PACKET_DEEP | PACKET_SHORT)) || header > octets) {
		if (header > octets)
			p->flags |= PACKET_SHORT;
		without_ports(p, next);
		return PARSED;
	}
	parse_transport(p, (void *)ip + header, end, octets - header, next);
	return PARSED;
}

static __always_inline int is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline int parse(struct packet *p, void *data, void *end)
{
	__u32 l3 = sizeof(struct ethhdr);
	__be16 type;

	if (data + sizeof(struct ethhdr) > end)
		return NOT_IP;
	type = *(__be16 *)(data + 12);
	if (is_vlan(type)) {
		if (data + 18 > end)
			return NOT_IP;
		type = *(__be16 *)(data + 16);
		l3 = 18;
		if (is_vlan(type)) {
			if (data + 22 > end)
				return NOT_IP;
			type = *(__be16 *)(data + 20);
			l3 = 22;
		}
	}
	if (likely(type == bpf_htons(ETH_P_IP)))
		return parse4(p, data, end, l3);
	if (type == bpf_htons(ETH_P_IPV6))
		return parse6(p, data, end, l3);
	return NOT_IP;
}
