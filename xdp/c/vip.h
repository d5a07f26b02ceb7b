/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which VIP a packet is for.  Reads maps.
 *
 * The order: the exact address, port and protocol; the address with any port; the longest prefix with the port; the longest
 * prefix with any port.  An address says more than a prefix, and a port more than none: who has given one address ports of its
 * own means them, whatever a wider entry says.  Most packets are for an exact VIP and end at the first step.
 */
#pragma once

#include "maps.h"
#include "parse.h"

static __always_inline struct vip *find_prefix(const struct vip_key *key, __be16 port)
{
	struct vip_prefix prefix = {.length = 32 + 128, .port = port, .protocol = key->protocol};

	__builtin_memcpy(prefix.address, key->address, sizeof(prefix.address));
	return bpf_map_lookup_elem(&vip_prefixes, &prefix);
}

static __always_inline struct vip *find_any_port(const struct vip_key *to, const struct settings *s)
{
	struct vip_key key = *to;
	struct vip *vip;

	key.port = 0;
	vip = bpf_map_lookup_elem(&vips, &key);
	if (vip || !s->prefixes)
		return vip;
	if (to->port) {
		vip = find_prefix(to, to->port);
		if (vip)
			return vip;
	}
	return find_prefix(to, 0);
}

static __always_inline struct vip *find_vip(const struct packet *p, const struct settings *s)
{
	struct vip *vip = bpf_map_lookup_elem(&vips, &p->to);

	if (likely(vip))
		return vip;
	return find_any_port(&p->to, s);
}

/* The entry that says that an address is a VIP, whatever the port: it stands under ICMP. */
static __always_inline struct vip *find_address(const struct packet *p, const struct settings *s)
{
	struct vip_key key = p->to;

	key.port = 0;
	key.protocol = p->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	return find_any_port(&key, s);
}
