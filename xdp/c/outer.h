/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Outer headers: IP, and UDP for GUE.  Pure: they are written where the caller has made and checked room.
 *
 * Standards: RFC 2003 (IPv4 in IPv4), RFC 2473 (in IPv6), RFC 4213 (IPv6 in IPv4), RFC 6040 section 4.1 (ECN is copied),
 * draft-ietf-intarea-gue-09 section 4 (variant 1: the version of the inner header says which), RFC 6935 (no UDP checksum in IPv6).
 */
#pragma once

#include <linux/in.h>
#include <bpf/bpf_endian.h>

#include "layout.h"
#include "mapped.h"

enum outer_sizes {
	IP4_OCTETS = 20,
	IP6_OCTETS = 40,
	GUE_OCTETS = 8, /* of UDP: variant 1 adds nothing */
	OUTER_TTL = 64,
	FIRST_SOURCE_PORT = 0xc000, /* the dynamic range (RFC 6335 section 6), 14 bits */
};

struct outer {
	__u64 hash;	 /* of the flow */
	__u32 octets;	 /* of the inner packet */
	__be32 identity; /* identification, flags and offset of an outer IPv4 header */
	__u8 tos;	 /* of the inner packet */
	__u8 version;	 /* of the inner packet */
};

/* Octets that reaching this backend adds to a packet. */
static __always_inline __u32 overhead_of(const struct backend *b)
{
	if (b->mode == MODE_L2)
		return 0;
	return (is_mapped(b->address) ? IP4_OCTETS : IP6_OCTETS) + (b->mode == MODE_GUE ? GUE_OCTETS : 0);
}

/* A sum of 32-bit words as the checksum of RFC 1071. */
static __always_inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* IPPROTO_IPIP, IPPROTO_IPV6 or IPPROTO_UDP. */
static __always_inline __u8 outer_protocol(const struct backend *b, const struct outer *o)
{
	if (b->mode == MODE_GUE)
		return IPPROTO_UDP;
	return o->version == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

static __always_inline void write_gue(void *at, const struct settings *s, const struct outer *o)
{
	__be16 *words = at;

	words[0] = bpf_htons(FIRST_SOURCE_PORT | (o->hash & 0x3fff));
	words[1] = s->gue_port;
	words[2] = bpf_htons(GUE_OCTETS + o->octets);
	words[3] = 0;
}

/* IP4_OCTETS, and GUE_OCTETS for GUE. */
static __always_inline void write_outer4(void *at, const struct settings *s, const struct backend *b,
					 const struct outer *o)
{
	__u32 gue = b->mode == MODE_GUE;
	__u32 total = IP4_OCTETS + (gue ? GUE_OCTETS : 0) + o->octets;
	__be32 first = bpf_htonl(0x45000000 | (__u32)o->tos << 16 | (total & 0xffff));
	__be32 third = bpf_htonl((__u32)OUTER_TTL << 24 | (__u32)outer_protocol(b, o) << 16);
	__be32 source = gue ? s->own4 : s->source4 | (bpf_htonl((__u32)o->hash) & s->spread4);
	__be32 destination = *(const __be32 *)&b->address[12];
	__u64 sum = (__u64)first + o->identity + third + source + destination;
	__be32 *words = at;

	words[0] = first;
	words[1] = o->identity;
	words[2] = third;
	*((__u16 *)at + 5) = folded(sum);
	words[3] = source;
	words[4] = destination;
	if (gue)
		write_gue(at + IP4_OCTETS, s, o);
}

/* IP6_OCTETS, and GUE_OCTETS for GUE. */
static __always_inline void write_outer6(void *at, const struct settings *s, const struct backend *b,
					 const struct outer *o)
{
	__u32 gue = b->mode == MODE_GUE;
	__u32 carried = (gue ? GUE_OCTETS : 0) + o->octets;
	__be32 spread = bpf_htonl((__u32)o->hash);
	__be32 *words = at;

	words[0] = bpf_htonl(6U << 28 | (__u32)o->tos << 20 | (o->hash & 0xfffff));
	words[1] = bpf_htonl((carried & 0xffff) << 16 | (__u32)outer_protocol(b, o) << 8 | OUTER_TTL);
	if (gue) {
		__builtin_memcpy(&words[2], s->own6, 16);
	} else {
		const __be32 *source = (const __be32 *)s->source6, *mask = (const __be32 *)s->spread6;

		words[2] = source[0] | (spread & mask[0]);
		words[3] = source[1] | (spread & mask[1]);
		words[4] = source[2] | (spread & mask[2]);
		words[5] = source[3] | (spread & mask[3]);
	}
	__builtin_memcpy(&words[6], b->address, 16);
	if (gue)
		write_gue(at + IP6_OCTETS, s, o);
}

/* The identity of an outer IPv4 header: of an inner IPv4 packet its identification and DF (RFC 2003 section 3.1); over IPv6 DF. */
static __always_inline __be32 outer_identity(__u8 version, const void *inner)
{
	if (version == 4)
		return ((const __be32 *)inner)[1] & bpf_htonl(0xffff4000);
	return bpf_htonl(0x4000);
}
