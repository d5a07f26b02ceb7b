/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The image: what DNS is answered from, as the worker maps it and XDP reads it; and what both write.  Nothing else.
 *
 * An image is one file: struct dns_image at 0, then records, each aligned to its own size or to LINE octets, so that none lies
 * in two chunks of DNS_CHUNK octets (one element of a BPF array each).  A `line` is a place in the image in units of LINE octets;
 * 0 is none.  Numbers are little endian, octets of messages as on the wire.  The location table is another file (gslb/geo/table.py);
 * the image says where in it things are, in octets.
 *
 * Rule 1: everything here is made from the same tables, by the same functions, as the reference's replies (gslb/nameserver/image.py).
 * Rule 2: what an image does not hold is passed up to the reference, which knows everything.
 * Rule 3: no hidden holes, as in layout.h; gslb/dnslayout.py is generated from it.
 */
#pragma once

#include <linux/types.h>

enum dns_sizes {
	DNS_MAGIC = 0x49534E44, /* "DNSI" */
	LINE = 64,
	DNS_CHUNK_BITS = 22, /* what most tables fit into: what lies beyond their first chunk costs a look-up more */
	DNS_CHUNK = 1 << 22,
	DNS_VIEWS_AT = 2048,   /* octet of the first struct dns_view */
	DNS_QUERY_MOST = 512,  /* octets of a query that is looked at; longer ones go up */
	DNS_REPLY_MOST = 1232, /* octets of a reply (gslb.nameserver.edns.UDP_SAFE) */
	DNS_PLAIN_MOST = 512,  /* without EDNS */
	DNS_NAME_MOST = 128,   /* octets of a name on the wire; longer ones go up */
	DNS_LABELS_MOST = 16,
	DNS_BODY_MOST = 1024,	     /* octets of the records of one answer; longer ones go up */
	DNS_ANSWER_MOST = 64 + 1024, /* no struct dns_answer starts nearer than that to the end of a chunk */
	DNS_OPTIONS_MOST = 8,	     /* EDNS options that are walked */
	DNS_BUCKET = 8,		     /* slots of a bucket: one line */
	DNS_PROBES = 4,		     /* buckets that are looked at, one after another */
	DNS_NODE_TYPES = 12,
	DNS_CHOICE_SLOTS = 1021,
	DNS_RELOCATIONS = 4,
	DNS_SPREAD_BIT = 31,
	DNS_UNSTICKY = 255,
	DNS_META_TYPES = 128, /* from this one on types go up: transfers and the like; ANY is listed at each name */
	DNS_META_LAST = 254,
	DNS_NSID_MOST = 128,
	DNS_EXEMPT_MOST = 32,
	DNS_LIMIT_WAYS = 4,
	DNS_LIMIT_SETS = 1 << 14,
	DNS_V4_BITMAP = 32, /* octets */
	DNS_V6_KEYS = 8,    /* of a line */
	DNS_V6_LEVELS = 10,
	DNS_V6_RANGES = 12, /* of a leaf */
	DNS_V6_SHIFT_AT = 56,
	DNS_BEYOND = 0xFFFF,		 /* of a location table's 16-bit numbers: the reference knows what it is */
	DNS_LIMIT_BURST_NS = 1000000000, /* what a network may take at once: a second's worth */
};

/* An address and its mask of 16 octets as in a packet, IPv4 as ::ffff:a.b.c.d. */
struct dns_prefix {
	__u64 address[2];
	__u64 mask[2];
};

/* How many responses one client network is given (gslb/nameserver/limit.py). */
struct dns_limit {
	__u64 key[2];	   /* of places */
	__u64 interval_ns; /* between two responses; 0: no limit */
	__u32 slip;	   /* of those over the limit each so manieth is sent, cut; 0: none */
	__u32 dry_run;	   /* 1: only counted */
	__u32 exempts;
	__u32 zero;
	struct dns_prefix exempt[DNS_EXEMPT_MOST];
};

/* What one client network was given lately of one kind of response: DNS_LIMIT_WAYS in a line, DNS_LIMIT_SETS lines. */
struct dns_limit_bucket {
	__u64 free_at; /* ns of the monotonic clock: when what was taken is all back */
	__u32 tag;     /* high 32 bits of the hash */
	__u32 over;    /* responses over the limit */
};

struct dns_limit_set {
	struct dns_limit_bucket way[DNS_LIMIT_WAYS];
};

/* At 0 of an image. */
struct dns_image {
	__u32 magic;	/* DNS_MAGIC */
	__u8 layout[6]; /* LAYOUT_HASH of gslb/dnslayout.py: who has another one leaves the image alone */
	__u8 unused[6];
	__u64 octets;	    /* of the image; behind them, in the same file, the legend (gslb/nameserver/legend.py) */
	__u64 version;	    /* of the plan */
	__u64 seed;	    /* of the hash of names */
	__u8 geography[16]; /* digest of the location table that it belongs to */

