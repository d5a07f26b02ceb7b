/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every struct and number that programs and user space share, and nothing else.
 *
 * Rule 1: this is their only home.  gslb/layout.py is generated from the BTF of the built object, and the loader compares
 * both field by field before it attaches anything.
 * Rule 2: no hidden holes (built with -Wpadded -Werror): what is padding has a name and is zero.
 * Rule 3: a name says its unit and byte order; addresses are 16 octets, IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
 */
#pragma once

#include <linux/types.h>

enum sizes {
	RING_SLOTS = 65537,	 /* prime: every skip of Maglev visits all slots */
	MOST_VIPS = 4096,	 /* ids 1.., 0 is none */
	MOST_RINGS = 1024,	 /* ids 1.., 0 is none; pools with the same backends share one */
	MOST_BACKENDS = 16384,	 /* ids 1.., 0 is none */
	MOST_NEW_FLOWS = 262144, /* flows begun in slots that changed */
	MOST_FRAGMENTED = 16384, /* datagrams in fragments under way */
	MOST_QUIC_IDS = 65536,
	MOST_MARKS = 16384,
	MOST_PREFIXES = 4096,
	MOST_DNS_ADDRESSES = 4096,
	MOST_ETHERNETS = 4096, /* interfaces of a machine */
	MOST_BROADCASTS = 4,
	DNS_SLOTS = 2,	      /* of location tables and of counters: those in force, and those that come next */
	UDP_FLOWS = 65536,    /* slots of a direct-mapped table */
	HANDSHAKES = 65536,   /* slots of a direct-mapped table */
	MOST_TRACKED = 16384, /* connections of the sample */
	EVENT_OCTETS = 1 << 20,
	CAPTURE_OCTETS = 1 << 22,
	DNS_EVENTS_OCTETS = 1 << 18, /* some 2 000 queries */
	DNS_EVENT_NAME = 64,	     /* octets of a name that are told */
	SNAP_OCTETS = 256,	     /* of a captured packet */
	COARSE_SHIFT = 32,	     /* coarse time: nanoseconds of the monotonic clock >> 32, units of 4.29 s */
};

enum program {
	PROGRAM_DNS = 0,
	PROGRAM_BALANCER = 1,
	PROGRAMS = 2,
};

/* How a packet reaches a backend. */
enum mode {
	MODE_NONE = 0,
	MODE_L2 = 1,  /* new Ethernet addresses */
	MODE_IP = 2,  /* IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, RFC 2473) */
	MODE_GUE = 3, /* generic UDP encapsulation, variant 1 (draft-ietf-intarea-gue-09): IP follows UDP */
};

enum backend_flags {
	BACKEND_DOWN = 1,	 /* its flows move at once */
	BACKEND_UNREACHABLE = 2, /* its next hop is not known: what goes there is dropped and counted */
};

enum vip_flags {
	VIP_QUIC = 1, /* connection ids may name the backend */
};

/* Why the balancer dropped a packet, or what else it did that is worth a count. */
enum event_count {
	COUNT_NOT_IP = 0,	/* passed: no IPv4 or IPv6 */
	COUNT_MALFORMED,	/* dropped: a header says more than there is */
	COUNT_NO_VIP,		/* passed: for nobody whom we balance */
	COUNT_NO_BACKEND,	/* dropped: the ring is empty or the backend is not reachable */
	COUNT_OPTIONS,		/* dropped: IPv4 options towards a VIP */
	COUNT_EXTENSIONS,	/* dropped: more IPv6 extension headers than are walked */
	COUNT_FRAGMENT_UNKNOWN, /* dropped: a later fragment whose first one was not seen */
	COUNT_FRAGMENTS,	/* later fragments that followed their first one */
	COUNT_TTL,		/* dropped: it would loop */
	COUNT_TOO_BIG_SENT,	/* packet too big, or fragmentation needed, answered */
	COUNT_TOO_BIG_DROPPED,	/* dropped: too big, and nobody to tell */
	COUNT_NO_ROOM,		/* dropped: the driver left no room for a header */
	COUNT_ECHO,		/* echo answered */
	COUNT_ICMP_FORWARDED,	/* ICMP errors sent to the backend of the flow that they quote */
	COUNT_ICMP_UNKNOWN,	/* passed: ICMP that concerns no flow of ours */
	COUNT_NEW_FLOWS_FULL,	/* a new flow in a changed slot stayed with the previous backend */
	COUNT_QUIC_ID,		/* packets routed by connection id */
	COUNT_QUIC_UNKNOWN,	/* connection ids that name no backend of the ring: routed by hash */
	COUNT_EVENTS_LOST,	/* handshakes or captures that user space did not read in time */
	COUNTS,
};

