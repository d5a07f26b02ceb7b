/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* SipHash (Aumasson and Bernstein, 2012) of words of 8 octets; whoever uses it says how many rounds. */
#pragma once

#include "dns_memory.h"

struct dns_sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 dns_rotated(__u64 value, int by)
{
	return value << by | value >> (64 - by);
}

static __always_inline struct dns_sip dns_sip_begin(__u64 key0, __u64 key1)
{
	struct dns_sip s = {
	    .v0 = key0 ^ 0x736f6d6570736575,
	    .v1 = key1 ^ 0x646f72616e646f6d,
	    .v2 = key0 ^ 0x6c7967656e657261,
	    .v3 = key1 ^ 0x7465646279746573,
	};

	return s;
}

static __always_inline void dns_sip_round(struct dns_sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = dns_rotated(s->v1, 13) ^ s->v0;
	s->v3 = dns_rotated(s->v3, 16) ^ s->v2;
	s->v0 = dns_rotated(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = dns_rotated(s->v1, 17) ^ s->v2;
	s->v3 = dns_rotated(s->v3, 21) ^ s->v0;
	s->v2 = dns_rotated(s->v2, 32);
}

static __always_inline void dns_sip_word(struct dns_sip *s, __u64 word, int rounds)
{
	s->v3 ^= word;
#pragma GCC unroll 4
	for (int i = 0; i < rounds; i++)
		dns_sip_round(s);
	s->v0 ^= word;
}

static __always_inline __u64 dns_sip_end(struct dns_sip *s, int rounds)
{
	s->v2 ^= 0xff;
#pragma GCC unroll 4
	for (int i = 0; i < rounds; i++)
		dns_sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}
