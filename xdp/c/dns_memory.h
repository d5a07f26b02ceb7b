/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What DNS is answered with: one query's scratch memory, and the tables.  The same text is compiled for BPF and natively.
 *
 * Rule 1: tables are reached by dns_at alone, and a record is read within what it vouches for.
 * Rule 2: an offset that came from a packet or a table is cut to its buffer by DNS_CUT_TO where it is used, since the verifier
 * believes nothing else; so no image, however damaged, leads out of memory.
 */
#pragma once

#include "dns_layout.h"

#ifdef __bpf__
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#else
#include <string.h>
#endif

#ifndef __bpf__
#undef __always_inline /* some header makes it a mere `inline` */
#define __always_inline inline __attribute__((always_inline))
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "images are little endian, and so must the machine be"
#endif

enum dns_room {
	DNS_MESSAGE_MASK = 2047, /* of offsets into a message */
#ifdef __bpf__
	DNS_MESSAGE_ROOM = DNS_MESSAGE_MASK + 1,
#else
	DNS_MESSAGE_ROOM = 4096, /* a longer datagram is never looked at by anyone */
#endif
	DNS_SLACK = 64, /* octets behind each buffer, so that words may be read and written at its end */
	DNS_NAME_MASK = DNS_NAME_MOST - 1,
	DNS_NAME_AFTER = 2 * DNS_NAME_MOST - 1, /* of offsets up to the word behind a name */
	DNS_COUNTS_ROOM = 512, /* struct dns_counts lies in one chunk where a block begins at a multiple of it */
};

/* What becomes of a query. */
enum dns_verdict {
	DNS_UP,	   /* the reference answers, or keeps silent; w->up says why */
	DNS_REPLY, /* w->message, w->octets */
	DNS_DROP,  /* over the limit: nobody answers */
};

/* How much of an answer a reply has. */
enum dns_sent {
	DNS_SENT_WHOLE,
	DNS_SENT_TRUNCATED, /* TC, and no records: the asker comes back by TCP */
	DNS_SENT_BADCOOKIE, /* over the limit: a fresh cookie, and no records */
};

/* One query and its reply.  Whoever asks fills in the first part. */
struct dns_work {
	__u8 message[DNS_MESSAGE_ROOM + DNS_SLACK]; /* the query; then, in its place, the reply */
	__u8 source[16];			    /* the asker's address; of IPv4 as ::ffff:0:0/96 */
	__u32 octets;				    /* of the query; then of the reply */

	__u32 name_octets; /* of the name asked, with the root */
	__u32 behind;	   /* offset of what stands behind the question */
	__u32 type;
	__u32 has_opt;
	__u32 payload; /* what the asker can take */
	__u32 opt_do;  /* as in the message: the DO flag */
	__u32 nsid;    /* wanted */
	__u32 subnet;  /* octets of the client subnet option's data; 0: there is none */
	__u32 subnet_family;
	__u32 subnet_source;	 /* bits */
	__u64 subnet_address[2]; /* as it came; zeros behind it */

	__u32 cookie_at;	/* offset of the cookie's data in the query */
	__u32 cookie_octets;	/* 0: there is none, or none is answered */
	__u32 cookie_valid;	/* the asker showed that it hears us */
	__u64 cookie_client;	/* as in memory, as the rest of it */
	__u64 cookie_server[2]; /* of the reply */

	/* the address that decides */
	__u32 base;	 /* of a search: the line where it goes on */
	__u64 high, low; /* as numbers: the 128 bits of IPv6; of IPv4 `low` holds 32 */
	__u32 is_v6;
	__u32 before;  /* bits of prefix before an embedded IPv4 address */
	__u32 located; /* of IPv4: class << 8 | scope, read ahead */
	__u32 scope;   /* of the answer */
	__u32 class;

	/* what is answered */
	__u32 from;   /* octet of the name where the end begins that is looked up */
	__u32 exact;  /* that node is the name asked itself */
	__u32 answer; /* line */
	__u32 moved;  /* octets that stand before the zone's name */

