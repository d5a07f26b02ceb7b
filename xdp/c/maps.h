/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every map of the balancer but for those of entry_maps.h, by the name under which it is pinned and shared between objects.
 *
 * Rule 1: an object that needs one map includes them all; the loader makes each once and gives all objects the same.
 * Rule 2: who writes a map stands beside it; the other side only reads.
 */
#pragma once

#include "entry_maps.h"

/* Inner maps: by sizes, since clang leaves the structs behind such pointers out of the BTF. */
struct one_ring {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ring));
};

struct one_ring_use {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ring_use));
};

/* ---- written by user space ---- */

MAP(BPF_MAP_TYPE_ARRAY, 1, __u32, struct settings) settings SEC(".maps");
MAP(BPF_MAP_TYPE_ARRAY, 1, __u32, struct capture) capture SEC(".maps");

/*
 * Beside each VIP, its address stands with port 0 and the protocol of ICMP of its family: "this address is a VIP, whatever the
 * port".  Hence twice the number.
 */
MAP(BPF_MAP_TYPE_HASH, 2 * MOST_VIPS, struct vip_key, struct vip) vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 2 * MOST_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct vip_prefix);
	__type(value, struct vip);
} vip_prefixes SEC(".maps");

/* By ring id.  A ring is never changed in place: a new inner map is filled, and takes the place of the old one at once. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MOST_RINGS);
	__type(key, __u32);
	__array(values, struct one_ring);
} rings SEC(".maps");

MAP(BPF_MAP_TYPE_ARRAY, MOST_BACKENDS, __u32, struct backend) backends SEC(".maps");
MAP(BPF_MAP_TYPE_HASH, MOST_QUIC_IDS, struct quic_key, __u32) quic_ids SEC(".maps");
MAP(BPF_MAP_TYPE_HASH, MOST_MARKS, __u32, __u32) marks SEC(".maps");

/* ---- written by programs ---- */

/* By ring id; user space makes the inner maps. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MOST_RINGS);
	__type(key, __u32);
	__array(values, struct one_ring_use);
} ring_uses SEC(".maps");

MAP(BPF_MAP_TYPE_LRU_HASH, MOST_NEW_FLOWS, __u64, struct new_flow) new_flows SEC(".maps");
MAP(BPF_MAP_TYPE_LRU_HASH, MOST_FRAGMENTED, struct fragment_key, struct fragmented) fragments SEC(".maps");
MAP(BPF_MAP_TYPE_ARRAY, UDP_FLOWS, __u32, struct udp_flow) udp_flows SEC(".maps");
MAP(BPF_MAP_TYPE_ARRAY, HANDSHAKES, __u32, struct handshake) handshakes SEC(".maps");
/* By the flow's hash.  User space deletes what is idle, and what a larger mask leaves out. */
MAP(BPF_MAP_TYPE_HASH, MOST_TRACKED, __u64, struct tracked) tracked SEC(".maps");
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, MOST_VIPS, __u32, struct vip_counters) vip_counts SEC(".maps");
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, MOST_BACKENDS, __u32, struct backend_counters) backend_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_OCTETS);
} handshake_log SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, CAPTURE_OCTETS);
} captured SEC(".maps");

/* How much a CPU has done in the running second, so that it stops at its limit. */
struct limits {
	__u32 second; /* of the monotonic clock: nanoseconds >> 30 */
	__u32 new_flows;
	__u32 events;
	__u32 answers;
};

MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct limits) limits SEC(".maps");
/* A VIP that was found, for as long as settings.vips_version is the same. */
struct known_vip {
	struct vip_key to;
	__u32 version;
	struct vip vip;
};

enum known_vips {
	KNOWN_VIPS_BITS = 8,
};

MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 1 << KNOWN_VIPS_BITS, __u32, struct known_vip) known_vips SEC(".maps");
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct capture_event)
snapshot SEC(".maps"); /* a packet on its way to `captured` */

/* Modulo 2^16. */
static __always_inline __u16 coarse_now(void)
{
	return bpf_ktime_get_coarse_ns() >> COARSE_SHIFT;
}
