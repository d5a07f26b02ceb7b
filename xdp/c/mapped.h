/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* IPv4 addresses in 16 octets, as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).  Pure. */
#pragma once

#include <linux/types.h>
#include <bpf/bpf_endian.h>

/* `address` is aligned as a __u64, as in all structs of layout.h. */
static __always_inline void set_mapped(__u8 *address, __be32 ip4)
{
	__u64 *words = (__u64 *)address;

	words[0] = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	words[1] = 0xffff0000ULL | (__u64)ip4 << 32;
#else
	words[1] = 0x0000ffff00000000ULL | ip4;
#endif
}

/* By words of 32 bits, as headers of packets are copied: a wider load would wait for two stores. */
static __always_inline int is_mapped(const void *address)
{
	const __be32 *words = address;

	return (words[0] | words[1] | (words[2] ^ bpf_htonl(0xffff))) == 0;
}