	__u32 opt_octets; /* of its OPT record */
	__u32 sent;	  /* enum dns_sent: how much of it */
	__u32 over;	  /* it is over the limit of its network */
	__u32 slipped;	  /* and sent, cut */

	__u64 limited; /* hash of the asker's network, whose responses are limited together */

	/* what is counted */
	__u32 verdict;				  /* enum dns_verdict */
	__u32 up;				  /* enum dns_up */
	__u32 outcome;				  /* gslb.nameserver.counters.Counter */
	__u32 account;				  /* which responses are limited together */
	__u32 mark;				  /* 1 + its counter; 0: none */
	__u32 cell;				  /* 1 + the cell's counter; 0: none */
	__u32 asked;				  /* 1 + another counter among the cells; 0: none */
	__u64 hash;				  /* of the name */
	__u8 name[2 * DNS_NAME_MOST + DNS_SLACK]; /* lowered; zeros behind it */
};

#ifdef __bpf__
/* An inner array map of chunks, and where the first of them is. */
struct dns_memory {
	void *chunks;
	__u8 *first;
};
#else
struct dns_memory {
	__u8 *octets;
	__u64 length;
};
#endif
typedef const struct dns_memory *dns_handle;

/* What it is answered from, and where it is counted. */
struct dns_context {
	dns_handle image;
	dns_handle geography;
	dns_handle block; /* of counters */
	__u64 block_at;	  /* this CPU's or worker's part: a multiple of DNS_COUNTS_ROOM */
	__u64 now_s;	  /* since the epoch */
	__u64 now_ns;	  /* of the monotonic clock */
	void *buckets;	  /* of the limit: sets by number, for BPF in a map; 0: nothing is limited */

	const struct dns_v6_leaf *leaf; /* of a query from IPv6, read ahead; 0: the table has none */
};

#ifdef __bpf__
/*
 * Hides from the compiler what it knows of a number, so that it leaves the cut in the program.  So is a length cut that was compared
 * before: Linux 6.1 learns nothing of a number's copies, on the stack or in another register, when one of them is compared.
 */
#define DNS_CUT_TO(at, mask)                                                                                           \
	({                                                                                                             \
		__u64 cut = (at);                                                                                      \
		asm volatile("" : "+r"(cut));                                                                          \
		cut &(mask);                                                                                           \
	})
#else
#define DNS_CUT_TO(at, mask) ((at) & (mask))
#endif

/*
 * A number that is kept in memory between the turns of a loop, and read anew: to the verifier it is then any number, so that all
 * turns look alike and it need not follow each way through them.
 */
#ifdef __bpf__
#define DNS_KEPT(number) (*(volatile typeof(number) *)&(number))
#else
#define DNS_KEPT(number) (number)
#endif

/* The chunk that holds an octet of a table, and where it begins in it. */
struct dns_span {
	__u8 *chunk;
	__u64 at;
};

/* Whether a table has `size` octets from `octet` on.  In a map all chunks are whole, and a lookup says whether there is one. */
static __always_inline int dns_holds(dns_handle table, __u64 octet, __u64 size)
{
#ifdef __bpf__
	(void)table, (void)octet, (void)size;
	return 1;
#else
	return octet + size <= table->length && octet + size >= octet;
#endif
}

/*
 * `size` octets from `octet` on, in one chunk; none (chunk 0) where the table ends before.  The first chunk is known: a look-up in an
 * inner map is a call, and each return from one costs some 20 cycles where the kernel guards returns against speculation.
 */
static __always_inline struct dns_span dns_span(dns_handle table, __u64 octet, __u64 size)
{
	struct dns_span span = {};
#ifdef __bpf__
	__u32 number = octet >> DNS_CHUNK_BITS;

	(void)size;
	span.chunk = number ? bpf_map_lookup_elem(table->chunks, &number) : table->first;
	span.at = octet & (DNS_CHUNK - 1);
#else
	if (dns_holds(table, octet, size)) {
		span.chunk = table->octets;
		span.at = octet;
	}
#endif
	return span;
}