	/* names */
	__u32 buckets;	    /* line of the first; DNS_BUCKET slots each */
	__u32 buckets_mask; /* their number, a power of two, less one */
	__u32 refused;	    /* line of the answer for names that are in no zone of ours; 0: they go up */
	__u32 zero;

	/* the location table: offsets in octets; 0: the table has no such section */
	__u32 geography_octets; /* of it that are needed here, from its start */
	__u32 v4_index;
	__u32 v4_bitmaps;
	__u32 v4_runs;
	__u32 v4_entries;
	__u32 v6_leaves;
	__u32 v6_levels;	       /* above the leaves */
	__u32 v6_level[DNS_V6_LEVELS]; /* the highest first */

	/* counters (struct dns_counts) */
	__u32 cells; /* how many cell counters follow it, then */
	__u32 marks; /* how many counters by sets of pools */

	/* DNS cookies (RFC 9018): SipHash-2-4 keys in memory order, of timestamps in even days of the epoch, then in odd ones. */
	__u8 cookie_keys[32];
	__u32 cookies; /* 0: none are made */

	__u32 nsid_octets; /* 0: not told */
	__u8 nsid[DNS_NSID_MOST];

	struct dns_limit limit; /* of responses */

	/* Zeros in a file.  Who loads the image into a kernel's map says here with what it belongs together. */
	__u8 digest[16];      /* of the file */
	__u32 geography_slot; /* of the map `geographies` */
	__u32 counts_slot;    /* of the map `dns_blocks` */
	__u32 counts_stride;  /* octets from one CPU's counters to the next one's */
	__u32 zeros;
};

/* The location table's leaf of IPv6 (gslb/geo/lines.py). */
struct dns_v6_leaf {
	__u64 first;		     /* key that its first range begins at; from bit DNS_V6_SHIFT_AT on: shift */
	__u64 end;		     /* key that the next leaf begins at */
	__u16 step[DNS_V6_RANGES];   /* from the first to each range, >> shift; behind the last, its own again */
	__u16 number[DNS_V6_RANGES]; /* of its class */
};

/* One slot of a bucket. */
struct dns_slot {
	__u32 tag;  /* high 32 bits of the name's hash */
	__u32 node; /* line; 0: free */
};

struct dns_type {
	__u16 type;
	__u16 kind; /* enum dns_kind */
	__u32 at;   /* line of a struct dns_answer or dns_view */
};

enum dns_kind {
	DNS_KIND_UP = 0,
	DNS_KIND_ANSWER = 1,
	DNS_KIND_VIEW = 2,
};

enum dns_node_flags {
	DNS_NODE_UP = 1, /* all about this name, and below it, goes up: a cut, what is below a DNAME, and the like */
	DNS_NODE_UP_BELOW = 2, /* absent names below go up: there is a wildcard, or a DNAME */
	DNS_NODE_UP_TYPES = 4, /* types that are not listed go up: a CNAME, or too many types */
};

/* A name that exists, an empty non-terminal too.  256 octets, aligned to them. */
struct dns_node {
	__u64 hash;
	__u8 octets;	  /* of the name */
	__u8 apex_octets; /* of its zone's name */
	__u8 flags;	  /* enum dns_node_flags */
	__u8 types;
	__u32 nodata; /* lines of the answers: the type is not there; 0: goes up */
	__u32 absent; /* a name below is not there; 0: goes up */
	__u32 zero;
	struct dns_type type[DNS_NODE_TYPES];
	__u8 name[DNS_NAME_MOST]; /* lowered; zeros behind it */
	__u8 zeros[8];
};

/* A finished reply: the octets behind the question, and the head. */
struct dns_answer {
	__u16 octets; /* of the records */
	__u16 flags;  /* of the header: AA and RCODE, host order, without QR and RD */
	__u16 answers;
	__u16 authorities;
	__u16 additionals; /* without the OPT record */
	__u16 outcome;	   /* gslb.nameserver.counters.Counter */
	__u32 mark;
	/* 16-bit pointers at these octets of the records grow by (octets of the name asked - octets of the zone's name) */
	__u16 relocation[DNS_RELOCATIONS];
	__u8 relocations;
	__u8 cut; /* enum dns_cut */
	__u8 zero[2];
	__u32 signed_line; /* the same with its RRSIGs, for who asks with DO; 0: there is none */
	__u32 account;	   /* gslb.nameserver.limit.account: which responses are limited together */
	__u8 zeros[28];
	/* the records follow, zeros behind them up to the next line */
};

