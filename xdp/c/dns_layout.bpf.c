// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Every struct and enum of dns_layout.h, for the BTF from which gslb/dnslayout.py is generated.
 * It holds no program and is never loaded.  What is missing here is refused by xdp/gen_layout.py.
 */
#include "dns_layout.h"

struct every_dns {
	enum dns_sizes dns_sizes;
	enum dns_kind dns_kind;
	enum dns_node_flags dns_node_flags;
	enum dns_cut dns_cut;
	enum dns_view_flags dns_view_flags;
	enum dns_up dns_up;
	enum dns_counter dns_counter;
	enum dns_count_sizes dns_count_sizes;
	enum dns_qtype dns_qtype;
	struct dns_prefix dns_prefix;
	struct dns_limit dns_limit;
	struct dns_limit_bucket dns_limit_bucket;
	struct dns_limit_set dns_limit_set;
	struct dns_image dns_image;
	struct dns_v6_leaf dns_v6_leaf;
	struct dns_slot dns_slot;
	struct dns_type dns_type;
	struct dns_node dns_node;
	struct dns_answer dns_answer;
	struct dns_view dns_view;
	struct dns_spread dns_spread;
	struct dns_counts dns_counts;
} every_dns;