/* What is `further` on from where a span begins: aligned to `size`, a power of two, and with as much in the chunk. */
static __always_inline void *dns_in_span(struct dns_span span, __u64 further, __u64 size)
{
#ifdef __bpf__
	return span.chunk + DNS_CUT_TO(span.at + further, (DNS_CHUNK - 1) & ~(size - 1));
#else
	(void)size;
	return span.chunk + span.at + further;
#endif
}

/* A record of a table: `size` octets, a power of two to which it is aligned.  0 where the table ends before. */
static __always_inline void *dns_at(dns_handle table, __u64 octet, __u64 size)
{
	struct dns_span span = dns_span(table, octet, size);

	return span.chunk ? dns_in_span(span, 0, size) : 0;
}

static __always_inline void *dns_line(dns_handle table, __u64 line, __u64 size)
{
	return dns_at(table, line * LINE, size);
}

/* Numbers as they lie in memory, aligned or not. */
static __always_inline __u64 dns_load64(const void *at)
{
#ifdef __bpf__
	return *(const volatile __u64 *)at;
#else
	__u64 value;

	memcpy(&value, at, sizeof(value));
	return value;
#endif
}

static __always_inline void dns_store64(void *at, __u64 value)
{
#ifdef __bpf__
	*(volatile __u64 *)at = value;
#else
	memcpy(at, &value, sizeof(value));
#endif
}

static __always_inline __u32 dns_load16(const void *at)
{
#ifdef __bpf__
	return *(const volatile __u16 *)at;
#else
	__u16 value;

	memcpy(&value, at, sizeof(value));
	return value;
#endif
}

static __always_inline void dns_store16(void *at, __u16 value)
{
#ifdef __bpf__
	*(volatile __u16 *)at = value;
#else
	memcpy(at, &value, sizeof(value));
#endif
}

/* The octet of a message at `at`, with DNS_SLACK octets behind it. */
static __always_inline __u8 *dns_octet(struct dns_work *w, __u64 at)
{
	return w->message + DNS_CUT_TO(at, DNS_MESSAGE_MASK);
}

/* Numbers as they stand in messages. */
static __always_inline __u32 dns_read16(struct dns_work *w, __u64 at)
{
	return __builtin_bswap16(dns_load16(dns_octet(w, at)));
}

static __always_inline void dns_write16(struct dns_work *w, __u64 at, __u16 value)
{
	dns_store16(dns_octet(w, at), __builtin_bswap16(value));
}

/* All ones in the first `octets` octets of a word; of more than 8, in all. */
static __always_inline __u64 dns_first(__u32 octets)
{
	return octets >= 8 ? ~0ULL : (1ULL << (8 * (octets & 7))) - 1;
}

/* All ones where two numbers of 32 bits are equal, else 0; without a branch, which nobody could foretell. */
static __always_inline __u64 dns_if_equal(__u64 left, __u64 right)
{
	return -(((left ^ right) - 1) >> 63);
}

/* How many bits are set. */
static __always_inline __u32 dns_ones(__u64 value)
{
	value -= (value >> 1) & 0x5555555555555555;
	value = (value & 0x3333333333333333) + ((value >> 2) & 0x3333333333333333);
	value = (value + (value >> 4)) & 0x0F0F0F0F0F0F0F0F;
	return (value * 0x0101010101010101) >> 56;
}

/* The position of the highest bit that is set, from 1 on; 0 for 0. */
static __always_inline __u32 dns_bits(__u64 value)
{
#ifdef __bpf__
	/* no branch, since the verifier would follow both ways of each: all bits below the highest one, counted */
	value |= value >> 1;
	value |= value >> 2;
	value |= value >> 4;
	value |= value >> 8;
	value |= value >> 16;
	value |= value >> 32;
	return dns_ones(value);
#else
	return value ? 64 - __builtin_clzll(value) : 0;
#endif
}

_Static_assert(sizeof(struct dns_counts) <= DNS_COUNTS_ROOM && sizeof(struct dns_image) <= DNS_VIEWS_AT,
	       "one record each");
_Static_assert(DNS_REPLY_MOST + 8 <= DNS_MESSAGE_MASK && (int)DNS_QUERY_MOST <= DNS_MESSAGE_MASK, "messages have room");
