// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Every struct and enum of layout.h and every map of maps.h and dns_maps.h, for the BTF from which gslb/layout.py is generated.
 * It holds no program and is never loaded.  What is missing here is refused by xdp/gen_layout.py.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "dns_maps.h"
#include "maps.h"

struct every {
	enum sizes sizes;
	enum program program;
	enum mode mode;
	enum backend_flags backend_flags;
	enum vip_flags vip_flags;
	enum packet_flags packet_flags;
	enum event_count event_count;
	struct vip_key vip_key;
	struct vip_prefix vip_prefix;
	struct vip vip;
	struct ring ring;
	struct ring_use ring_use;
	struct backend backend;
	struct quic_key quic_key;
	struct settings settings;
	struct dns_settings dns_settings;
	struct capture capture;
	struct vip_counters vip_counters;
	struct backend_counters backend_counters;
	struct counts counts;
	struct new_flow new_flow;
	struct fragment_key fragment_key;
	struct fragmented fragmented;
	struct udp_flow udp_flow;
	struct handshake handshake;
	struct tracked tracked;
	struct packet packet;
	struct handshake_event handshake_event;
	struct capture_event capture_event;
	enum dns_event_flags dns_event_flags;
	struct dns_event dns_event;
	struct dns_sampling dns_sampling;
} every;
