/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The maps that every object shares: those of the entry program, by the name under which each is pinned.
 *
 * Rule: as in maps.h.  A node that only answers DNS has these and those of dns_maps.h, and none of the balancer's.
 */
#pragma once

#include "layout.h"

#define MAP(of, count, key_type, value_type)                                                                           \
	struct {                                                                                                       \
		__uint(type, of);                                                                                      \
		__uint(max_entries, count);                                                                            \
		__type(key, key_type);                                                                                 \
		__type(value, value_type);                                                                             \
	}

/* ---- written by user space ---- */

MAP(BPF_MAP_TYPE_PROG_ARRAY, PROGRAMS, __u32, __u32) programs SEC(".maps");

/* The addresses and ports at which DNS is answered here; the protocol is UDP. */
MAP(BPF_MAP_TYPE_HASH, MOST_DNS_ADDRESSES, struct vip_key, __u32) dns_addresses SEC(".maps");
MAP(BPF_MAP_TYPE_ARRAY, 1, __u32, struct dns_settings) dns_settings SEC(".maps");

/* Ethernet addresses of this machine, as a frame begins, and two zeros: frames for others are not answered. */
MAP(BPF_MAP_TYPE_HASH, MOST_ETHERNETS, __u64, __u32) dns_ethernets SEC(".maps");

/* ---- written by programs ---- */

/* An address of DNS that was found in a frame for us, for as long as dns_settings.version is the same. */
struct known_address {
	struct vip_key to;
	__u32 version;
	__u64 ethernet;
};

MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 2, __u32, struct known_address) known_addresses SEC(".maps"); /* of IPv4, of IPv6 */

MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct counts) counts SEC(".maps");
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct packet) scratch SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u32 zero = 0;
	struct counts *c = bpf_map_lookup_elem(&counts, &zero);

	if (c && what < COUNTS)
		c->of[what]++;
}