/* ---- what user space writes ---- */

struct vip_key {
	__u8 address[16];
	__be16 port; /* 0: any */
	__u8 protocol;
	__u8 zero;
};

/* Longest prefix match for VIPs that are more than one address. */
struct vip_prefix {
	__u32 length; /* bits: 32 + those of the address */
	__be16 port;
	__u8 protocol;
	__u8 zero;
	__u8 address[16];
};

struct vip {
	__u32 id; /* index into vip_counters */
	__u32 ring;
	__u32 flags;
	__u32 zero;
};

struct slot {
	__u16 current;	/* backend id */
	__u16 previous; /* 0: none; else flows that are not in new_flows stay there */
};

struct ring {
	struct slot slots[RING_SLOTS];
};

/* When a slot last sent a packet elsewhere than to its current backend: coarse time modulo 2^16. */
struct ring_use {
	__u16 at[RING_SLOTS + 1];
};

struct backend {
	__u8 address[16]; /* of the backend: the outer destination */
	__u8 next_hop[6]; /* Ethernet */
	__u8 source[6];	  /* Ethernet, of the interface that it leaves by */
	__u32 ifindex;	  /* of that interface */
	__u16 mtu;	  /* of that interface, octets of an IP packet */
	__u8 mode;
	__u8 flags;
	__u8 zero[28]; /* a record is a cache line */
};

struct quic_key {
	__u32 ring;
	__u32 server; /* id of QUIC-LB (draft-ietf-quic-load-balancers-20) */
};

struct settings {
	__u64 key[2];	  /* of the flow hash: the same on every balancer of a site */
	__u8 source6[16]; /* outer source: these bits, and the flow's hash in those of spread6 */
	__u8 spread6[16];
	__be32 source4;
	__be32 spread4;
	__u8 own6[16]; /* this node's address: outer source of GUE */
	__be32 own4;
	__u32 new_flows_per_s; /* a CPU may remember so many */
	__u32 events_per_s;    /* a CPU may tell so many handshakes */
	__be16 gue_port;
	__u16 prefixes;	     /* not 0: vip_prefixes holds something */
	__u64 version;	     /* of the plan in force; the last that a change of tables writes */
	__u8 deployment[16]; /* digest of its name */
	__u32 vips_version;  /* another one after each change of vips or vip_prefixes; 0: what was found is not kept */
	__u32 track_mask;    /* a power of two less 1, at most 16 bits: one connection of track_mask + 1 is tracked */
};

/* What DNS goes by, beside its tables.  `unix_ns` is rewritten as the clock is set. */
struct dns_settings {
	__u64 unix_ns;	 /* Unix time less the monotonic clock */
	__u32 addresses; /* entries of dns_addresses; 0: no DNS is answered here */
	__u32 version;	 /* another one after each change of what is looked up; 0: what was found is not kept */
	__be16 port;	 /* that all of them have; 0: they have several */
	__u16 zero;
	__u32 sample_one_in;   /* queries: one of so many is told of */
	__u64 sample_until_ns; /* monotonic: nobody listens after that */
	__u32 sample_per_s;    /* a CPU may tell of so many */
	__u32 zeros;
	__u32 broadcasts[MOST_BROADCASTS]; /* of our networks, as in packets: nobody asks from there; 0: none */
};

/* Written by who captures, and by nobody else. */
struct capture {
	__u32 vip;     /* vip id; 0: all */
	__u32 one_in;  /* packets; 0: no capture */
	__u32 until_s; /* monotonic: it ends by itself */
	__u32 zero;
};

/* ---- what programs write ---- */

struct vip_counters {
	__u64 packets;
	__u64 octets; /* of IP packets */
	__u64 syns;
	__u64 untracked_syns; /* whose handshake could not be followed: the table was full of newer ones */
	__u64 handshakes;
	__u64 resent_syns;
	__u64 udp_flows; /* datagrams that began a flow, as far as the table of UDP flows tells */
	__u64 errors;	 /* ICMP errors forwarded */
};

struct backend_counters {
	__u64 packets;
	__u64 octets; /* of IP packets, before encapsulation */
	__u64 syns;
	__u64 untracked_syns;
	__u64 handshakes;
	__u64 resent_syns;
	__u64 udp_flows;
	__u64 zero;
};

struct counts {
	__u64 of[COUNTS];
};

/* A flow that began in a slot with a previous backend; the key is the flow's 64-bit hash. */
struct new_flow {
	__u16 backend;
	__u16 zero;
	__u32 seen_s; /* monotonic */
};

struct fragment_key {
	__u8 source[16];
	__u8 destination[16];
	__be32 id;
	__u8 protocol;
	__u8 zero[3];
};

