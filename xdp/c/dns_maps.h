/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The maps of DNS, by the name under which each is pinned.
 *
 * Rule 1: inner maps are arrays of DNS_CHUNK octets an element, which user space maps: it fills them before they are in force.
 * Rule 2: which location table and which counters belong to an image, the image in force says itself (struct dns_image), so that one
 *         lookup decides all: no reply is a mix of two plans.
 * Rule 3: an update of dns_images waits for programs that run, so that what the image before it used is free afterwards.
 */
#pragma once

#include "dns_layout.h"
#include "entry_maps.h"

struct one_dns_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, DNS_CHUNK);
};

/* ---- written by user space ---- */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct one_dns_table);
} dns_images SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, DNS_SLOTS);
	__type(key, __u32);
	__array(values, struct one_dns_table);
} geographies SEC(".maps");

/* ---- written by the program ---- */

/* What client networks were given: by all CPUs, and from all images, so that a new plan gives nobody more. */
MAP(BPF_MAP_TYPE_ARRAY, DNS_LIMIT_SETS, __u32, struct dns_limit_set) dns_buckets SEC(".maps");

/* Counters: a block a CPU, all zeros at first. */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, DNS_SLOTS);
	__type(key, __u32);
	__array(values, struct one_dns_table);
} dns_blocks SEC(".maps");

/* Queries that are told of, and how many of them each CPU was. */

MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct dns_sampling) dns_sampled SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, DNS_EVENTS_OCTETS);
} dns_events SEC(".maps");
