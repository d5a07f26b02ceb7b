/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The backend that a QUIC connection id names.  Reads the packet and a map.
 *
 * The ids are those that servers make by draft-ietf-quic-load-balancers-20 section 4.1 in plaintext, configuration 0, with server
 * ids of 2 octets: first octet (top three bits 0; the others are the server's), server id, 4 octets or more of its own.
 * Long headers are read by RFC 8999.  Until a server has answered, a client makes up the id: Initial and 0-RTT packets of versions 1
 * and 2 (RFC 9000 section 17.2, RFC 9369 section 3.2), and all of other versions, go by hash.
 */
#pragma once

#include "decision.h"
#include "slots.h"

enum quic {
	QUIC_LONG = 0x80,
	QUIC_VERSION_1 = 1,
	QUIC_VERSION_2 = 0x6b3343cf,
	QUIC_ID_OCTETS = 7,	   /* at least */
	QUIC_CONFIGURATION = 0xe0, /* bits of the first octet */
};

struct quic_long {
	__u8 first;
	__u8 version[4];
	__u8 id_octets;
	__u8 id[3];
} __attribute__((packed));

/* Whether a long header is of a packet whose id the server made. */
static __always_inline int has_server_id(const struct quic_long *q)
{
	__u32 version =
	    (__u32)q->version[0] << 24 | (__u32)q->version[1] << 16 | (__u32)q->version[2] << 8 | q->version[3];
	__u32 type = q->first >> 4 & 3;

	if (version == QUIC_VERSION_1)
		return type >= 2; /* Handshake, Retry */
	if (version == QUIC_VERSION_2)
		return type == 0 || type == 3;
	return 0;
}

/* A backend of the ring that can be used, or 0: by hash. */
static __always_inline __u32 quic_backend(struct xdp_md *ctx, const struct packet *p, __u32 ring)
{
	void *end = (void *)(long)ctx->data_end;
	const __u8 *at = (void *)(long)ctx->data + (p->l4 & 0x3fff) + UDP_OCTETS;
	__u32 octets = p->l3 + p->octets - p->l4 - UDP_OCTETS;
	struct quic_key key = {.ring = ring};
	const __u8 *id;
	__u32 *found;

	if (octets < 1 + sizeof(((struct quic_long *)0)->id) || (void *)at + 4 > end)
		return 0;
	id = at + 1;
	if (at[0] & QUIC_LONG) {
		const struct quic_long *q = (const void *)at;

		if (octets < sizeof(*q) || (void *)(q + 1) > end || !has_server_id(q))
			return 0;
		if (q->id_octets < QUIC_ID_OCTETS) {
			count(COUNT_QUIC_UNKNOWN);
			return 0;
		}
		id = q->id;
	}
	key.server = (__u32)id[1] << 8 | id[2];
	found = id[0] & QUIC_CONFIGURATION ? 0 : bpf_map_lookup_elem(&quic_ids, &key);
	if (!found || !is_usable(*found)) {
		count(COUNT_QUIC_UNKNOWN);
		return 0;
	}
	return *found;
}