struct fragmented {
	__u16 backend;
	__u16 zero;
	__u32 vip;
};

struct udp_flow {
	__u32 tag; /* 20 bits of the flow's hash, and the vip id in the lower 12; 0: free */
	__u16 backend;
	__u16 seen; /* coarse time, modulo 2^16 */
};

struct handshake {
	__u32 tag;   /* of the flow's hash and the sequence number that its ACK will have; 0: free */
	__u32 at_us; /* monotonic, modulo 2^32; bit 0 set where the SYN was resent */
};

/* A connection of the sample; the key is the flow's 64-bit hash. */
struct tracked {
	__u16 backend;
	__u16 vip;
	__u16 mask; /* it stands for mask + 1 connections */
	__u16 seen; /* coarse time, modulo 2^16 */
};

/* What the entry program found out, for the program behind it.  Offsets are from the first octet of the frame. */
struct packet {
	struct vip_key to; /* destination address and port, and the transport's protocol */
	__be16 source_port;
	__u16 octets; /* of the IP packet by its own header */
	__u8 source[16];
	__be32 fragment_id; /* IPv4: 16 bits of it */
	__be32 sequence;    /* of TCP */
	__u16 l3;	    /* offset of the IP header */
	__u16 l4;	    /* offset of the transport header */
	__u16 payload;	    /* offset of what TCP carries */
	__u8 version;	    /* 4 or 6 */
	__u8 flags;	    /* enum packet_flags */
	__u8 tcp_flags;
	__u8 tos;
	__u8 ttl;
	__u8 zero;
};

enum packet_flags {
	PACKET_FRAGMENT = 1, /* not the whole datagram */
	PACKET_LATER = 2,    /* a fragment that is not the first: no ports */
	PACKET_OPTIONS = 4,
	PACKET_DONT_FRAGMENT = 8,
	PACKET_DEEP = 16,  /* more extension headers than are walked */
	PACKET_SHORT = 32, /* the transport header is cut off: no ports */
};

/* To user space: one client's handshake. */
struct handshake_event {
	__u8 client[16];
	__u32 rtt_us; /* SYN to ACK: the client's round trip and the backend's part */
	__u32 vip;
	__u32 backend;
	__u32 zero;
};

/* To user space: one captured packet. */
struct capture_event {
	__u64 at_ns; /* monotonic */
	__u32 vip;
	__u32 backend;
	__u16 octets;	/* of the whole frame */
	__u16 captured; /* of `data` */
	__u8 verdict;
	__u8 zero[3];
	__u8 data[SNAP_OCTETS];
};

enum dns_event_flags {
	DNS_EVENT_DO = 1,
	DNS_EVENT_COOKIE = 2,
	DNS_EVENT_COOKIE_VALID = 4,
	DNS_EVENT_TRUNCATED = 8,
	DNS_EVENT_DROPPED = 16, /* over the limit of responses: not answered */
	DNS_EVENT_CLIENT6 = 32,
	DNS_EVENT_SUBNET = 64, /* with a client subnet */
	DNS_EVENT_SUBNET6 = 128,
	DNS_EVENT_ADDRESS = 256, /* `address` is told */
};

/* To user space: one query.  Networks, name and address are as in memory: the octets in the order of the packet. */
struct dns_event {
	__u64 at_ns;	  /* since the epoch */
	__u64 client;	  /* its first 3 octets (IPv4) or 7 (IPv6) */
	__u64 subnet;	  /* of the client subnet option, no longer than that */
	__u64 address[2]; /* of the first record answered */
	__u16 type;
	__u16 rcode;
	__u16 flags; /* enum dns_event_flags */
	__u8 name_octets;
	__u8 subnet_bits;
	__u8 scope;
	__u8 zero[7];
	__u64 name[DNS_EVENT_NAME / 8]; /* lowered; the rest of a longer one is left out */
};

/* Which queries one CPU or worker tells of. */
struct dns_sampling {
	__u64 second; /* that runs */
	__u64 lost;   /* more than may be told in a second, or more than were read */
	__u32 told;   /* in this second */
	__u32 seen;   /* since the last one */
};

_Static_assert(sizeof(struct vip_key) == 20, "vip_key");
_Static_assert(sizeof(struct vip_prefix) == 24, "vip_prefix");
_Static_assert(sizeof(struct backend) == 64, "backend");
_Static_assert(sizeof(struct ring) == 4 * RING_SLOTS, "ring");
_Static_assert(sizeof(struct vip_counters) == 64, "vip_counters");
_Static_assert(sizeof(struct backend_counters) == 64, "backend_counters");
