/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The flow hash: which slot a flow has, and what is remembered of it.  Pure.
 *
 * It is SipHash-1-3 (Aumasson and Bernstein, 2012: 1 round a block, 3 at the end) of the octets, as they are in the packet:
 *
 *     source address (4 or 16), destination address (4 or 16), source port (2), destination port (2), protocol (1)
 *
 * so 13 octets for IPv4 and 37 for IPv6, under settings.key: its 16 octets in the order of memory.  A protocol without ports,
 * and a fragment that is not the first, have ports 0.  Who does not know the key cannot choose flows that meet in one slot.
 *
 * The 64 bits are good in every part, and each use takes bits of its own, so that within one slot, or among the flows of one
 * backend, all else is still spread evenly:
 *
 *     bits 48..63   slot:             (hash >> 32) * RING_SLOTS >> 32; of bits 32..47 it takes next to nothing
 *     bits  0..15   index into handshakes and udp_flows
 *     bits 16..47   tag in handshakes; bits 28..47 in udp_flows
 *     bits 32..47   whether the flow is tracked
 *     bits  0..31   outer source address, GUE source port (14), IPv6 flow label (20)
 */
#pragma once

#include <bpf/bpf_endian.h>

#include "layout.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LE64(x) ((__u64)(x))
#define LE32(x) ((__u64)(x))
#define LE16(x) ((__u64)(x))
#else
#define LE64(x) __builtin_bswap64(x)
#define LE32(x) ((__u64)__builtin_bswap32(x))
#define LE16(x) ((__u64)__builtin_bswap16(x))
#endif

#define ROTATED(x, by) ((x) << (by) | (x) >> (64 - (by)))

#define SIP_ROUND                                                                                                      \
	do {                                                                                                           \
		v0 += v1;                                                                                              \
		v2 += v3;                                                                                              \
		v1 = ROTATED(v1, 13) ^ v0;                                                                             \
		v3 = ROTATED(v3, 16) ^ v2;                                                                             \
		v0 = ROTATED(v0, 32);                                                                                  \
		v2 += v1;                                                                                              \
		v0 += v3;                                                                                              \
		v1 = ROTATED(v1, 17) ^ v2;                                                                             \
		v3 = ROTATED(v3, 21) ^ v0;                                                                             \
		v2 = ROTATED(v2, 32);                                                                                  \
	} while (0)

#define SIP_BLOCK(m)                                                                                                   \
	do {                                                                                                           \
		__u64 block = (m);                                                                                     \
		v3 ^= block;                                                                                           \
		SIP_ROUND;                                                                                             \
		v0 ^= block;                                                                                           \
	} while (0)

static __always_inline __u64 flow_hash(const struct settings *s, const struct packet *p)
{
	__u64 k0 = LE64(s->key[0]), k1 = LE64(s->key[1]);
	__u64 v0 = k0 ^ 0x736f6d6570736575, v1 = k1 ^ 0x646f72616e646f6d;
	__u64 v2 = k0 ^ 0x6c7967656e657261, v3 = k1 ^ 0x7465646279746573;
	__u64 last = LE16(p->source_port) | LE16(p->to.port) << 16 | (__u64)p->to.protocol << 32;

	if (p->version == 4) {
		SIP_BLOCK(LE32(*(const __u32 *)&p->source[12]) | LE32(*(const __u32 *)&p->to.address[12]) << 32);
		last |= 13ULL << 56;
	} else {
		SIP_BLOCK(LE64(*(const __u64 *)&p->source[0]));
		SIP_BLOCK(LE64(*(const __u64 *)&p->source[8]));
		SIP_BLOCK(LE64(*(const __u64 *)&p->to.address[0]));
		SIP_BLOCK(LE64(*(const __u64 *)&p->to.address[8]));
		last |= 37ULL << 56;
	}
	SIP_BLOCK(last);
	v2 ^= 0xff;
	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

static __always_inline __u32 slot_of(__u64 hash)
{
	return (hash >> 32) * RING_SLOTS >> 32;
}

static __always_inline __u32 tag_of(__u64 hash)
{
	return hash >> 16;
}

/* In udp_flows a VIP's id, which is never 0, takes the place of the lower bits. */
static __always_inline __u32 udp_tag_of(__u64 hash, __u32 vip)
{
	return (tag_of(hash) & ~(__u32)(MOST_VIPS - 1)) | vip;
}

static __always_inline __u32 index_of(__u64 hash)
{
	return hash & 0xffff;
}

_Static_assert(MOST_VIPS == 1 << 12, "udp_tag_of leaves 12 bits to the VIP");
_Static_assert(HANDSHAKES == 0x10000 && UDP_FLOWS == 0x10000, "index_of gives 16 bits");