/* What becomes of an answer that does not fit. */
enum dns_cut {
	DNS_CUT_UP = 0,	       /* something optional can be left out: goes up */
	DNS_CUT_TRUNCATED = 1, /* TC, and no records */
};

enum dns_view_flags {
	DNS_VIEW_FIXED = 1, /* one choice, for everyone: that of ranking 0, scope 0, and no cell is counted */
	DNS_VIEW_UP = 2,    /* goes up: it did not fit */
};

/* What one policy answers, for one type and TTL, at some names. */
struct dns_view {
	__u32 flags;
	__u32 ranking_of; /* offset in the location table: 16 bits a class */
	__u32 classes;
	__u32 rankings;
	__u32
	    choices; /* line of `rankings` numbers of 32 bits: a dns_answer, with DNS_SPREAD a dns_spread; 0: goes up */
	__u32 cell;  /* its first cell counter; one a ranking */
	__u64 key[2]; /* of slots (gslb.model.choice.sticky_slot) */
	__u8 sticky4; /* bits; DNS_UNSTICKY: by the query's id */
	__u8 sticky6;
	__u8 zero[6];
	__u64 zeros[2];
};

#define DNS_SPREAD (1u << DNS_SPREAD_BIT)

/* A choice of several answers, by slot. */
struct dns_spread {
	__u32 slots;   /* line of DNS_CHOICE_SLOTS numbers of 16 bits: an index into answers; aligned to 2048 octets */
	__u32 answers; /* line of that list: lines of 32 bits, each of a dns_answer */
	__u32 count;   /* of that list */
	__u32 parted;  /* 1: some is shed: queries without a client subnet go up, where their sources are counted */
	__u32 asked;   /* counter of such queries, among the cells; those with a client subnet count here */
	__u32 zero;
	__u64 zeros[5];
};

/* ---- counters: what an executor writes; gslb.nameserver.counters, then cells, then marks ---- */

/* Why a query went up. */
enum dns_up {
	DNS_UP_NONE = 0,
	DNS_UP_SIZE,   /* longer, or more labels, than is looked at */
	DNS_UP_HEADER, /* another opcode, flags or counts than a resolver's questions have */
	DNS_UP_NAME,   /* malformed, or not in the image */
	DNS_UP_TYPE,   /* not in the image */
	DNS_UP_CLASS,
	DNS_UP_OPT,   /* malformed, or beyond bounds */
	DNS_UP_VIEW,  /* a choice that only the reference makes */
	DNS_UP_ROOM,  /* does not fit, and must be shortened */
	DNS_UP_IMAGE, /* the image does not hold together */
	DNS_UP_FRAME, /* the driver left no room for the reply */
	DNS_UPS,
};

/* Those of gslb.nameserver.counters.Counter that do not stand in an answer as its outcome. */
enum dns_counter {
	DNS_COUNTER_FAST = 0,
	DNS_COUNTER_TRUNCATED = 15,
	DNS_COUNTER_ECS = 16,
	DNS_COUNTER_LIMITED = 18,
	DNS_COUNTER_BADCOOKIE = 19,
	DNS_COUNTER_SLIPPED = 20,
	DNS_COUNTER_OVER_LIMIT = 21,
	DNS_COUNTER_COOKIES = 22,
	DNS_COUNTER_COOKIES_VALID = 23,
};

enum dns_count_sizes {
	DNS_COUNTERS = 32, /* of gslb.nameserver.counters.Counter, and room */
	DNS_QTYPES = 8,
};

enum dns_qtype {
	DNS_QTYPE_A = 0,
	DNS_QTYPE_AAAA,
	DNS_QTYPE_NS,
	DNS_QTYPE_SOA,
	DNS_QTYPE_TXT,
	DNS_QTYPE_HTTPS,
	DNS_QTYPE_MX,
	DNS_QTYPE_OTHER,
};

/* 64-bit counters; one such block a CPU or worker, followed by `cells` and `marks` counters of the image. */
struct dns_counts {
	__u64 counter[DNS_COUNTERS];
	__u64 up[DNS_UPS];
	__u64 qtype[DNS_QTYPES];
};

_Static_assert(sizeof(struct dns_slot) * DNS_BUCKET == LINE, "a bucket is a line");
_Static_assert(sizeof(struct dns_image) <= DNS_VIEWS_AT, "views stand behind the head");
_Static_assert(sizeof(struct dns_v6_leaf) == LINE && DNS_V6_KEYS * sizeof(__u64) == LINE, "lines of places");
_Static_assert(sizeof(struct dns_node) == 256, "a node is four lines");
_Static_assert(sizeof(struct dns_answer) == LINE && sizeof(struct dns_view) == LINE &&
		   sizeof(struct dns_spread) == LINE,
	       "lines");
