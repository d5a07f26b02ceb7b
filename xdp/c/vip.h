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

static __always_inline __u32 known_index(const struct vip_key *to)
{
	const __u32 *words = (const void *)to;

	return ((words[3] ^ words[2] ^ words[4]) * 0x9e3779b1U) >> (32 - KNOWN_VIPS_BITS);
}

/*
 * What was found before is kept by each CPU, since a lookup in a hash map costs as much as half of all else.  Only what was
 * found is kept, so that packets for nobody push nothing out.
 */
static __always_inline const struct vip *find_vip(const struct packet *p, const struct settings *s)
{
	__u32 index = known_index(&p->to), version = s->vips_version;
	struct known_vip *known = bpf_map_lookup_elem(&known_vips, &index);
	const struct vip *vip;

	if (likely(known && version && known->version == version && same_key(&known->to, &p->to)))
		return &known->vip;
	vip = bpf_map_lookup_elem(&vips, &p->to);
	if (!vip)
		vip = find_any_port(&p->to, s);
	if (vip && known && version) {
		known->to = p->to;
		known->vip = *vip;
		known->version = version;
	}
	return vip;
}

/* The entry that says that an address is a VIP, whatever the port: it stands under ICMP. */
static __always_inline struct vip *find_address(const struct packet *p, const struct settings *s)
{
	struct vip_key key = p->to;

	key.port = 0;
	key.protocol = p->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	return find_any_port(&key, s);
}
