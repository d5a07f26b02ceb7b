/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * dns.h for processes: one message, or all that waits in a socket.  gslb/nameserver/native.py calls it.
 */
#pragma once

#include "dns.h"
#include "dns_event.h"

enum dns_native_sizes {
	DNS_BATCH = 64,	 /* datagrams that are received by one call of the kernel */
	DNS_BATCHES = 4, /* of one socket and turn, so that one busy address does not starve the others */
	DNS_EVENTS = 16, /* descriptors that one call of the kernel tells of */
	DNS_TOLD = 256,	 /* queries of the sample that wait to be taken */
	DNS_SILENCE = 1, /* in place of a reply's octets: nobody answers */
};

struct dns_native;

/* A query that the reference is to answer; its octets follow, and zeros up to a multiple of 8. */
struct dns_passed {
	__u32 octets;
	__u32 scope; /* the interface of a link-local address */
	__u16 port;
	__u16 is_v6;
	__u32 socket;
	__u8 address[16]; /* the asker's; IPv4 in the first 4 */
};

/* What became of one turn. */
struct dns_turn {
	__u32 received;
	__u32 passed; /* structs dns_passed in the room given */
	__u32 send_failed;
	__u32 receive_failed;
};

/* Room for the passed queries of a turn. */
#define DNS_PASSED_ROOM (DNS_BATCH * (sizeof(struct dns_passed) + DNS_MESSAGE_ROOM))

/* The layout that this was compiled for: LAYOUT_HASH of gslb/dnslayout.py as a number. */
__u64 gslb_dns_layout(void);

/*
 * What answers from an image and a location table, and counts in a block: struct dns_counts, then the image's cells and marks.  All
 * three stay the caller's, and must outlive it.  0 without memory, or where the block is too short.
 */
struct dns_native *gslb_dns_open(const void *image, __u64 image_octets, const void *geography, __u64 geography_octets,
				 void *block, __u64 block_octets);
void gslb_dns_close(struct dns_native *native);

/* Limits responses as the image says, by these buckets (DNS_LIMIT_SETS of struct dns_limit_set), which must outlive it. */
void gslb_dns_limit(struct dns_native *native, void *buckets);

/* The address (16 octets) that was over the limit last; zeros: none was. */
void gslb_dns_limited(const struct dns_native *native, void *address);

/* Tells of one query in `one_in` from now on, and of `per_s` a second at most; of none: 0. */
void gslb_dns_sample(struct dns_native *native, __u32 one_in, __u32 per_s);

/*
 * The queries that were told of since the last call, into room for DNS_TOLD structs dns_event of so many octets; how many.  `lost` grows by
 * those that should have been, and are not.
 */
__u32 gslb_dns_told(struct dns_native *native, void *events, __u32 event_octets, __u64 *lost);

/* Charges one response to `source` (16 octets): the law of the limit alone, for tests. */
enum dns_limit_verdict gslb_dns_charge(const struct dns_limit *limit, void *buckets, const void *source, __u32 account,
				       __u64 now_ns);

/*
 * Answers one message.  `source` is the asker's address (IPv4 as ::ffff:0:0/96), `now_s` the time since the epoch; `reply` has room for
 * DNS_REPLY_MOST octets.  The octets of the reply; 0: the reference answers; DNS_SILENCE: nobody does.
 */
__u32 gslb_dns_answer(struct dns_native *native, const void *message, __u32 octets, const void *source, __u64 now_s,
		      void *reply);

/* Answers what waits in a socket that does not block, up to DNS_BATCHES times DNS_BATCH datagrams.  `passed` is DNS_PASSED_ROOM. */
void gslb_dns_drain(struct dns_native *native, int socket, void *passed, struct dns_turn *turn);

/*
 * Answers what comes to the sockets that `epoll` watches (level-triggered, with descriptors as data), until there is something that is
 * not for it: `wait_ms` are over, a query was passed, another descriptor than `sockets` is ready, or `*word` is no longer `seen`, which is
 * looked at before each turn.
 */
void gslb_dns_serve(struct dns_native *native, int epoll, const int *sockets, __u32 count, const __u64 *word,
		    __u64 seen, __u32 wait_ms, void *passed, struct dns_turn *turn);
